"""Attackers who know the defence: their gradients are right, and following them gets them what they want."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from support import tiny_network
from support.neighbourly import EXACT, generator
from support.patched_street import PATCH
from support.profiles import with_changed
from support.screened import screened_profile
from zmask_ros.attacks import Attacker, Recipe, stack_frames, train_patch
from zmask_ros.attacks.adaptive import alarm_loss, flag_loss, mask_evasion_loss
from zmask_ros.attacks.balance import LEAST_MULTIPLIER, MOST_MULTIPLIER, Balance
from zmask_ros.attacks.checkpoint import AttackState
from zmask_ros.attacks.eot import sample_layout
from zmask_ros.attacks.over_activation_loss import OverActivationLoss
from zmask_ros.attacks.render import AttackedView, PatchRenderer
from zmask_ros.defense import Defense, Profile, load_profile
from zmask_ros.defense.streaming.cascade import Screening
from zmask_ros.errors import AttackError
from zmask_ros.segmenters import Segmenter, load_segmenter

SIZE = (16, 20)
RECIPE = Recipe(size=SIZE, steps=30, batch=2, lr=0.05, smoothness=0.0, eot=EXACT, adaptive_weight=1.0, gamma=0.5)
SENSITIVE = torch.tensor([2.25, -1.5, 3.0, 0.0, 3.5, -1.2, 3.0, 0.0])
SENSITIVE_SHARE = 0.03
"""Of the threshold that clean frames give."""
Frames = list[tuple[np.ndarray, None]]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Segmenter, Profile]:
    """The tiny network, and a profile that flags and masks noise: there must be something to evade."""
    description = tiny_network.describe(tmp_path_factory.mktemp("tiny"))
    profile = load_profile(tiny_network.fit(description))
    threshold = replace(profile.detector.threshold, value=SENSITIVE_SHARE * profile.detector.threshold.value)
    sensitive = with_changed(profile, fusion=SENSITIVE, threshold=threshold)
    return load_segmenter(str(description), "cpu"), sensitive


@pytest.fixture(scope="module")
def frames() -> Frames:
    return [(tiny_network.clean_image(100 + index), None) for index in range(4)]


@pytest.fixture(scope="module")
def exact(tiny: tuple[Segmenter, Profile], frames: Frames) -> Callable[[Tensor], AttackedView]:
    """A view through network and defence in float64, as a function of the patches."""
    segmenter = replace(tiny[0], network=tiny_network.build(0).double().eval())
    renderer = PatchRenderer(segmenter, Defense(segmenter, tiny[1]).double())
    images = torch.stack([torch.from_numpy(image).permute(2, 0, 1).double() / 255 for image, _ in frames])
    layout = sample_layout(EXACT, 1, len(images), SIZE, (48, 64), generator(2))
    return lambda patches: renderer.render(images, patches, layout)


def region_of(view: AttackedView, tiny: tuple[Segmenter, Profile]) -> Tensor:
    assert view.analysis is not None
    return Defense(*tiny).double().analyzer.region(view.analysis)


LOSSES: dict[str, Callable[[AttackedView, tuple[Segmenter, Profile]], Tensor]] = {
    "the score": lambda view, tiny: view.analysis.score.sum(),
    "the flag": lambda view, tiny: flag_loss(view.analysis, tiny[1].detector.threshold.value),
    "the soft mask": lambda view, tiny: view.analysis.mask.sum(),
    "the alarm": lambda view, tiny: alarm_loss(view.analysis, 1e3 * tiny[1].detector.threshold.value),
    "exposure": lambda view, tiny: mask_evasion_loss(view, region_of(view, tiny)),
    "over-activation": lambda view, tiny: OverActivationLoss(tiny[1]).double()(view.shallow, view.mask),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_through_the_whole_defence_are_those_of_finite_differences(
    name: str, exact: Callable[[Tensor], AttackedView], tiny: tuple[Segmenter, Profile]
) -> None:
    patches = torch.rand(1, 3, *SIZE, dtype=torch.float64, generator=generator()).requires_grad_()
    loss = LOSSES[name](exact(patches), tiny)
    (gradient,) = torch.autograd.grad(loss, patches)
    assert gradient.norm() > 1e-6
    step = 1e-6
    for seed in range(3):
        direction = torch.randn(patches.shape, dtype=torch.float64, generator=generator(seed))
        with torch.no_grad():
            ahead, behind = (LOSSES[name](exact(patches + s * direction), tiny) for s in (step, -step))
        numerical = float(ahead - behind) / (2 * step)
        assert numerical == pytest.approx(float((gradient * direction).sum()), rel=1e-4, abs=1e-7)


def test_the_hard_masks_gradient_is_the_soft_regions(
    exact: Callable[[Tensor], AttackedView], tiny: tuple[Segmenter, Profile]
) -> None:
    patches = torch.rand(1, 3, *SIZE, dtype=torch.float64, generator=generator()).requires_grad_()
    view = exact(patches)
    assert view.analysis is not None
    defense = Defense(*tiny).double()
    weight = torch.randn(4, 1, 48, 64, dtype=torch.float64, generator=generator(1))
    hard = defense.mask(view.analysis, (48, 64))
    assert set(hard.unique().tolist()) == {0.0, 1.0}
    soft = functional.interpolate(region_of(view, tiny), (48, 64), mode="bilinear", align_corners=False)
    through, expected = (torch.autograd.grad((weight * m).sum(), patches, retain_graph=True)[0] for m in (hard, soft))
    assert expected.norm() > 1e-9
    torch.testing.assert_close(through, expected)


def test_the_flag_has_a_slope_where_the_fusion_block_is_saturated(
    tiny: tuple[Segmenter, Profile], frames: Frames
) -> None:
    segmenter, profile = tiny
    saturated = with_changed(profile, fusion=profile.detector.fusion * torch.tensor([1e4, 1, 1e4, 1, 1e4, 1, 1e4, 1]))
    attacker = Attacker.prepare(segmenter, replace(RECIPE, adaptive="flag"), saturated)
    patches = torch.rand(1, 3, *SIZE, generator=generator()).requires_grad_()
    images = torch.stack([torch.from_numpy(image).permute(2, 0, 1) / 255 for image, _ in frames])
    view = attacker.renderer.render(images, patches, sample_layout(EXACT, 1, 4, SIZE, (48, 64), generator(2)))
    assert view.analysis is not None and attacker.renderer.defense is not None
    (of_the_mask,) = torch.autograd.grad(view.analysis.mask.sum(), patches, retain_graph=True)
    assert of_the_mask.abs().max() < 1e-6, "the mask itself gives nothing to follow"
    (gradient,) = torch.autograd.grad(
        flag_loss(view.analysis, profile.detector.threshold.value), patches, retain_graph=True
    )
    assert gradient.norm() > 1e-3
    region = attacker.renderer.defense.analyzer.region(view.analysis)
    (gradient,) = torch.autograd.grad(mask_evasion_loss(view, region), patches)
    assert gradient.norm() > 1e-3


def test_nothing_is_left_to_gain_far_below_the_threshold(exact: Callable[[Tensor], AttackedView]) -> None:
    patches = torch.rand(1, 3, *SIZE, dtype=torch.float64, generator=generator()).requires_grad_()
    view = exact(patches)
    assert view.analysis is not None
    assert flag_loss(view.analysis, 1e6).item() == 0
    (gradient,) = torch.autograd.grad(flag_loss(view.analysis, 1e6), patches)
    assert not gradient.any()


BIG = replace(RECIPE, size=(20, 26), eot=replace(EXACT, scale=(2, 2)))
"""A patch that fills a quarter of the view, so that what it does is most of what the defence sees."""


def defended(tiny: tuple[Segmenter, Profile], frames: Frames, patches: Tensor) -> tuple[float, float, float]:
    """Mean score over the threshold, and the shares of the patch and of the rest that would be masked."""
    segmenter, profile = tiny
    renderer = PatchRenderer(segmenter, Defense(segmenter, profile))
    images = torch.stack([torch.from_numpy(image).permute(2, 0, 1) / 255 for image, _ in frames])
    layout = sample_layout(BIG.eot, len(patches), len(images), BIG.size, (48, 64), generator(7))
    with torch.no_grad():
        view = renderer.render(images, patches, layout)
        assert view.analysis is not None and renderer.defense is not None
        hard = renderer.defense.mask(view.analysis, (48, 64))
    ratio = float(view.analysis.score.mean()) / profile.detector.threshold.value
    inside, outside = view.mask > 0, view.mask == 0
    return ratio, float(hard[inside].mean()), float(hard[outside].mean())


@pytest.fixture(scope="module")
def plain(tiny: tuple[Segmenter, Profile], frames: Frames) -> Tensor:
    """What an attack comes to that knows nothing of the defence."""
    return train_patch(tiny[0], frames, BIG).patches


def test_an_attack_on_the_flag_lowers_the_score(tiny: tuple[Segmenter, Profile], frames: Frames, plain: Tensor) -> None:
    result = train_patch(tiny[0], frames, replace(BIG, adaptive="flag"), profile=tiny[1])
    before, after = defended(tiny, frames, plain)[0], defended(tiny, frames, result.patches)[0]
    assert before > 4
    assert after < 0.4 * before
    assert result.history[0].masked == 1.0
    first, last = result.history[0].score, result.history[-1].score
    assert first is not None and last is not None and last < first


def test_an_attack_on_the_mask_uncovers_the_patch(
    tiny: tuple[Segmenter, Profile], frames: Frames, plain: Tensor
) -> None:
    before = defended(tiny, frames, plain)[1]
    result = train_patch(tiny[0], frames, replace(BIG, adaptive="mask"), profile=tiny[1])
    assert before > 0.2
    assert defended(tiny, frames, result.patches)[1] < 0.4 * before


def test_forced_overmasking_blinds_more_of_the_view(tiny: tuple[Segmenter, Profile], frames: Frames) -> None:
    # Against a profile that noise does not open.
    profile = with_changed(tiny[1], fusion=SENSITIVE - torch.tensor([0, 1.5, 0, 0, 0, 1.5, 0, 0]))
    start = train_patch(tiny[0], frames, replace(BIG, steps=1, lr=1e-6)).patches
    result = train_patch(tiny[0], frames, replace(BIG, adaptive="overmask"), profile=profile)
    before, after = (defended((tiny[0], profile), frames, patches) for patches in (start, result.patches))
    assert after[2] > before[2] + 0.1
    assert after[0] > max(1.0, before[0]), "what is not suspicious is not masked at all"


def heat_below(tiny: tuple[Segmenter, Profile], frames: Frames, patches: Tensor) -> list[float]:
    """Over-activation of each patch's own neurons."""
    segmenter, profile = tiny
    images = torch.stack([torch.from_numpy(image).permute(2, 0, 1) / 255 for image, _ in frames])
    layout = sample_layout(EXACT, len(patches), len(images), SIZE, (48, 64), generator(7))
    with torch.no_grad():
        view = PatchRenderer(segmenter, Defense(segmenter, profile)).render(images, patches, layout)
        loss = OverActivationLoss(profile)
        return [float(loss(view.shallow, view.masks[:, n : n + 1])) for n in range(len(patches))]


