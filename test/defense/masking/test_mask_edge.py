"""Where exactly a region ends."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from support import tiny_network
from support.profiles import with_changed
from zmask_ros.defense import Defense, bind, load_profile, save_profile
from zmask_ros.defense.masking.mask_edge import exclude_street, refine_edge
from zmask_ros.defense.masking.soft_region import OPEN
from zmask_ros.resources import shipped_profile
from zmask_ros.segmenters import load_segmenter
from zmask_ros.training.adversarial import with_untrained_head
from zmask_ros.training.layer_selection import with_edge

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
def test_a_region_that_is_too_wide_or_too_narrow_ends_where_the_patch_does(margin: int) -> None:
    before = torch.nn.functional.interpolate(coarse(margin), FINE, mode="nearest")
    after = refine_edge(coarse(margin), scene(1))
    assert after.shape == (1, 1, *FINE)
    assert overlap(after, truth()) > max(0.85, overlap(before, truth()))


def test_each_image_of_a_batch_is_refined_for_itself() -> None:
    regions, activations = torch.cat([coarse(0), coarse(2)]), torch.cat([scene(1), scene(2)])
    together = refine_edge(regions, activations)
    apart = torch.cat([refine_edge(regions[i : i + 1], activations[i : i + 1]) for i in range(2)])
    assert torch.equal(together, apart)


@pytest.mark.parametrize("region", [torch.zeros(1, 1, *GRID), torch.full((1, 1, *GRID), 0.9)], ids=["none", "all"])
def test_what_has_no_inside_or_no_outside_stays_as_it_is(region: Tensor) -> None:
    fine = (region > OPEN).repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert torch.equal(refine_edge(region, scene(1)) > OPEN, fine)


def test_a_region_of_one_cell_is_not_lost() -> None:
    region = torch.zeros(1, 1, *GRID)
    region[..., 12, 16] = 1.0
    assert (refine_edge(region, scene(1)) > OPEN)[..., 48:52, 64:68].all()


def test_its_gradient_reaches_the_region_and_the_activation() -> None:
    region, activation = coarse(1).requires_grad_(), scene(1).requires_grad_()
    gradients = torch.autograd.grad(refine_edge(region, activation).sum(), (region, activation))
    assert all(bool(torch.isfinite(g).all()) and float(g.abs().sum()) > 0 for g in gradients)


def rim() -> tuple[Tensor, Tensor]:
    """A region on the grid that is warm only around a patch's middle, and the rectangle that it was completed to."""
    whole = torch.zeros(1, 1, *GRID)
    whole[..., 6:17, 9:24] = 1.0
    warm = whole.clone()
    warm[..., 9:14, 12:21] = 0.0
    return warm, whole


def test_the_cool_middle_of_a_patch_belongs_to_it() -> None:
    warm, whole = rim()
    assert torch.equal(exclude_street(warm, whole, scene(1)) > OPEN, whole > OPEN)


def test_the_street_that_a_rectangle_has_in_it_does_not() -> None:
    warm, whole = rim()
    activation, street = scene(1), scene(7, amplitude=1.0)
    middle = (..., slice(35, 57), slice(47, 85))
    generator = torch.Generator().manual_seed(3)
    activation[middle] = torch.randn(street[middle].shape, generator=generator)
    kept = exclude_street(warm, whole, activation) > OPEN
    assert kept[warm > OPEN].all()
    assert float(kept[..., 10:13, 13:20].float().mean()) < 0.1


def test_whoever_makes_the_middle_like_the_street_uncovers_it() -> None:
    warm, whole = rim()
    activation = scene(1).requires_grad_()
    soft = exclude_street(warm, whole, activation)
    (gradient,) = torch.autograd.grad(soft[..., 10:13, 13:20].sum(), activation)
    assert float(gradient[..., 40:52, 52:80].abs().sum()) > 0


def test_each_image_of_a_batch_has_its_own_street() -> None:
    warm, whole = rim()
    regions = torch.cat([warm, whole]), torch.cat([whole, whole])
    activations = torch.cat([scene(1), scene(2)])
    together = exclude_street(*regions, activations)
    assert torch.equal(together, torch.cat([exclude_street(warm, whole, scene(1)), whole]))


