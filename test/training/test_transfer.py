"""Which layers a transferable head sees, and its file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from support.tiny_network import describe_with
from zmask_ros.errors import ZmaskError
from zmask_ros.segmenters import Segmenter, load_segmenter
from zmask_ros.training.transfer import (
    SLOTS,
    encoder_layers,
    load_transferable_head,
    save_transferable_head,
)


def network(folder: Path, builder: str) -> Segmenter:
    changes = {"builder": f"support.odd_networks:{builder}", "arguments": "{}", "input_size": "[64, 96]"}
    return load_segmenter(describe_with(folder, **changes), "cpu")


def test_a_single_layer_stands_for_all(tmp_path: Path) -> None:
    assert encoder_layers(network(tmp_path, "one_layer")) == ("0",) * SLOTS


def test_a_network_without_layers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ZmaskError, match="no layer that could be tapped"):
        encoder_layers(network(tmp_path, "no_layer"))


def test_layers_of_one_resolution_are_spread_evenly(tmp_path: Path) -> None:
    # The last of each quarter of six layers: 1.5, 3, 4.5 and 6, rounded up.
    assert encoder_layers(network(tmp_path, "of_one_resolution")) == ("1", "2", "4", "5")


def test_decoders_have_no_say_even_where_they_use_a_module_of_the_encoder(tmp_path: Path) -> None:
    # The activation is last used in the decoder, so that it is the decoder's; "second" stands for what is in it.
    assert encoder_layers(network(tmp_path, "EncoderDecoder")) == ("first", "second", "third", "last")


def test_the_shipped_network_gives_its_layers_fine_to_coarse() -> None:
    segmenter = load_segmenter("lraspp_camvid", "cpu")
    assert encoder_layers(segmenter) == ("backbone.1", "backbone.3", "backbone.6", "classifier.cbr")


def test_a_head_survives_its_file(tmp_path: Path) -> None:
    shipped = load_transferable_head()
    save_transferable_head(shipped, tmp_path / "head.safetensors")
    again = load_transferable_head(tmp_path / "head.safetensors")
    assert torch.equal(again.opening, shipped.opening)
    assert again.weights.keys() == shipped.weights.keys()
    assert all(torch.equal(again.weights[name], weight) for name, weight in shipped.weights.items())