def test_graded_patches_over_activate_the_less_the_weaker_they_are(
    tiny: tuple[Segmenter, Profile], frames: Frames
) -> None:
    heats = [
        heat_below(tiny, frames, train_patch(tiny[0], frames, replace(RECIPE, beta=beta), profile=tiny[1]).patches)[0]
        for beta in (0.0, 1.0)
    ]
    assert heats[0] < 0.7 * heats[1]


def test_decoys_are_hotter_than_the_patches_that_they_cover_for(
    tiny: tuple[Segmenter, Profile], frames: Frames
) -> None:
    recipe = replace(RECIPE, patches=2, decoys=1, adaptive="flag", steps=15)
    result = train_patch(tiny[0], frames, recipe, profile=tiny[1])
    adversarial, decoy = heat_below(tiny, frames, result.patches)
    assert decoy > 1.2 * adversarial


@pytest.mark.parametrize("adaptive", ["flag", "mask", "both", "overmask"])
def test_adaptive_patches_come_out_the_same_again(
    adaptive: str, tiny: tuple[Segmenter, Profile], frames: Frames, tmp_path: Path
) -> None:
    recipe = replace(RECIPE, steps=2, adaptive=adaptive, adaptive_weight=0.5, beta=0.8, patches=2, decoys=1)
    first, second = (train_patch(tiny[0], frames, recipe, profile=tiny[1]) for _ in range(2))
    assert torch.equal(first.patches, second.patches)
    assert first.history == second.history
    assert first.merits == second.merits


