"""The evidence head and its training against rivals, on the tiny network."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from support import obvious, tiny_network
from support.counting import CountedProgress
from support.profiles import with_changed
from zmask_ros.attacks.patch_attack import profile_digest
from zmask_ros.defense import Branch, Defense, LayerStatistics, ProfileError, load_profile, merge_profiles, save_profile
from zmask_ros.defense.evidence.feature_kind import FeatureKind
from zmask_ros.defense.evidence.grid import resample
from zmask_ros.defense.evidence.head import WEIGHTS, EvidenceHead, untrained_head
from zmask_ros.defense.evidence.head_features import GroupFeatures, HeadFeatures
from zmask_ros.resources import DEFAULT_SEGMENTER
from zmask_ros.segmenters import load_segmenter
from zmask_ros.training import adversarial, adversaries
from zmask_ros.training.adversarial import SAVED_EVERY, train_adversarially, untrained_plan, with_untrained_head
from zmask_ros.training.adversaries import ADVERSARY_KINDS
from zmask_ros.training.clean_fit import ProfileFit, observe
from zmask_ros.training.kept_state import UnfitWorkError
from zmask_ros.training.plans import head_layers, transfer_plan
from zmask_ros.training.sources import CleanFrame

FEW = (ADVERSARY_KINDS[1], ADVERSARY_KINDS[4], ADVERSARY_KINDS[6])
STEPS = 24 * len(FEW)
FRAMES = [tiny_network.clean_image(index) for index in range(24)]


@pytest.fixture(scope="module")
def begun(segmenter, fitted):
    return with_untrained_head(segmenter, fitted, ("0", "2"), FRAMES)


@pytest.fixture(scope="module", autouse=True)
def short_lives():
    """Adversaries that begin anew within a short training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adversaries, "LIFETIME_STEPS", (24, 34))
        yield


@pytest.fixture(scope="module")
def hardened(segmenter, begun):
    return train_adversarially(segmenter, begun, FRAMES, STEPS, seed=3, kinds=FEW)


def statistics_of(activations, kernels, grid):
    return LayerStatistics(observe(activations, kernels, grid))


def head_of(branch, statistics, sizes, grid):
    features = HeadFeatures(branch, statistics, sizes, grid)
    return EvidenceHead(untrained_head(branch, sum(features.counts), 0), features)


@pytest.mark.parametrize("kind", [FeatureKind.ENERGIES, FeatureKind.RELATIVE])
def test_features_are_the_obvious_ones(kind):
    generator = torch.Generator().manual_seed(0)
    clean, seen = (torch.randn(1, 3, 12, 16, generator=generator) + 0.3 for _ in range(2))
    # Two channels are shifted, one by more than a relative head follows.
    seen = seen + torch.tensor([0.3, -3.0, 0.0])[:, None, None]
    kernels = ((5, 5), (3, 3))
    layer = GroupFeatures({"a": statistics_of(clean, kernels, (12, 16))}, kernels, (12, 16), (12, 16), kind=kind)
    found = torch.cat(layer({"a": seen}), 1)[0].numpy()
    x = seen[0].double().numpy()
    means, deviations = obvious.moments([clean[0].double().numpy()], list(kernels))
    mean, limit = means[0][:, None, None], 0.5 * deviations[0][:, None, None]
    if kind.relative:
        mean = mean + np.clip(x.mean((1, 2), keepdims=True) - mean, -limit, limit)
    for row, kernel in enumerate(kernels):
        z = (obvious.box_pool(x, kernel) - mean) / deviations[row + 1][:, None, None]
        assert np.allclose(found[3 * row : 3 * row + 3], z / (3 + abs(z)), atol=1e-4)
    rms = np.sqrt(obvious.box_pool(((x - mean) / deviations[0][:, None, None]) ** 2, (3, 3)))
    assert np.allclose(found[6:], rms / (3 + rms), atol=1e-3)


