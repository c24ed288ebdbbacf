"""A fleet's drives are replayed as each of them is alone, and the page shows first what needs a look."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from support import tiny_network
from support.commands import record, refused, zmask
from support.patched_street import attacked_image
from zmask_ros.fleet.replay import DriveReport, drive_report
from zmask_ros.runtime.replay import ReplaySettings, replay

CLEAN = 20


class Page(HTMLParser):
    """The ids and links of a page, and the text of the first column of its table of drives."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "meta":
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name == "href":
                self.links.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The tiny network, and a profile that knows how far clean drives lie."""
    description = tiny_network.describe(tmp_path_factory.mktemp("tiny"))
    return description, tiny_network.fit_long(description)


def test_the_report_of_a_fleet_is_that_of_its_drives(cluster, places, tmp_path, capsys) -> None:
    pictures = [tiny_network.clean_image(200 + index) for index in range(CLEAN)]
    attacked = [*pictures[:5], attacked_image(), attacked_image(), *pictures[5:]]
    clean = record(tmp_path / "a <clean>.mcap", pictures)
    dangerous = record(tmp_path / "b.mcap", attacked)
    (tmp_path / "c.mcap").write_bytes(b"no bag")
    description, profile = places
    report = tmp_path / "fleet.html"
    code, out, err = zmask(
        capsys, "replay", tmp_path / "*.mcap", "--segmenter", description, "--profile", profile, "--device", "cpu",
        "--report", report, "--json", "--ray", cluster.address,
    )  # fmt: skip
    assert code == 3, err
    said = json.loads(out)
    assert (said["drives"], said["frames"], said["retried"]) == (2, 2 * CLEAN + 2, 0)
    # One may have done it all before the other was ready.
    assert said["workers"] in (1, 2)
    assert [bag["bag"] for bag in said["skipped"]] == [str(tmp_path / "c.mcap")]
    assert [Path(drive["bag"]) for drive in said["each"]] == [dangerous, clean]
    for drive in said["each"]:
        settings = ReplaySettings(Path(drive["bag"]), str(description), "cpu", profile=profile)
        alone = drive_report(drive["bag"], replay(settings))
        own = DriveReport.of_json(drive)
        assert (own.hours, own.threshold, own.quantiles) == (alone.hours, alone.threshold, alone.quantiles)
        assert own.moments == alone.moments
        timed = ("frame_ms_p50", "frame_ms_p99", "frames_per_s", "times_real_time")
        assert {k: v for k, v in own.figures.items() if k not in timed} == {
            k: v for k, v in alone.figures.items() if k not in timed
        }
    first = DriveReport.of_json(said["each"][0])
    assert first.moments[0].begin_s == pytest.approx(5 * 66_666_667e-9) and first.moments[0].frames >= 2
    assert sum(moment.frames for moment in first.moments) == first.figures["flagged"]
    assert first.figures["alarms"] > 0
    assert first.alarms_an_hour == pytest.approx(first.figures["alarms"] / first.hours)
    page = Page(report.read_text())
    assert page.open == []
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert [link for link in page.links if link.startswith("file:")] == [dangerous.as_uri(), clean.as_uri()]
    assert "<clean>" not in report.read_text()
    assert sorted(path.name for path in tmp_path.glob("fleet*")) == ["fleet.html"]


def test_what_is_of_one_drive_is_refused_for_many(places, tmp_path, capsys) -> None:
    description, _ = places
    assert "replay it alone" in refused(
        capsys, "replay", "a.mcap", "--segmenter", description, "--video", tmp_path / "a.mp4", "--ray", "local"
    )
    assert "add --ray" in refused(capsys, "replay", "a.mcap", "b.mcap", "--segmenter", description)
