"""How clean frames and patches are divided into a part to train on and one to judge by."""

import numpy as np
import pytest

from support import tiny_network
from zmask_ros.errors import ZmaskError
from zmask_ros.training.division import divide
from zmask_ros.training.sources import CleanFrame, NamedPatch

YELLOW = np.full((16, 16, 3), (255, 255, 0), np.uint8)


def clean_frames(count, bag="clean"):
    return [CleanFrame(bag, "/image_raw", index, tiny_network.clean_image(index)) for index in range(count)]


def test_training_and_held_out_part_share_nothing():
    frames = clean_frames(60)
    material = divide(frames, [NamedPatch(str(index), YELLOW) for index in range(7)])
    first, second = material.training, material.held_out
    assert (len(first.frames), len(second.frames)) == (48, 12)
    assert not any(np.array_equal(a, b) for a in first.frames for b in second.frames)
    names = [{patch.name for patch in part.patches} for part in (first, second)]
    assert names[0] | names[1] == set("0123456") and names[0] & names[1] == set()
    assert len(names[1]) == 2
    assert first.seed != second.seed
    with pytest.raises(ZmaskError, match="1 patches are too few"):
        divide(frames, [NamedPatch("alone", YELLOW)])


def test_every_fifth_frame_of_each_source_is_held_out():
    frames = [*clean_frames(33, "a"), *clean_frames(33, "b")]
    material = divide(frames, [NamedPatch(str(index), YELLOW) for index in range(3)])
    expected = [frame.image for frame in frames if frame.index % 5 == 4]
    assert len(material.held_out.frames) == 12
    assert all(np.array_equal(a, b) for a, b in zip(material.held_out.frames, expected, strict=True))
