"""Frames to attack: their labels, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from support.neighbourly import Frame
from zmask_ros.attacks import stack_frames
from zmask_ros.errors import AttackError
from zmask_ros.segmenters import Segmenter


def test_frames_without_labels_get_the_networks_own(segmenter: Segmenter, frames: list[Frame]) -> None:
    big = np.kron(frames[0][0], np.ones((2, 2, 1), np.uint8))
    stack = stack_frames(segmenter, [(big, None), frames[0]])
    assert stack.images.shape == (2, 3, 60, 80)
    agreement = (stack.labels[0] == stack.labels[1]).float().mean()
    assert agreement > 0.95


def test_unusable_frames_are_refused(segmenter: Segmenter, frames: list[Frame]) -> None:
    image, labels = frames[0]
    with pytest.raises(AttackError, match="no frames"):
        stack_frames(segmenter, [])
    with pytest.raises(AttackError, match=r"label 7.*2 classes"):
        stack_frames(segmenter, [(image, labels + 7)])
    with pytest.raises(AttackError, match="must agree"):
        stack_frames(segmenter, [(image, labels[1:])])
