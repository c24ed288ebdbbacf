"""Stretches of clean drives: of frames that follow each other, drive by drive, and never too many."""

import torch

from zmask_ros.defense.drift.observation import STRETCH_FRAMES
from zmask_ros.defense.evidence.statistics import LayerStatistics, Moments
from zmask_ros.training.stretches import MOST_STRETCHES, Stretches

STATISTICS = {"a": LayerStatistics(Moments.of(torch.randn(2, 3, 200, generator=torch.Generator().manual_seed(0))))}


def taken(drives: dict[str, int]) -> Stretches:
    """Of drives with so many frames, which come in turns."""
    stretches = Stretches()
    for index in range(max(drives.values())):
        for drive, frames in drives.items():
            if index < frames:
                stretches.add((drive, "/image_raw"), {"a": torch.tensor([index, index % 7, len(drive)]).float()})
    return stretches


def test_each_stretch_is_of_one_drive_and_of_neighbors():
    reference = taken({"long": 4 * STRETCH_FRAMES + 3, "short drive": 2 * STRETCH_FRAMES}).reference(STATISTICS)
    assert sorted(reference.drives) == [2, 4]
    middles = [index * STRETCH_FRAMES + (STRETCH_FRAMES - 1) / 2 for index in (0, 1, 2, 3, 0, 1)]
    torch.testing.assert_close(reference.stretches["a"][:, 0], torch.tensor(middles))
    assert reference.stretches["a"][:, 2].tolist() == [4.0] * 4 + [11.0] * 2


def test_memory_does_not_grow_with_the_drive_and_what_is_kept_is_spread_over_it():
    frames = STRETCH_FRAMES * (5 * MOST_STRETCHES + 20)
    kept = taken({"long": frames}).reference(STATISTICS).stretches["a"][:, 0]
    assert MOST_STRETCHES / 2 <= len(kept) <= MOST_STRETCHES
    assert kept[0] < frames / 50 and kept[-1] > 0.95 * frames
    assert kept.diff().max() <= 2 * kept.diff().min()


def test_too_few_frames_make_no_reference():
    assert taken({"short": 4 * STRETCH_FRAMES}).reference(STATISTICS) is None
    assert taken({"shorter": 3}).reference(STATISTICS) is None