def test_an_untrained_head_sees_the_channels_of_the_network(segmenter):
    plan = untrained_plan(segmenter)
    assert plan.head.branch.layers == head_layers(segmenter)
    fit = ProfileFit(segmenter, plan, len(FRAMES))
    fit.add_all(CleanFrame("clean", "/image_raw", index, frame) for index, frame in enumerate(FRAMES))
    # The number of its features is foretold without statistics, which would not fit otherwise.
    head = Defense(segmenter, fit.finish(0.001)).analyzer.evidence.head
    assert sum(head.features.counts) == plan.head.inner.shape[1]


def test_of_a_wide_network_it_sees_the_finest_layers(segmenter, monkeypatch):
    first, *others = head_layers(segmenter)
    assert others
    monkeypatch.setattr(adversarial, "MOST_FEATURES", 1)
    assert untrained_plan(segmenter).head.branch.layers == (first,)


@pytest.mark.parametrize("most_features", [adversarial.MOST_FEATURES, 1])
def test_layers_that_only_another_head_would_see_are_no_part_of_the_profile(monkeypatch, most_features):
    """The transferable head of the shipped network sees one that a head of its own does not."""
    segmenter = load_segmenter(DEFAULT_SEGMENTER, "cpu")
    monkeypatch.setattr(adversarial, "MOST_FEATURES", most_features)
    plan = untrained_plan(segmenter)
    assert set(transfer_plan(segmenter).binding.shapes) - set(plan.binding.shapes)
    fit = ProfileFit(segmenter, plan, len(FRAMES))
    fit.add_all(CleanFrame("clean", "/image_raw", index, frame) for index, frame in enumerate(FRAMES))
    Defense(segmenter, fit.finish(0.001))


def test_wide_kernels_are_left_out_on_request():
    seen, kernels = torch.randn(1, 3, 12, 16, generator=torch.Generator().manual_seed(0)), ((5, 5), (3, 3))
    statistics = {"a": statistics_of(seen, kernels, (12, 16))}
    both, narrow = (GroupFeatures(statistics, kernels, (12, 16), (12, 16), first_kernel) for first_kernel in (0, 1))
    assert (both.count, narrow.count) == (9, 6)
    assert torch.equal(torch.cat(narrow({"a": seen}), 1), torch.cat(both({"a": seen}), 1)[:, 3:])


def test_the_heat_is_that_of_the_features_of_a_cell_and_of_those_around_it():
    """All features brought to the grid first, joined, and each cell mapped by itself; channels fill no register."""
    kernels, grid = ((5, 5), (3, 3)), (12, 16)
    sizes = {"fine": (24, 32), "coarse": (6, 8), "even": (12, 16)}
    generator = torch.Generator().manual_seed(0)
    counts = zip(sizes.items(), (3, 8, 7), strict=True)
    seen = {name: torch.randn(2, count, *size, generator=generator) for (name, size), count in counts}
    own = {name: (min(size[0], 12), min(size[1], 16)) for name, size in sizes.items()}
    statistics = {name: statistics_of(seen[name], kernels, own[name]) for name in sizes}
    head = head_of(Branch(tuple(sizes), kernels), statistics, sizes, grid)
    for bias in (head.inner_bias, head.near_bias, head.far_bias, head.outer_bias):
        bias.data = torch.randn(bias.shape, generator=generator)
    joined = torch.cat([resample(torch.cat(group(seen), 1), grid) for group in head.features.groups], 1)
    hidden = (torch.einsum("kf,bfhw->bkhw", head.inner, joined) + head.inner_bias[:, None, None]).relu()
    near = F.conv2d(hidden, head.near, head.near_bias, padding=2, dilation=2).relu()
    far = F.conv2d(near, head.far, head.far_bias, padding=4, dilation=4).relu()
    both = torch.cat([hidden, far], 1)
    expected = F.softplus(torch.einsum("k,bkhw->bhw", head.outer, both) + head.outer_bias)[:, None]
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
    again = train_adversarially(segmenter, begun, FRAMES, STEPS, seed=3, kinds=FEW)
    assert again.losses == losses
    for name, tensor in again.profile.detector.head.tensors.items():
        assert torch.equal(tensor, hardened.profile.detector.head.tensors[name])


