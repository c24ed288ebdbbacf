"""Segmenters: how images go in, and where they run."""

import numpy as np
import pytest

from support.tiny_network import describe_with
from zmask_ros.segmenters import SegmenterError, load_segmenter


def test_images_are_resized_and_normalized(tmp_path):
    segmenter = load_segmenter(describe_with(tmp_path), "cpu")
    image = np.full((200, 100, 3), 255, np.uint8)
    x = segmenter.prepare(image)
    assert x.shape == (1, 3, 48, 64)
    assert x.unique().tolist() == [2.0]


def test_a_device_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SegmenterError, match="cannot be used on this machine"):
        load_segmenter(describe_with(tmp_path), "cuda:63")
