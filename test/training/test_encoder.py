"""Which layers of a network's encoder a transferable head sees, and which says where masks end."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.tiny_network import describe_with
from zmask_ros.errors import ZmaskError
from zmask_ros.segmenters import Segmenter, load_segmenter
from zmask_ros.training.encoder import SLOTS, edge_layer, encoder_layers
from zmask_ros.training.plans import transfer_plan


def network(folder: Path, builder: str, input_size: str = "[64, 96]") -> Segmenter:
    changes = {"builder": f"support.odd_networks:{builder}", "arguments": "{}", "input_size": input_size}
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


def test_whole_blocks_are_seen_rather_than_their_branches(tmp_path: Path) -> None:
    # The second layer looks at a coarser map for a while, and is of the first resolution all the same.
    layers = encoder_layers(network(tmp_path, "BranchingEncoder"))
    assert layers == ("encoder.1", "encoder.3", "encoder.4", "norm")


@pytest.mark.parametrize(
    ("builder", "layers"),
    [
        # What attention reduces is not the decoder's beginning.
        ("Pyramid", ("blocks.0.mixed", "embeddings.1", "blocks.1.mixed", "blocks.1.mixed")),
        ("nested_unet", ("0.down", "0.next.down", "0.next.next.down", "0.next.next.next")),
        ("stem_that_halves_twice", ("0.first", "1", "2", "3")),
    ],
)
def test_what_holds_layers_is_told_from_a_block(tmp_path: Path, builder: str, layers: tuple[str, ...]) -> None:
    assert encoder_layers(network(tmp_path, builder)) == layers


def test_class_scores_do_not_stand_for_a_resolution(tmp_path: Path) -> None:
    layers = encoder_layers(network(tmp_path, "CoarseScores", "[128, 192]"))
    assert layers == ("encoder.0", "encoder.1", "encoder.2", "encoder.3")


def test_the_shipped_network_gives_its_layers_fine_to_coarse() -> None:
    segmenter = load_segmenter("lraspp_camvid", "cpu")
    assert encoder_layers(segmenter) == ("backbone.1", "backbone.3", "backbone.6", "classifier.cbr")


@pytest.mark.parametrize(("name", "layer"), [("lraspp_camvid", "backbone.0"), ("unet_camvid", "stem.0")])
def test_masks_end_where_the_first_block_of_the_finest_resolution_says(name: str, layer: str) -> None:
    segmenter = load_segmenter(name, "cpu")
    assert edge_layer(segmenter, (45, 60)) == layer
    assert edge_layer(segmenter, (180, 60)) is None


@pytest.mark.parametrize(("builder", "layer"), [("of_one_resolution", "0"), ("unwrapped_stem", "2")])
def test_without_a_block_masks_end_where_all_that_follows_the_first_convolution_says(
    tmp_path: Path, builder: str, layer: str
) -> None:
    assert edge_layer(network(tmp_path, builder), (8, 12)) == layer


def test_without_layers_masks_end_with_the_cells_of_the_grid(tmp_path: Path) -> None:
    assert edge_layer(network(tmp_path, "no_layer"), (8, 12)) is None


def test_the_layer_that_masks_end_by_need_not_be_one_of_the_heads() -> None:
    plan = transfer_plan(load_segmenter("unet_camvid", "cpu"))
    assert plan.head is not None and plan.growth.edge not in plan.head.branch.layers
    assert plan.growth.edge in plan.binding.shapes