@pytest.mark.parametrize("fraction", [1, 2])
def test_a_coarser_layer_tells_street_from_patch_as_well(fraction: int) -> None:
    warm, whole = rim()
    activation = torch.nn.functional.avg_pool2d(scene(1), fraction)
    assert torch.equal(exclude_street(warm, whole, activation) > OPEN, whole > OPEN)


def test_where_nothing_was_added_or_nothing_is_known_a_region_stays() -> None:
    warm, whole = rim()
    assert torch.equal(exclude_street(whole, whole, scene(1)), whole)
    everything = torch.ones(1, 1, *GRID)
    assert torch.equal(exclude_street(warm, everything, scene(1)), everything)


def test_what_the_street_is_all_alike_in_does_not_drown_the_rest() -> None:
    activation = scene(1)
    flat = activation.clone()
    flat[:, 5] = 0.0
    assert overlap(refine_edge(coarse(1), flat), truth()) > 0.85
    # A channel that only speaks on the patch.
    rows, columns = PATCH
    flat[0, 5, rows, columns] = 1.0
    assert overlap(refine_edge(coarse(1), flat), truth()) > 0.85


def test_the_first_layer_with_enough_channels_says_where_masks_end(tmp_path: Path) -> None:
    description = tiny_network.describe(tmp_path)
    segmenter = load_segmenter(str(description), "cpu")
    profile = load_profile(tiny_network.fit(description))
    sharper = with_edge(segmenter, profile)
    # The six channels of layer "0" are too few.
    assert sharper.detector.growth.edge == "2"
    place = tmp_path / "sharper.zmask.safetensors"
    save_profile(sharper, place)
    defense = Defense(segmenter, load_profile(place))
    x = segmenter.prepare(tiny_network.clean_image(3))
    _, analysis = defense.analyze(x)
    assert analysis.edge is not None
    assert set(defense.mask(analysis, (x.shape[-2], x.shape[-1])).unique().tolist()) <= {0.0, 1.0}


def test_the_shipped_network_has_its_first_layer_and_a_head_keeps_it() -> None:
    segmenter = load_segmenter("lraspp_camvid", "cpu")
    profile = load_profile(shipped_profile("lraspp_camvid"))
    assert profile.detector.growth.edge == "backbone.0"
    grown_as_fitted = with_changed(profile, growth=dataclasses.replace(profile.detector.growth, edge=None))
    bound = dataclasses.replace(grown_as_fitted, binding=bind(segmenter, grown_as_fitted.bound_layers))
    assert with_edge(segmenter, bound).binding == profile.binding
    other = with_untrained_head(segmenter, profile, ("backbone.4",), [np.zeros((360, 480, 3), np.uint8)] * 2)
    assert other.detector.growth.edge == "backbone.0"
    Defense(segmenter, other)
    Defense(segmenter, profile.without_head())


def test_without_a_layer_finer_than_the_grid_masks_end_with_its_cells(tmp_path: Path) -> None:
    description = tiny_network.describe(tmp_path)
    segmenter = load_segmenter(str(description), "cpu")
    profile = with_changed(load_profile(tiny_network.fit(description)), grid_fraction=1)
    assert with_edge(segmenter, profile) is profile


@pytest.mark.parametrize(("head", "edge"), [((), "0"), ((), "2"), (("2",), "0"), (("1",), "1"), (("1",), "2")])
def test_the_layer_of_the_edge_may_be_in_any_branch_or_none(tmp_path: Path, head: tuple[str, ...], edge: str) -> None:
    description = tiny_network.describe(tmp_path)
    segmenter = load_segmenter(str(description), "cpu")
    profile = load_profile(tiny_network.fit(description))
    if head:
        profile = with_untrained_head(segmenter, profile, head, [tiny_network.clean_image(index) for index in range(4)])
    sharper = with_changed(profile, growth=dataclasses.replace(profile.detector.growth, edge=edge))
    profile = dataclasses.replace(sharper, binding=bind(segmenter, sharper.bound_layers))
    x = segmenter.prepare(tiny_network.clean_image(3))
    for each in (profile, profile.without_head()):
        assert each.detector.growth.edge == edge
        assert Defense(segmenter, each).analyze(x)[1].edge is not None
