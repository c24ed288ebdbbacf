"""`zmask prepare` on the tiny network; bad input tried on each argument."""

import json
from dataclasses import replace

import pytest
import torch

from support import tiny_network
from support.commands import record, record_twelve_bits, refused, zmask
from support.short_preparation import SETTINGS
from zmask_ros.cli import prepare as prepare_command
from zmask_ros.cli.options import DURATION
from zmask_ros.defense import Defense, load_profile, save_profile
from zmask_ros.segmenters import load_segmenter
from zmask_ros.training.clean_fit import ProfileFit
from zmask_ros.training.encoder import encoder_layers
from zmask_ros.training.plans import head_layers, screen_layers, transfer_plan
from zmask_ros.training.preparation import stages
from zmask_ros.training.preparation.standing import PatchFigures
from zmask_ros.training.sources import CleanFrame

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
    assert "1 drive says little of how drives differ" in " ".join(err.split())
    result = json.loads(out)
    for name in ("recovery", "mask_iou", "flagged", "kept", "false_alarms"):
        assert set(result[name]) == {"before", "after"}
    # A clock that counts questions: each stage asks a few that nothing foresees.
    assert result["seconds"] <= 70
    assert {"fit", "patches", "comparison", "head", "report"} <= set(result["stages"])
    assert "which" not in result["held_out"] and "frames 64 to 79" in result["held_out"]
    assert result["profile"] == str(output)
    assert [path.name for path in tmp_path.iterdir()] == [output.name]
    Defense(load_segmenter(str(tiny), "cpu"), load_profile(output))


def test_what_it_does_to_benign_pictures_is_reported(capsys, tiny, drive, tmp_path):
    others = record(tmp_path / "others.mcap", map(tiny_network.clean_image, range(200, 212)))
    output = tmp_path / "mine.zmask.safetensors"
    arguments = ("--segmenter", tiny, "--benign", others, "-o", output, "--budget", "30s", "--json")
    code, out, err = zmask(capsys, "prepare", drive, *arguments)
    assert code == 0, err
    assert all(0 <= share <= 1 for share in json.loads(out)["benign"].values())


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
        (("{drive}", "-o", "{output}", "--benign", "{drive}/roads"), "no picture, no folder with pictures in it"),
        (("{unread}", "-o", "{output}", "--benign", "{unread}.png"), "The picture"),
    ],
)
def test_bad_input(capsys, tiny, profile, drive, tmp_path, arguments, says):
    short = record(tmp_path / "short.mcap", map(tiny_network.clean_image, range(12))) if "{short}" in arguments else ""
    output = tmp_path / "mine.zmask.safetensors"
    places = {"drive": drive, "profile": profile, "output": output, "short": short, "unread": tmp_path / "unread"}
    named = [argument.format(**places) for argument in arguments]
    assert says in refused(capsys, "prepare", *named, "--segmenter", tiny)
    assert not output.exists()


def test_a_profile_that_is_there_already_is_not_replaced_unless_asked_for(capsys, tiny, drive, tmp_path):
    output = tmp_path / "mine.zmask.safetensors"
    output.write_bytes(b"the work of hours")
    arguments = ("prepare", drive, "--segmenter", tiny, "-o", output, "--budget", "20s", "--json")
    assert "--force" in refused(capsys, *arguments) and output.read_bytes() == b"the work of hours"
    code, _, err = zmask(capsys, *arguments, "--force")
    assert code == 0, err
    load_profile(output)


def test_a_screening_is_left_out_if_asked_for(capsys, monkeypatch, tiny, drive, tmp_path):
    asked = []

    def prepare(network, frames, settings, *others):
        asked.append(settings.screen)
        raise KeyboardInterrupt

    monkeypatch.setattr(prepare_command, "prepare", prepare)
    for more in ((), ("--no-screen",)):
        zmask(capsys, "prepare", drive, "--segmenter", tiny, "-o", tmp_path / "mine.zmask.safetensors", *more)
    assert asked == [True, False]


def with_head(description):
    """A profile of the network, as `zmask fit` makes it."""
    segmenter = load_segmenter(str(description), "cpu")
    fit = ProfileFit(segmenter, transfer_plan(segmenter))
    fit.add_all(CleanFrame("clean", "/image_raw", index, tiny_network.clean_image(index)) for index in range(40))
    path = description.with_suffix(".head.zmask.safetensors")
    save_profile(fit.finish(false_alarm_rate=0.01), path)
    return path


def test_what_cannot_be_begun_with_is_refused_before_drives_are_read(capsys, tiny, tmp_path):
    output, unread = tmp_path / "mine.zmask.safetensors", tmp_path / "nowhere"
    others = with_head(tiny_network.describe(tmp_path, seed=1))
    assert "fitted on something else" in refused(
        capsys, "prepare", unread, "--segmenter", tiny, "--from", others, "-o", output
    )
    half = tiny_network.describe_with(tmp_path, layers="{shallow: ['0'], deep: []}")
    assert "no layers in 'deep'" in refused(capsys, "prepare", unread, "--segmenter", half, "-o", output)


