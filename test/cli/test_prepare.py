"""`zmask prepare` on the tiny network; bad input tried on each argument."""

import json

import pytest

from support import tiny_network
from support.commands import record, refused, zmask
from support.short_preparation import SETTINGS
from zmask_ros.cli import prepare as prepare_command
from zmask_ros.cli.options import DURATION
from zmask_ros.defense import Defense, load_profile
from zmask_ros.segmenters import load_segmenter

BEFORE_THE_HEAD, IN_THE_HEAD = 12, 22
"""Questions to the clock until the training of the head has begun, and until Ctrl-C."""


class Ticks:
    """A clock that says how often it was asked; Ctrl-C comes with one of the questions."""

    def __init__(self, interrupted_at=None):
        self.now, self.interrupted_at = 0, interrupted_at

    def __call__(self):
        self.now += 1
        if self.now == self.interrupted_at:
            raise KeyboardInterrupt
        return float(self.now)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(prepare_command, "SETTINGS", SETTINGS)
    monkeypatch.setattr(prepare_command, "CLOCK", Ticks())


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_network.describe(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def profile(tiny):
    return tiny_network.fit(tiny)


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    return record(tmp_path_factory.mktemp("bags") / "clean.mcap", map(tiny_network.clean_image, range(80)))


def test_interrupted_and_gone_on_with_it_ends_with_a_profile_and_a_report(capsys, monkeypatch, tiny, drive, tmp_path):
    output = tmp_path / "mine.zmask.safetensors"
    arguments = ("prepare", drive, "--segmenter", tiny, "-o", output, "--budget", "1min", "--json")
    monkeypatch.setattr(prepare_command, "CLOCK", Ticks(interrupted_at=BEFORE_THE_HEAD + IN_THE_HEAD))
    code, out, err = zmask(capsys, *arguments)
    assert (code, out) == (130, "")
    assert len([line for line in err.splitlines() if "Interrupted" in line]) == 1
    assert f"the best profile so far is {output}" in err
    load_profile(output)
    monkeypatch.setattr(prepare_command, "CLOCK", Ticks())
    code, out, err = zmask(capsys, *arguments)
    assert code == 0, err
    assert "with 1 drive, thresholds are set by stretches" in " ".join(err.split())
    result = json.loads(out)
    for name in ("recovery", "mask_iou", "flagged", "false_alarms"):
        assert set(result[name]) == {"before", "after"}
    assert result["seconds"] <= 65
    assert {"fit", "patches", "comparison", "head", "report"} <= set(result["stages"])
    assert "which" not in result["held_out"] and "frames 64 to 79" in result["held_out"]
    assert result["profile"] == str(output)
    assert [path.name for path in tmp_path.iterdir()] == [output.name]
    Defense(load_segmenter(str(tiny), "cpu"), load_profile(output))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("-o", "{output}"), "at least one bag"),
        (("{drive}/nowhere", "-o", "{output}"), "nowhere"),
        (("{drive}", "-o", "{output}.txt"), "safetensors"),
        (("{drive}", "-o", "{output}", "--budget", "20"), "20min"),
        (("{drive}", "-o", "{output}", "--budget", "0s"), "20min"),
        (("{drive}", "-o", "{output}", "--topic", "/front"), "/camera/image_raw"),
        (("{drive}", "-o", "{output}", "--from", "{profile}"), "no evidence head"),
        (("{drive}", "-o", "{output}", "--from", "{output}"), "name another"),
        (("{short}", "-o", "{output}"), "too few"),
    ],
)
def test_bad_input(capsys, tiny, profile, drive, tmp_path, arguments, says):
    short = record(tmp_path / "short.mcap", map(tiny_network.clean_image, range(12))) if "{short}" in arguments else ""
    output = tmp_path / "mine.zmask.safetensors"
    places = {"drive": drive, "profile": profile, "output": output, "short": short}
    named = [argument.format(**places) for argument in arguments]
    assert says in refused(capsys, "prepare", *named, "--segmenter", tiny)
    assert not output.exists()


@pytest.mark.parametrize(
    ("text", "seconds"), [("20min", 1200), ("90s", 90), ("1h", 3600), ("1.5 min", 90), (" 2h ", 7200)]
)
def test_durations(text, seconds):
    assert DURATION.convert(text, None, None) == seconds
