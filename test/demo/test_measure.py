"""What the demo measures, on a small drive whose truth is known."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from zmask_ros.data.street import CLASS_NAMES, StreetFrame
from zmask_ros.demo import (
    MEANINGS,
    DriveCounts,
    Measurement,
    Outcome,
    Scenario,
    contact_sheet_of,
    measure,
    moments,
    read_flags,
    summarise,
)
from zmask_ros.demo.run import FramesUnflagged, _expect_flags
from zmask_ros.evaluation.metrics.segmentation import Confusion
from zmask_ros.flags.flag import AttackRecord, FrameState
from zmask_ros.io.bags.writer import BagWriter

PICTURE = np.full((40, 40, 3), (255, 0, 255), np.uint8)


SMALL = Scenario(
    seed=1, seconds=2.0, rate_hz=5.0, carrier="truck", picture_from_s=0.5, picture_until_s=1.5, width=160, height=120
)


ATTACKED = range(3, 8)


UNKNOWN, CLEAN, ATTACK = 0, 1, 2


@dataclass
class TruthfulCamera:
    """Stands in for the network: it knows the labels of every frame of the drive without the picture."""

    scenario: Scenario

    def __post_init__(self) -> None:
        self.segmenter = SimpleNamespace(classes=CLASS_NAMES)
        drives = self.scenario.drive(None), self.scenario.drive(PICTURE)
        self._labels = {frame.image.tobytes(): frame.labels for drive in drives for frame in drive}

    def process_image(self, image: np.ndarray) -> SimpleNamespace:
        return SimpleNamespace(pictures=SimpleNamespace(undefended=self._labels[image.tobytes()]))

    def masked_labels(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return np.where(mask, 255, self._labels[image.tobytes()])


def write_frame(bag: BagWriter, frame: StreetFrame, state: int, mask: np.ndarray, undefended: np.ndarray) -> None:
    record = AttackRecord(state, "", 0.5, 0.25, 0.0, 10.0 + frame.index)
    received_ns = frame.stamp_ns + frame.index * 100_000_000
    bag.write_attack("/camera/zmask/attack", record, frame.stamp_ns, "camera", received_ns)
    planes = {"mask": mask.astype(np.uint8) * 255, "segmentation": frame.labels, "undefended": undefended}
    for name, plane in planes.items():
        bag.write_image(f"/camera/zmask/{name}", plane, "mono8", frame.stamp_ns, "camera", received_ns)
    bag.write_image("/camera/image_raw", frame.image, "rgb8", frame.stamp_ns, "camera", received_ns)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All right, but: frame 2 a false alarm, 3 missed, 4 unknown, 5 half the mask; undefended labels all Sky."""
    path = tmp_path_factory.mktemp("demo") / "drive"
    with BagWriter(path) as bag:
        for frame in SMALL.drive(PICTURE):
            mask, state = frame.patch_mask.copy(), ATTACK if frame.patch_mask.any() else CLEAN
            if frame.index in (2, 3, 4):
                state, mask = {2: ATTACK, 3: CLEAN, 4: UNKNOWN}[frame.index], np.zeros_like(mask)
            if frame.index == 5:
                rows = np.flatnonzero(mask.any(1))
                mask[rows[len(rows) // 2] :] = False
            write_frame(bag, frame, state, mask, np.zeros_like(frame.labels))
    return path


@pytest.fixture(scope="module")
def found(recorded: Path) -> Measurement:
    seen: list[int] = []
    result = measure(SMALL, PICTURE, recorded, TruthfulCamera(SMALL), lambda: seen.append(1))
    assert len(seen) == SMALL.frames
    return result


def outcome(index: int, cover: float) -> Outcome:
    return Outcome(index, index, cover, None, float("nan"))


def test_the_picture_is_there_in_its_time_alone() -> None:
    drive, advert = SMALL.drive(PICTURE), SMALL.drive(None)
    shown = [index for index in range(len(drive)) if SMALL.shows_picture(index)]
    assert shown == list(ATTACKED)
    assert [index for index, frame in enumerate(drive) if frame.patch_mask.any()] == shown
    assert np.array_equal(drive[2].image, advert[2].image)
    assert len(drive) == SMALL.frames


def test_figures_follow_from_what_was_recorded(found: Measurement) -> None:
    figures = summarise(found, SMALL, DriveCounts(10, 0), 1.5)
    assert list(figures) == list(MEANINGS)
    assert (figures["frames"], figures["flags_received"], figures["frames_unknown"]) == (10, 10, 1)
    assert (figures["frames_attacked"], figures["frames_over_1_percent"]) == (5, 5)
    assert figures["recall"] == pytest.approx(3 / 5)
    assert figures["false_alarm_rate"] == pytest.approx(1 / 5)
    assert figures["mask_iou"] == pytest.approx((0 + 0 + 0.5 + 1 + 1) / 5, abs=0.02)
    assert figures["miou_clean"] == figures["miou_oracle"] == figures["miou_defended"] == 1.0
    assert 0 < figures["miou_attacked"] < 0.2
    assert figures["node_latency_ms_p50"] == pytest.approx(14.5)
    # Recorded every 0.3 s, driven every 0.2 s.
    assert figures["playback_rate"] == pytest.approx(2 / 3)


def test_a_frame_without_flag_counts_as_missed(found: Measurement) -> None:
    lost = [Outcome(o.index, o.stamp_ns, o.cover, None if o.index == 7 else o.flag, o.mask_iou) for o in found.outcomes]
    rest = replace(found, outcomes=lost)
    assert summarise(rest, SMALL, DriveCounts(10, 0), 0.0)["recall"] == pytest.approx(2 / 5)
    with pytest.raises(FramesUnflagged, match=r"1 of 10 frames") as raised:
        _expect_flags(rest, DriveCounts(10, 0))
    assert raised.value.exit_code == 1
    _expect_flags(found, DriveCounts(10, 0))


def test_a_drive_without_patch_has_no_figures_of_it() -> None:
    empty = Confusion(11)
    found = Measurement(empty, empty, empty, empty, [outcome(index, 0.0) for index in range(4)])
    figures = summarise(found, SMALL, DriveCounts(4, 4), 0.0)
    assert figures["recall"] is None and figures["mask_iou"] is None and figures["miou_clean"] is None
    json.dumps(figures, allow_nan=False)
    assert len(moments(found.outcomes)) == 1


def test_flags_read_back_by_stamp(recorded: Path) -> None:
    flags = read_flags(recorded, "/camera/zmask/attack")
    states = [flag.state for _, flag in sorted(flags.items())]
    assert states[2:6] == [FrameState.ATTACK, FrameState.CLEAN, FrameState.UNKNOWN, FrameState.ATTACK]


def test_five_moments_in_time() -> None:
    covers = [0, 0, 0, 0.02, 0.05, 0.09, 0.011, 0, 0, 0.0]
    chosen = moments([outcome(index, cover) for index, cover in enumerate(covers)])
    assert [(name, o.index) for name, o in chosen] == [
        ("before", 1),
        ("small", 3),
        ("middling", 4),
        ("large", 5),
        ("after", 8),
    ]


def test_contact_sheet_has_a_row_a_moment(recorded: Path, found: Measurement) -> None:
    palette = np.zeros((256, 3), np.uint8)
    sheet = contact_sheet_of(found, SMALL, PICTURE, recorded, palette)
    assert sheet.dtype == np.uint8
    assert sheet.shape[0] > 5 * 240
    assert sheet.shape[1] > 4 * 320