def interrupted_after(most):
    """Counts steps until Ctrl-C comes."""
    left = most

    def advance(steps=1, note=""):
        nonlocal left
        left -= steps
        if left < 0:
            raise KeyboardInterrupt

    return advance


# Before anything is kept, while the adversaries are noise, and when several of them have begun anew.
@pytest.mark.parametrize("after", [3, 25, 66])
def test_an_interrupted_training_ends_as_if_it_had_not_been(segmenter, begun, hardened, tmp_path, after):
    state, count = tmp_path / "training.pt", CountedProgress()
    with pytest.raises(KeyboardInterrupt):
        train_adversarially(segmenter, begun, FRAMES, STEPS, 3, interrupted_after(after), FEW, state=state)
    assert state.exists() == (after >= SAVED_EVERY)
    with count("all", "steps", STEPS) as advance:
        whole = train_adversarially(segmenter, begun, FRAMES, STEPS, 3, advance, FEW, state=state)
    assert count.done["all"] == STEPS and (len(count.notes) < STEPS) == (after >= SAVED_EVERY)
    assert whole.losses == hardened.losses
    assert all(map(torch.equal, whole.patches, hardened.patches))
    assert profile_digest(whole.profile) == profile_digest(hardened.profile)


def test_a_state_of_another_training_is_refused(segmenter, begun, tmp_path):
    state = tmp_path / "training.pt"
    with pytest.raises(KeyboardInterrupt):
        train_adversarially(segmenter, begun, FRAMES, STEPS, 3, interrupted_after(SAVED_EVERY), FEW, state=state)
    with pytest.raises(UnfitWorkError, match="training.pt was begun with another set of settings"):
        train_adversarially(segmenter, begun, FRAMES, STEPS, 4, kinds=FEW, state=state)
    with pytest.raises(UnfitWorkError, match="training.pt was begun with another set of frames"):
        train_adversarially(segmenter, begun, FRAMES[1:], STEPS, 3, kinds=FEW, state=state)
    state.write_bytes(b"half of a file")
    with pytest.raises(UnfitWorkError, match="training.pt cannot be gone on with: delete it"):
        train_adversarially(segmenter, begun, FRAMES, STEPS, 3, kinds=FEW, state=state)


def test_a_profile_with_a_head_comes_back_as_it_was_saved(segmenter, hardened, tmp_path):
    path = tmp_path / "hard.zmask.safetensors"
    save_profile(hardened.profile, path)
    loaded = load_profile(path)
    x = segmenter.prepare(FRAMES[0])
    heats = [Defense(segmenter, profile).analyze(x)[1].heat for profile in (hardened.profile, loaded)]
    assert torch.equal(*heats)
    assert loaded.detector.head.branch == hardened.profile.detector.head.branch


def test_a_head_without_all_its_weights_is_refused(hardened, tmp_path, monkeypatch):
    path = tmp_path / "old.zmask.safetensors"
    monkeypatch.setattr("zmask_ros.defense.evidence.head.WEIGHTS", tuple(name for name in WEIGHTS if name != "far"))
    save_profile(hardened.profile, path)
    with pytest.raises(ProfileError, match="far.*zmask calibrate"):
        load_profile(path)


def test_profiles_with_heads_are_not_merged(hardened):
    with pytest.raises(ProfileError, match="cannot be merged"):
        merge_profiles(hardened.profile, hardened.profile)


def test_a_head_that_is_not_finite_is_refused(hardened):
    hardened.profile.check_finite()
    head = hardened.profile.detector.head
    spoilt = dataclasses.replace(head, inner=head.inner * float("nan"))
    with pytest.raises(ProfileError):
        with_changed(hardened.profile, head=spoilt).check_finite()
