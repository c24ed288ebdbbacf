"""The families of networks that a transferable head learns from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from networks import FAMILIES
from train_network import description
from zmask_ros.defense.evidence.taps import feature_layers
from zmask_ros.segmenters import Segmenter, load_segmenter
from zmask_ros.training.encoder import encoder_layers
from zmask_ros.training.plans import mean_z_plan


def untrained(folder: Path, name: str) -> Segmenter:
    """The network as its description gives it, but with random weights."""
    entries = yaml.safe_load(description(name, FAMILIES[name], folder / "weights.safetensors"))
    del entries["weights"]
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(entries | {"input_size": [192, 256]}))
    return load_segmenter(str(path), "cpu")


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("size", [(96, 128), (90, 120)])
def test_a_family_scores_every_pixel(name: str, size: tuple[int, int]) -> None:
    network = FAMILIES[name].build(classes=5).eval()
    with torch.inference_mode():
        scores = network(torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0)))
    assert scores.shape == (2, 5, *size)
    assert scores.isfinite().all()
    assert scores.std(dim=(-2, -1)).min() > 0, "scores must depend on the place"


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_has_encoder_layers_and_those_of_its_description(name: str, tmp_path: Path) -> None:
    segmenter = untrained(tmp_path, name)
    layers = encoder_layers(segmenter)
    gray = torch.zeros(1, 3, *segmenter.input_size)
    shapes = feature_layers(segmenter.network, lambda: segmenter.logits(gray), 32)
    reached = list(shapes)
    assert len(layers) == len(set(layers)) == 4
    assert [reached.index(layer) for layer in layers] == sorted(reached.index(layer) for layer in layers)
    heights = [shapes[layer][1] for layer in layers]
    assert heights == sorted(heights, reverse=True) and heights[0] >= 4 * heights[-1]
    assert set(mean_z_plan(segmenter).binding.shapes) == {*FAMILIES[name].shallow, *FAMILIES[name].deep}


def test_a_strided_block_with_branches_is_not_taken_for_the_decoder(tmp_path: Path) -> None:
    # One branch is coarser than the one that is reached after it.
    layers = encoder_layers(untrained(tmp_path, "shufflenet"))
    assert layers == ("body.conv1", "body.maxpool", "body.stage2", "body.stage3")


def test_families_differ() -> None:
    sizes = [sum(p.numel() for p in family.build().parameters()) for family in FAMILIES.values()]
    assert len(set(sizes)) == len(FAMILIES)