@pytest.mark.parametrize("entries", [{}, {"optimizer": "apgd", "loss": "margin"}, {"lengths_every": 5}])
def test_a_constraint_brings_the_score_below_the_threshold(
    tiny: tuple[Segmenter, Profile], frames: Frames, entries: dict[str, Any]
) -> None:
    threshold = tiny[1].detector.threshold
    profile = with_changed(tiny[1], threshold=replace(threshold, value=4 * threshold.value))
    free = replace(BIG, adaptive="flag", adaptive_weight=0.0)
    bound = replace(BIG, adaptive="flag", evasion="constraint", **entries)
    masked, accuracy = {}, {}
    for recipe in (free, bound):
        last = train_patch(tiny[0], frames, recipe, profile=profile).history[-10:]
        masked[recipe] = np.mean([step.masked for step in last])
        accuracy[recipe] = np.mean([step.pixel_accuracy for step in last])
    assert masked[free] > 0.9, "there is something to evade"
    assert masked[bound] <= 0.3
    assert accuracy[bound] < 0.85, "of 0.9 without an attack: it still does harm"


@pytest.mark.parametrize("lengths_every", [1, 5])
def test_a_bound_step_is_as_long_as_any_other_whatever_the_multiplier_has_become(
    lengths_every: int, tiny: tuple[Segmenter, Profile], frames: Frames
) -> None:
    recipe = replace(BIG, adaptive="flag", evasion="constraint", smoothness=0.0, lengths_every=lengths_every)
    attacker, stack = Attacker.prepare(tiny[0], recipe, tiny[1]), stack_frames(tiny[0], frames)
    images, labels = stack.batch(torch.arange(len(stack)), torch.device("cpu"))
    state = AttackState.start(recipe, torch.device("cpu"))
    layout = sample_layout(BIG.eot, 1, len(images), BIG.size, (48, 64), generator(7))
    balance, steps = Balance(), {}
    for multiplier in (LEAST_MULTIPLIER, MOST_MULTIPLIER):
        balance.multiplier = multiplier
        for index in range(2):
            view = attacker.renderer.render(images, torch.cat(state.leaves), layout)
            (steps[multiplier, index], _), _ = attacker.directions(view, labels, state.leaves, index, balance)
    assert [float(step.norm()) for step in steps.values()] == pytest.approx([1.0] * 4, rel=1e-5)
    least, most = steps[LEAST_MULTIPLIER, 1], steps[MOST_MULTIPLIER, 1]
    assert float((least * most).sum()) < 0.9, "the multiplier says where the step goes"


