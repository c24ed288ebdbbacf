"""Where exactly a region ends."""

from __future__ import annotations

import dataclasses

import pytest
import tiny_network
import torch
from torch import Tensor

from zmask_ros.defense import Defense, LayerStatistics, load_profile, without_head
from zmask_ros.defense.fitting import observe
from zmask_ros.defense.growth import OPEN
from zmask_ros.defense.refinement import Refinement, edge_layer
from zmask_ros.hardening import with_head
from zmask_ros.segmenters import load_segmenter

GRID, FINE = (24, 32), (96, 128)
PATCH = (slice(29, 66), slice(42, 91))
"""On the layer; its sides lie between those of the grid's cells."""


def scene(seed: int, amplitude: float = 3.0) -> Tensor:
    """An activation [1, 6, *FINE] of noise, in which a patch has another mean and a coarser texture."""
    generator = torch.Generator().manual_seed(seed)
    activation = torch.randn(1, 6, *FINE, generator=generator)
    rows, columns = PATCH
    activation[0, :3, rows, columns] *= amplitude
    activation[0, 3:, rows, columns] += amplitude / 2
    return activation


@pytest.fixture(scope="module")
def refinement() -> Refinement:
    clean = torch.randn(1, 6, *FINE, generator=torch.Generator().manual_seed(99))
    return Refinement(LayerStatistics(observe(clean, ((3, 3),), GRID)))


def truth() -> Tensor:
    mask = torch.zeros(1, 1, *FINE, dtype=torch.bool)
    mask[0, 0][PATCH] = True
    return mask


def coarse(margin: int) -> Tensor:
    """The region that covers the patch and ``margin`` cells of the grid around it; less of it for a negative one."""
    region = torch.zeros(1, 1, *GRID)
    region[..., 7 - margin : 17 + margin, 10 - margin : 23 + margin] = 0.9
    return region


def overlap(found: Tensor, wanted: Tensor) -> float:
    found = found > OPEN
    return float((found & wanted).sum() / (found | wanted).sum())


@pytest.mark.parametrize("margin", [-1, 0, 1, 2])
def test_a_region_that_is_too_wide_or_too_narrow_ends_where_the_patch_does(refinement: Refinement, margin: int) -> None:
    before = torch.nn.functional.interpolate(coarse(margin), FINE, mode="nearest")
    after = refinement(coarse(margin), scene(1))
    assert after.shape == (1, 1, *FINE)
    assert overlap(after, truth()) > max(0.85, overlap(before, truth()))


def test_each_image_of_a_batch_is_refined_for_itself(refinement: Refinement) -> None:
    regions, activations = torch.cat([coarse(0), coarse(2)]), torch.cat([scene(1), scene(2)])
    together = refinement(regions, activations)
    apart = torch.cat([refinement(regions[i : i + 1], activations[i : i + 1]) for i in range(2)])
    assert torch.equal(together, apart)


@pytest.mark.parametrize("region", [torch.zeros(1, 1, *GRID), torch.full((1, 1, *GRID), 0.9)], ids=["none", "all"])
def test_what_has_no_inside_or_no_outside_stays_as_it_is(refinement: Refinement, region: Tensor) -> None:
    fine = (region > OPEN).repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert torch.equal(refinement(region, scene(1)) > OPEN, fine)


def test_a_region_of_one_cell_is_not_lost(refinement: Refinement) -> None:
    region = torch.zeros(1, 1, *GRID)
    region[..., 12, 16] = 1.0
    assert (refinement(region, scene(1)) > OPEN)[..., 48:52, 64:68].all()


def test_its_gradient_reaches_the_region_and_the_activation(refinement: Refinement) -> None:
    region, activation = coarse(1).requires_grad_(), scene(1).requires_grad_()
    gradients = torch.autograd.grad(refinement(region, activation).sum(), (region, activation))
    assert all(bool(torch.isfinite(g).all()) and float(g.abs().sum()) > 0 for g in gradients)


def test_only_layers_finer_than_the_grid_serve(tmp_path_factory: pytest.TempPathFactory) -> None:
    description = tiny_network.describe(tmp_path_factory.mktemp("tiny"))
    profile = load_profile(tiny_network.fit(description))
    layer = edge_layer(profile)
    sizes = {name: shape[1:] for name, shape in profile.binding.shapes.items()}
    finer = [name for name in profile.layers if sizes[name][0] > profile.grid[0]]
    assert layer == (finer[0] if finer else None)
    if layer is not None:
        sharper = dataclasses.replace(profile, growth=dataclasses.replace(profile.growth, edge=layer))
        defense = Defense(load_segmenter(str(description), "cpu"), sharper)
        x = defense.segmenter.prepare(tiny_network.clean_image(3))
        _, analysis = defense.analyse(x)
        assert analysis.edge is not None
        assert set(defense.mask(analysis, (x.shape[-2], x.shape[-1])).unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize(("head", "edge"), [((), "0"), ((), "2"), (("2",), "0"), (("1",), "1"), (("1",), "2")])
def test_the_layer_of_the_edge_may_be_in_any_branch(
    tmp_path_factory: pytest.TempPathFactory, head: tuple[str, ...], edge: str
) -> None:
    description = tiny_network.describe(tmp_path_factory.mktemp("tiny"))
    segmenter = load_segmenter(str(description), "cpu")
    profile = load_profile(tiny_network.fit(description))
    if head:
        profile = with_head(segmenter, profile, head, [tiny_network.clean_image(index) for index in range(4)])
    profile = dataclasses.replace(profile, growth=dataclasses.replace(profile.growth, edge=edge))
    x = segmenter.prepare(tiny_network.clean_image(3))
    assert Defense(segmenter, profile).analyse(x)[1].edge is not None
    plain = without_head(profile)
    assert plain.growth.edge == (edge if edge in profile.shallow.layers + profile.deep.layers else None)
    Defense(segmenter, plain).analyse(x)
