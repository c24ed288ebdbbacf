"""The evidence head and its training against rivals, on the tiny network."""

import dataclasses

import numpy as np
import obvious
import pytest
import tiny_network
import torch
import torch.nn.functional as F

from zmask_ros.defense import Branch, Defense, LayerStatistics, ProfileError, load_profile, merge_profiles, save_profile
from zmask_ros.defense.fitting import observe
from zmask_ros.defense.head import EvidenceHead, GroupFeatures, HeadFeatures, untrained_head
from zmask_ros.defense.pooling import resample
from zmask_ros.hardening import KINDS, harden, with_head
from zmask_ros.segmenters import load_segmenter

FEW = (KINDS[0], KINDS[5], KINDS[6])
STEPS = 28 * len(FEW)
FRAMES = [tiny_network.clean_image(index) for index in range(24)]


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    return load_segmenter(str(tiny_network.describe(tmp_path_factory.mktemp("tiny"))), "cpu")


@pytest.fixture(scope="module")
def begun(segmenter, tmp_path_factory):
    fitted = load_profile(tiny_network.fit(tiny_network.describe(tmp_path_factory.mktemp("fitted"))))
    return with_head(segmenter, fitted, ("0", "2"), FRAMES)


@pytest.fixture(scope="module")
def hardened(segmenter, begun):
    return harden(segmenter, begun, FRAMES, STEPS, seed=3, kinds=FEW)


def statistics_of(activations, kernels, grid):
    return LayerStatistics(observe(activations, kernels, grid))


def head_of(branch, statistics, sizes, grid):
    features = HeadFeatures(branch, statistics, sizes, grid)
    return EvidenceHead(untrained_head(branch, sum(features.counts), 0), features)


def test_features_are_the_obvious_ones():
    generator = torch.Generator().manual_seed(0)
    clean, seen = (torch.randn(1, 3, 12, 16, generator=generator) + 0.3 for _ in range(2))
    kernels = ((5, 5), (3, 3))
    layer = GroupFeatures({"a": statistics_of(clean, kernels, (12, 16))}, kernels, (12, 16), (12, 16))
    found = layer.joined({"a": seen})[0].numpy()
    x = seen[0].double().numpy()
    means, deviations = obvious.moments([clean[0].double().numpy()], list(kernels))
    mean = means[0][:, None, None]
    for row, kernel in enumerate(kernels):
        z = (obvious.box_pool(x, kernel) - mean) / deviations[row + 1][:, None, None]
        assert np.allclose(found[3 * row : 3 * row + 3], np.sign(z) * np.log1p(abs(z)), atol=1e-4)
    energy = obvious.box_pool(((x - mean) / deviations[0][:, None, None]) ** 2, (3, 3))
    assert np.allclose(found[6:], np.log1p(np.sqrt(energy)), atol=1e-3)


def test_the_heat_is_that_of_two_linear_maps_of_all_features():
    """All features brought to the grid first, joined, and each cell mapped by itself; channels fill no register."""
    kernels, grid = ((5, 5), (3, 3)), (12, 16)
    sizes = {"fine": (24, 32), "coarse": (6, 8), "even": (12, 16)}
    generator = torch.Generator().manual_seed(0)
    counts = zip(sizes.items(), (3, 8, 7), strict=True)
    seen = {name: torch.randn(2, count, *size, generator=generator) for (name, size), count in counts}
    own = {name: (min(size[0], 12), min(size[1], 16)) for name, size in sizes.items()}
    statistics = {name: statistics_of(seen[name], kernels, own[name]) for name in sizes}
    head = head_of(Branch(tuple(sizes), kernels), statistics, sizes, grid)
    head.inner_bias.data, head.outer_bias.data = torch.randn(32, generator=generator), torch.tensor([0.3])
    joined = torch.cat([resample(group.joined(seen), grid) for group in head.features.groups], 1)
    hidden = torch.einsum("kf,bfhw->bkhw", head.inner, joined) + head.inner_bias[:, None, None]
    expected = F.softplus(torch.einsum("k,bkhw->bhw", head.outer, hidden.relu()) + head.outer_bias)[:, None]
    for layout in (torch.contiguous_format, torch.channels_last):
        heat = head({name: activation.to(memory_format=layout) for name, activation in seen.items()})
        torch.testing.assert_close(heat, expected, rtol=1e-4, atol=1e-5)


def test_a_layer_coarser_than_the_grid_is_brought_to_it():
    kernels = ((3, 3),)
    activation = torch.randn(2, 4, 6, 8, generator=torch.Generator().manual_seed(0))
    statistics = {"deep": statistics_of(activation, kernels, (12, 16))}
    branch = Branch(("deep",), kernels)
    heat = head_of(branch, statistics, {"deep": (6, 8)}, (12, 16))({"deep": activation})
    assert heat.shape == (2, 1, 12, 16)
    assert (heat > 0).all()


def test_the_gradient_through_the_head_is_the_numerical_one():
    kernels = ((3, 3), (1, 1))
    clean = torch.randn(1, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    statistics = {"a": statistics_of(clean, kernels, (6, 8))}
    head = head_of(Branch(("a",), kernels), statistics, {"a": (6, 8)}, (6, 8)).double()
    seen = torch.randn(1, 3, 6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    assert torch.autograd.gradcheck(lambda activation: head({"a": activation}), (seen,))


def test_the_head_learns_and_is_the_same_from_the_same_seed(segmenter, begun, hardened):
    losses = hardened.losses
    assert np.mean(losses[-8:]) < np.mean(losses[:8])
    assert hardened.patches and all(patch.min() >= 0 and patch.max() <= 1 for patch in hardened.patches)
    again = harden(segmenter, begun, FRAMES, STEPS, seed=3, kinds=FEW)
    assert again.losses == losses
    for name, tensor in again.profile.head.tensors.items():
        assert torch.equal(tensor, hardened.profile.head.tensors[name])


def test_a_profile_with_a_head_comes_back_as_it_was_saved(segmenter, hardened, tmp_path):
    path = tmp_path / "hard.zmask.safetensors"
    save_profile(hardened.profile, path)
    loaded = load_profile(path)
    x = segmenter.prepare(FRAMES[0])
    heats = [Defense(segmenter, profile).analyse(x)[1].heat for profile in (hardened.profile, loaded)]
    assert torch.equal(*heats)
    assert loaded.head.branch == hardened.profile.head.branch


def test_profiles_with_heads_are_not_merged(hardened):
    with pytest.raises(ProfileError, match="cannot be merged"):
        merge_profiles(hardened.profile, hardened.profile)


def test_a_head_that_is_not_finite_is_refused(hardened):
    hardened.profile.check_finite()
    head = hardened.profile.head
    spoilt = type(head)(head.branch, head.inner * float("nan"), head.inner_bias, head.outer, head.outer_bias)
    with pytest.raises(ProfileError):
        dataclasses.replace(hardened.profile, head=spoilt).check_finite()
