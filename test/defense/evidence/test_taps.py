"""Activation taps: what they keep, and what they refuse."""

import pytest
import torch
from torchvision.models import resnet18
from torchvision.models.feature_extraction import create_feature_extractor

from support import tiny_network
from support.tiny_network import describe_with
from zmask_ros.defense import ActivationTaps, LayerError, tap
from zmask_ros.defense.evidence.taps import feature_layers, find_layer, try_layers
from zmask_ros.segmenters import load_segmenter


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


def odd(tmp_path, name):
    return load_segmenter(describe_with(tmp_path, builder=f"support.odd_networks:{name}", arguments=""), "cpu")


def test_a_layer_that_is_overwritten_is_seen_as_it_was_put_out(tmp_path):
    segmenter = odd(tmp_path, "InPlace")
    x = segmenter.prepare(tiny_network.clean_image(3))
    with torch.inference_mode(), tap(segmenter, ["first", "others.0"]) as taps:
        segmenter.logits(x)
        torch.testing.assert_close(taps["first"], segmenter.network.first(x * 0.5 + 0.1))
        assert taps["first"].min() < 0
    trials = try_layers(segmenter, ["first", "others.0"])
    assert [trial.overwritten for trial in trials.values()] == [True, False]


def test_a_layer_that_runs_twice_is_refused_and_not_listed(tmp_path):
    segmenter = odd(tmp_path, "Reusing")
    layers = feature_layers(segmenter.network, lambda: segmenter.logits(torch.zeros(1, 3, 48, 64)))
    assert layers == {"first": (6, 48, 64), "heads.seg": (3, 48, 64)}
    for name in ("relu", "shared"):
        with pytest.raises(LayerError, match=f"'{name}' runs 2 times in a pass"):
            tap(segmenter, ["first", name])


def test_names_may_have_dots_in_them_and_modules_several_names(tmp_path):
    network = odd(tmp_path, "Shadowing").network
    assert find_layer(network, "stem.conv") is network._modules["stem.conv"]
    network.other = network.forward_features
    assert find_layer(network, "other") is find_layer(network, "forward_features")


def test_layers_of_a_network_within_modules_are_found():
    network = torch.nn.Sequential(torch.nn.Sequential(torch.nn.Sequential(tiny_network.build(0))))
    layers = feature_layers(network, lambda: network(torch.zeros(1, 3, 48, 64)))
    assert {"0.0.0.0", "0.0.0.2"} <= layers.keys()


def test_layers_of_a_traced_body_can_be_tapped():
    body = create_feature_extractor(resnet18(weights=None).eval(), {"layer1": "a", "layer2": "b"})
    layers = feature_layers(body, lambda: body(torch.zeros(1, 3, 64, 64)))
    assert layers["layer1.0.conv1"] == (64, 16, 16)
    assert "layer1.0.relu" not in layers  # it runs twice
