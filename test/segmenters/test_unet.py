"""The U-Net: sizes, normalization, and what is shipped of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from zmask_ros.data.camvid import CamVid, camvid_root
from zmask_ros.evaluation.metrics.segmentation import Confusion
from zmask_ros.resources import find_resource
from zmask_ros.segmenters import load_segmenter
from zmask_ros.segmenters.unet import UNet

MOST_BYTES = 4 * 2**20


@pytest.mark.parametrize("size", [(32, 32), (45, 61)])
def test_scores_have_the_size_of_the_image_whatever_it_is(size: tuple[int, int]) -> None:
    with torch.inference_mode():
        assert UNet(5, (4, 6, 8)).eval()(torch.zeros(2, 3, *size)).shape == (2, 5, *size)


def test_the_resolution_is_halved_at_the_stem_and_at_each_step_down() -> None:
    network, seen = UNet(5, (4, 6, 8)), []
    for layer in (network.stem, *network.down):
        layer.register_forward_hook(lambda module, taken, made: seen.append(tuple(made.shape[1:])))
    network(torch.zeros(2, 3, 32, 48))
    assert seen == [(4, 16, 24), (6, 8, 12), (8, 4, 6)]


@pytest.mark.parametrize("norm", [True, False])
def test_batch_norm_can_be_left_away(norm: bool) -> None:
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in UNet(5, (4, 6), norm).modules()) is norm


def test_the_shipped_one_is_small() -> None:
    assert find_resource("models/unet_camvid.safetensors").stat().st_size < MOST_BYTES
    assert load_segmenter("unet_camvid", "cpu").classes == load_segmenter("lraspp_camvid", "cpu").classes


@pytest.mark.skipif(camvid_root() is None, reason="ZMASK_CAMVID names no folder")
def test_the_shipped_one_segments_frames_that_it_has_not_seen() -> None:
    segmenter, root = load_segmenter("unet_camvid", "cpu"), camvid_root()
    assert root is not None
    counts = Confusion(len(segmenter.classes))
    frames = CamVid(root, "val")
    for index in range(0, len(frames), 20):
        frame = frames[index]
        with torch.inference_mode():
            labels = segmenter.logits(segmenter.prepare(frame.image)).argmax(1)[0].numpy().astype(np.uint8)
        counts.add(labels, frame.labels)
    assert counts.miou() > 0.55
