"""Clean frames from bags: those that `zmask fit` holds out are held out again."""

import numpy as np
import pytest

from support import tiny_network
from support.commands import record
from zmask_ros.io.bags.reader import CameraBags, ReadReport
from zmask_ros.training.sources import CleanFrame, CleanSources, stride

EMPTY = np.empty((0, 0, 3), np.uint8)


@pytest.mark.parametrize(("every", "frames"), [(1, 100), (2, 100), (2, 20), (1, 24)])
def test_a_frame_is_held_out_where_fit_holds_it_out(tmp_path, every, frames):
    drive = record(tmp_path / "clean.mcap", map(tiny_network.clean_image, range(60)))
    other = record(tmp_path / "other.mcap", map(tiny_network.clean_image, range(100, 163)))
    bags = (drive, other)
    with CameraBags(bags, None, every) as camera:
        fitted = {(f.bag, f.index): _clean_frame(f, every) for f in camera.frames(ReadReport())}
    read = {(f.bag, f.index): f for f in fitted.values()}
    taken = list(CleanSources(None, bags, None, every, frames))
    assert min(frames, len(fitted)) <= len(taken) <= len(fitted)
    assert all(np.array_equal(frame.image, read[frame.bag, frame.index].image) for frame in taken)
    assert len(taken) / 7 < sum(frame.held_out for frame in taken) < len(taken) / 4


def _clean_frame(frame, every):
    return CleanFrame(str(frame.bag), frame.topic, frame.index // every, frame.image)


def test_no_stride_misses_the_frames_that_are_held_out():
    for total in range(50, 3000, 7):
        taken = range(0, total, stride(total, 50))
        assert len(taken) >= 50
        assert sum(CleanFrame("", "", index, EMPTY).held_out for index in taken) >= 9
