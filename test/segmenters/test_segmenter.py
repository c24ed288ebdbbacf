"""Segmenters: how images go in, and where they run."""

import numpy as np
import pytest
import torch

from support.tiny_network import describe_with
from zmask_ros.segmenters import SegmenterError, load_segmenter, resized


def test_images_are_resized_and_normalized(tmp_path):
    segmenter = load_segmenter(describe_with(tmp_path), "cpu")
    image = np.full((200, 100, 3), 255, np.uint8)
    x = segmenter.prepare(image)
    assert x.shape == (1, 3, 48, 64)
    assert x.unique().tolist() == [2.0]


@pytest.mark.parametrize("size", [(48, 64), (97, 131)])
def test_a_prepared_image_is_a_normalized_one_bit_by_bit(tmp_path, size):
    segmenter = load_segmenter(describe_with(tmp_path, mean="[0.4, 0.5, 0.3]", std="[0.21, 0.3, 0.27]"), "cpu")
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    before = image.copy()
    planes = torch.from_numpy(resized(image, (48, 64))).permute(2, 0, 1)[None].float() / 255.0
    x = segmenter.prepare(image)
    assert torch.equal(x, segmenter.normalize(planes))
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert np.array_equal(image, before)


def test_a_device_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SegmenterError, match="cannot be used on this machine"):
        load_segmenter(describe_with(tmp_path), "cuda:63")