def test_layers_are_chosen_where_the_description_names_none(capsys, drive, tmp_path):
    bare, output = tiny_network.describe_with(tmp_path, layers=""), tmp_path / "mine.zmask.safetensors"
    code, out, err = zmask(capsys, "prepare", drive, "--segmenter", bare, "-o", output, "--budget", "20s", "--json")
    assert code == 0, err
    network = load_segmenter(bare, "cpu")
    slots = encoder_layers(network)
    told = json.loads(out)
    assert set(told["shallow layers"].split(", ")) | set(told["deep layers"].split(", ")) == set(slots)
    assert slots[0] in told["shallow layers"] and slots[-1] in told["deep layers"]
    assert set(head_layers(network)) == set(screen_layers(network)) == set(slots)


@pytest.mark.parametrize("command", ["prepare", "fit"])
def test_the_network_of_the_profile_that_it_starts_from_is_the_default(capsys, tiny, tmp_path, command):
    start, output = with_head(tiny), tmp_path / "mine.zmask.safetensors"
    drive = record(tmp_path / "drive.mcap", map(tiny_network.clean_image, range(80)))
    # Its name is that of no segmenter of the package; the shipped network would be refused for another reason.
    assert "belongs to the network 'tiny_0'" in refused(capsys, command, drive, "--from", start, "-o", output)


def test_images_of_a_camera_of_twelve_bits(capsys, tiny, tmp_path):
    output = tmp_path / "mine.zmask.safetensors"
    drive = record_twelve_bits(tmp_path / "drive.mcap", map(tiny_network.clean_image, range(80)))
    eight = record(tmp_path / "eight.mcap", map(tiny_network.clean_image, range(80)))
    means = []
    for own, more in ((drive, ("--significant-bits", 12)), (eight, ())):
        code, _, err = zmask(
            capsys, "prepare", own, "--segmenter", tiny, "-o", output, "--force", "--budget", "1s", "--json", *more
        )
        assert code == 0, err
        means.append(load_profile(output).detector.statistics["shallow:0"].mean)
    assert torch.equal(*means)


def test_patches_that_are_too_weak_to_say_much_are_warned_of(capsys, monkeypatch, tiny, drive, tmp_path):
    monkeypatch.setattr(prepare_command, "SETTINGS", replace(SETTINGS, patch_steps=240, least_patch_steps=80))
    monkeypatch.setattr(stages, "seconds_a_pass", lambda *_: 0.1)
    output = tmp_path / "mine.zmask.safetensors"
    code, out, err = zmask(capsys, "prepare", drive, "--segmenter", tiny, "-o", output, "--budget", "60s", "--json")
    assert code == 0, err
    assert json.loads(out)["patch_steps"] == 5 and "they are weak: no head was trained" in " ".join(err.split())


def test_that_there_was_no_time_to_train_a_head_is_told(capsys, tiny, drive, tmp_path):
    output = tmp_path / "mine.zmask.safetensors"
    code, out, err = zmask(capsys, "prepare", drive, "--segmenter", tiny, "-o", output, "--budget", "1s", "--json")
    assert code == 0, err
    told, said = json.loads(out), " ".join(err.split())
    assert (told["rounds"], told["steps"]) == (0, 0) and told["patch_steps"] == SETTINGS.least_patch_steps
    assert "no time left in this budget to train one" in said and "a budget twice as long" in said


def test_why_no_head_that_was_trained_is_taken_is_told(capsys, monkeypatch, tiny, drive, tmp_path):
    def judge(profile, frames):
        value = 0.4 if profile.detector.head_transfers else 0.1
        return PatchFigures(attacked=0.5, oracle=1.0, defended=0.5 + value / 2, mask_iou=value, flagged=value)

    monkeypatch.setattr(prepare_command, "PatchJudge", lambda network: judge)
    output = tmp_path / "mine.zmask.safetensors"
    code, out, err = zmask(capsys, "prepare", drive, "--segmenter", tiny, "-o", output, "--budget", "72s", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert (told["steps"], told["refused"]) == (0, "") and told["rounds"] > 0
    said = " ".join(err.split())
    assert f"of {told['rounds']} heads that were trained none is better" in said and "the fitted profile" in said


@pytest.mark.parametrize(
    ("text", "seconds"), [("20min", 1200), ("90s", 90), ("1h", 3600), ("1.5 min", 90), (" 2h ", 7200)]
)
def test_durations(text, seconds):
    assert DURATION.convert(text, None, None) == seconds