def test_a_bound_attack_is_over_the_frames_that_are_below_the_limit_without_a_patch(
    tiny: tuple[Segmenter, Profile], frames: Frames
) -> None:
    defense, stack = Defense(*tiny), stack_frames(tiny[0], frames)
    scores = [float(defense.analyze(tiny[0].prepare(image))[1].score) for image, _ in frames]
    middle = float(np.median(scores))
    threshold = replace(tiny[1].detector.threshold, value=middle)
    recipe = replace(BIG, adaptive="flag", evasion="constraint", margin=0.0)

    def attacked(value: float, recipe: Recipe) -> list[int]:
        profile = with_changed(tiny[1], threshold=replace(threshold, value=value))
        return Attacker.prepare(tiny[0], recipe, profile).evadable(stack).numbers.tolist()

    everything = stack.numbers.tolist()
    below = [number for number, score in enumerate(scores) if score <= middle]
    assert attacked(middle, recipe) == below and 0 < len(below) < len(everything)
    assert attacked(0.0, recipe) == attacked(2 * max(scores), recipe) == everything
    assert attacked(middle, replace(BIG, adaptive="flag")) == everything, "who has no constraint"
    assert attacked(middle, replace(recipe, steps=len(frames) - 1)) == everything, "who has no time to look"


def test_a_penalty_is_added_to_the_loss_as_it_is(tiny: tuple[Segmenter, Profile], frames: Frames) -> None:
    recipe = replace(BIG, adaptive="flag", evasion="penalty", loss="cross_entropy", margin=0.0)
    scores = [
        train_patch(tiny[0], frames, replace(recipe, adaptive_weight=weight), profile=tiny[1]).history[-1].score
        for weight in (0.0, 1.0)
    ]
    assert scores[1] < scores[0]


