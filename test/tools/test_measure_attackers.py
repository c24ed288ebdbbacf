"""What several runs of the measurement of attackers add up to."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import pytest
from measure_attackers import (
    ALIKE,
    FINISHED,
    PLAIN_ATTACK,
    TABLES,
    VARIED,
    Effort,
    Figures,
    Finished,
    Material,
    OnAStream,
    check_frames,
    claimed,
    known_places,
    publish,
)
from measure_transfer import PATCH, attacked_frames

from zmask_ros.data.camvid import LabeledFrame
from zmask_ros.evaluation.metrics.records import Record

MARKED = "before\n" + "".join(f"{own.marks.begin}\n{own.marks.end}\n" for own in TABLES.values()) + "after\n"


def record(name: str, right: int, flagged: bool) -> Record:
    """A frame of ten pixels of the first of two classes."""
    return Record(name, "drive", 1.0, flagged, flagged, (right, 10 - right, 0, 0, 0, 0), None, None, 0.1)


def finished(effort: Effort, network: str, attack: str, right: tuple[int, int], flagged: tuple[bool, bool]) -> None:
    names = ("a", "b")
    defended = tuple(record(*one) for one in zip(names, right, flagged, strict=True))
    clean = tuple(record(name, 10, False) for name in names)
    figures = Figures(network, attack, OnAStream(0.2, 0.3, 0.5), 0.5, 1 - sum(right) / 20)
    path = effort.folder(network, attack) / "finished.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(FINISHED.dump_json(Finished(figures, defended, clean, 2)))


def test_the_table_and_the_worst_case_are_of_all_finished_work(tmp_path: Path) -> None:
    effort, document = Effort(1, 1, TABLES[ALIKE], tmp_path / "work"), tmp_path / "docs.md"
    document.write_text(MARKED)
    finished(effort, "unet_camvid", "bound, grouped", (9, 2), (True, False))
    finished(effort, "unet_camvid", PLAIN_ATTACK, (4, 8), (False, True))
    finished(effort, "lraspp_camvid", PLAIN_ATTACK, (10, 10), (True, True))
    publish(effort, document)
    rows = [line.split(" | ") for line in document.read_text().splitlines() if line.startswith("| ")][2:]
    assert [row[0].strip("| ") for row in rows] == ["lraspp_camvid"] * 2 + ["unet_camvid"] * 3
    assert "worst" in rows[2][1] and rows[3][1] == PLAIN_ATTACK
    # Each frame under the attacker that is worst for it: 4 and 2 of 10 pixels are right, of two classes.
    assert float(rows[2][3]) > float(rows[3][3])
    assert rows[2][4] == "0 of 2", "neither frame is flagged under both"
    assert (tmp_path / "images" / "attackers.svg").exists()
    varied = Effort(1, 1, TABLES[VARIED], tmp_path / "varied")
    finished(varied, "unet_camvid", PLAIN_ATTACK, (3, 8), (False, True))
    publish(varied, document)
    further = [line for line in document.read_text().splitlines() if line.startswith("| ")]
    assert len(further) == len(rows) + 2 + 4, "the two tables stand beside each other"


def test_work_on_other_frames_is_refused(tmp_path: Path) -> None:
    effort = Effort(1, 1, TABLES[ALIKE], tmp_path)
    finished(effort, "unet_camvid", PLAIN_ATTACK, (9, 9), (True, True))
    frames = [LabeledFrame(name, np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), 0) for name in "abc"]
    check_frames(effort, Material((), frames[:2], ()))
    with pytest.raises(click.ClickException, match="--every"):
        check_frames(effort, Material((), frames, ()))


def test_an_attacker_is_the_work_of_one_process(tmp_path: Path) -> None:
    with claimed(tmp_path / "one", wait=False) as first, claimed(tmp_path / "one", wait=False) as second:
        assert first and not second
        with claimed(tmp_path / "another", wait=False) as other:
            assert other
    with claimed(tmp_path / "one", wait=False) as again:
        assert again


@pytest.mark.parametrize("name", TABLES)
def test_a_patch_for_an_image_is_where_it_is_judged(name: str) -> None:
    random = np.random.default_rng(0)
    frames = [
        LabeledFrame(name, random.integers(0, 255, (360, 480, 3), np.uint8), np.zeros((360, 480), np.uint8), 0)
        for name in "abc"
    ]
    seen = TABLES[name].seen
    shown = attacked_frames([(frame, frame.labels) for frame in frames], np.zeros((*PATCH.size, 3), np.uint8), seen)
    for place, frame in zip(known_places(frames, PATCH.size, seen), shown, strict=True):
        rows, columns = np.nonzero(frame.hidden)
        center = place.homography[0, :2, 2] / place.homography[0, 2, 2]
        assert abs(float(center[0]) - columns.mean()) < 3 and abs(float(center[1]) - rows.mean()) < 3
