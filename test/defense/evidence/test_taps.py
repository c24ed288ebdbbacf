"""Activation taps: what they keep, and what they refuse."""

import pytest
import torch

from support import tiny_network
from zmask_ros.defense import ActivationTaps, LayerError


def test_taps_see_what_layers_put_out_and_leave_nothing_behind(segmenter):
    x = segmenter.prepare(tiny_network.clean_image(3))
    with ActivationTaps(segmenter.network, ["0", "2"]) as taps:
        segmenter.logits(x)
        torch.testing.assert_close(taps["0"], segmenter.network[0](x))
        assert taps["2"].shape == (1, 8, 48, 64)
    assert not any(module._forward_hooks for module in segmenter.network.modules())


def test_taps_are_removed_after_an_error(segmenter):
    with pytest.raises(RuntimeError), ActivationTaps(segmenter.network, ["0"]):
        segmenter.network(torch.zeros(1, 5, 8, 8))
    assert not any(module._forward_hooks for module in segmenter.network.modules())


def test_a_missing_layer_names_the_closest(segmenter):
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    network = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=2)
    with pytest.raises(LayerError, match=r"no layer 'backbone\.44'; the closest are .*backbone\.4"):
        ActivationTaps(network, ["backbone.44"])
    with ActivationTaps(segmenter.network, ["0"]) as taps, pytest.raises(LayerError, match="was not reached"):
        taps["0"]