@pytest.fixture(scope="module")
def screened(tiny: tuple[Segmenter, Profile]) -> Profile:
    """The same profile with a screen that knows one color, above a threshold that other images stay below."""
    return screened_profile(*tiny)


def screen_score(tiny: tuple[Segmenter, Profile], screened: Profile, frames: Frames, patches: Tensor) -> float:
    """Highest score of the screen under patches."""
    renderer = PatchRenderer(tiny[0], Defense(tiny[0], screened), screening=Screening(screened))
    images = torch.stack([torch.from_numpy(image).permute(2, 0, 1) / 255 for image, _ in frames])
    layout = sample_layout(BIG.eot, len(patches), len(images), BIG.size, (48, 64), generator(7))
    with torch.no_grad():
        view = renderer.render(images, patches, layout)
    assert view.screened is not None
    return float(view.screened.score.max())


def test_who_knows_the_stream_stays_below_the_screen_too(
    tiny: tuple[Segmenter, Profile], screened: Profile, frames: Frames
) -> None:
    threshold = replace(tiny[1].detector.threshold, value=1e6)
    blind = with_changed(screened, threshold=threshold)
    assert blind.screen is not None
    start = (torch.tensor(PATCH) / 255).expand(1, *BIG.size, 3).permute(0, 3, 1, 2).contiguous()
    assert screen_score(tiny, blind, frames, start) > blind.screen.threshold.value
    scores = {}
    for adaptive in ("flag", "stream"):
        recipe = replace(BIG, adaptive=adaptive, evasion="constraint", steps=40)
        result = train_patch(tiny[0], frames, recipe, profile=blind, start=start)
        scores[adaptive] = screen_score(tiny, blind, frames, result.patches)
    assert scores["stream"] < blind.screen.threshold.value
    assert scores["stream"] < 0.8 * scores["flag"]


@pytest.mark.parametrize("evasion", ["share", "penalty", "constraint"])
def test_both_scores_fall_where_both_are_known(
    evasion: str, tiny: tuple[Segmenter, Profile], screened: Profile, frames: Frames, plain: Tensor
) -> None:
    recipe = replace(BIG, adaptive="stream", evasion=evasion)
    attacker = Attacker.prepare(tiny[0], recipe, screened)
    assert attacker.renderer.screening is not None
    result = train_patch(tiny[0], frames, recipe, profile=screened)
    assert defended(tiny, frames, result.patches)[0] < 0.7 * defended(tiny, frames, plain)[0]


def test_a_profile_without_a_screen_has_no_stream_to_know(tiny: tuple[Segmenter, Profile]) -> None:
    with pytest.raises(AttackError, match="Set adaptive to flag"):
        Attacker.prepare(tiny[0], replace(BIG, adaptive="stream"), tiny[1])
