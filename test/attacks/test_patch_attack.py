"""Training of patches: what comes out, and that it comes out the same again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from support.neighbourly import RECIPE, Chatty, Frame
from support.neighbourly import segmenter as make_segmenter
from support.pasting import paste
from zmask_ros.attacks import EotRanges, PatchResult, Step, stack_frames, to_uint8, train_patch
from zmask_ros.attacks.eot import Transforms
from zmask_ros.attacks.files import pack_result, unpack_result
from zmask_ros.errors import AttackError
from zmask_ros.segmenters import Segmenter


def accuracy_outside(segmenter: Segmenter, frame: Frame, patch: np.ndarray) -> float:
    image, mask = paste(frame[0], patch, (40.0, 30.0), scale=2.0)
    predicted = segmenter.logits(segmenter.prepare(image)).argmax(1)[0].numpy()
    return float((predicted == frame[1])[~mask].mean())


def test_an_optimized_patch_spoils_what_a_random_one_does_not(segmenter: Segmenter, frames: list[Frame]) -> None:
    seen: list[Step] = []
    result = train_patch(segmenter, frames, RECIPE, seen.append)
    assert tuple(seen) == result.history
    assert [step.index for step in seen] == list(range(25))
    trained = (result.patch.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    random = np.random.default_rng(0).integers(0, 256, trained.shape, np.uint8)
    assert accuracy_outside(segmenter, frames[0], random) > 0.95
    assert accuracy_outside(segmenter, frames[0], trained) < 0.75


def test_a_patch_is_reproducible_printable_and_of_the_asked_size(segmenter: Segmenter, frames: list[Frame]) -> None:
    recipe = replace(RECIPE, steps=4, printable=(0.2, 0.8), smoothness=0.1, eot=EotRanges())
    first, second = (train_patch(segmenter, frames, recipe) for _ in range(2))
    other = train_patch(segmenter, frames, replace(recipe, seed=5))
    assert torch.equal(first.patch, second.patch)
    assert first.history == second.history
    assert not torch.equal(first.patch, other.patch)
    assert first.patch.shape == (3, 16, 20)
    assert first.patch.min() >= 0.2
    assert first.patch.max() <= 0.8


def test_targeted_and_hiding_patches_reach_their_goal(segmenter: Segmenter, frames: list[Frame]) -> None:
    for objective in ("targeted", "hiding"):
        target = "blue" if objective == "targeted" else "red"
        result = train_patch(segmenter, frames, replace(RECIPE, objective=objective, target=target))
        image, mask = paste(frames[0][0], to_uint8(result.patch), (40.0, 30.0), scale=2.0)
        predicted = segmenter.logits(segmenter.prepare(image)).argmax(1)[0].numpy()
        assert (predicted == 1)[~mask].mean() > 0.8
        assert result.history[-1].loss > result.history[0].loss


def test_hiding_trains_only_on_frames_that_show_the_class(segmenter: Segmenter, frames: list[Frame]) -> None:
    all_red = (frames[0][0], np.zeros((60, 80), np.uint8))
    stack = stack_frames(segmenter, [all_red, frames[0]])
    assert len(stack.showing(1)) == 1
    with pytest.raises(AttackError, match="No frame shows"):
        train_patch(segmenter, [all_red], replace(RECIPE, objective="hiding", target="blue"))


def test_several_patches_are_trained_together(segmenter: Segmenter, frames: list[Frame]) -> None:
    recipe = replace(RECIPE, size=(10, 12), patches=3, steps=6)
    result = train_patch(segmenter, frames, recipe)
    assert result.patches.shape == (3, 3, 10, 12)
    assert torch.equal(result.patch, result.patches[0])
    start = train_patch(segmenter, frames, replace(recipe, steps=1, lr=1e-9)).patches
    assert ((result.patches - start).abs().flatten(1).max(1).values > 0.1).all(), "every one of them has moved"


def test_auxiliary_outputs_are_attacked_where_they_are_asked_for(frames: list[Frame]) -> None:
    plain, chatty = make_segmenter(), make_segmenter(Chatty())
    recipe = replace(RECIPE, steps=2, gamma=0.5)
    deaf = train_patch(chatty, frames, recipe).patch
    assert torch.equal(deaf, train_patch(plain, frames, recipe).patch)
    # What is said beside the point has the opposite sign: an attack on it alone goes the other way.
    torn = train_patch(chatty, frames, replace(recipe, auxiliary=1.0)).patch
    assert not torch.equal(torn, deaf)


def test_what_a_shape_leaves_out_is_not_trained(tmp_path: Path, segmenter: Segmenter, frames: list[Frame]) -> None:
    drawn = np.zeros((16, 20), np.uint8)
    drawn[:, :8] = 255
    cv2.imwrite(str(tmp_path / "shape.png"), drawn)
    recipe = replace(RECIPE, shape=str(tmp_path / "shape.png"), steps=5)
    result = train_patch(segmenter, frames, recipe)
    start = train_patch(segmenter, frames, replace(recipe, steps=1, lr=1e-9)).patch
    moved = (result.patch - start).abs().amax(0)
    assert moved[:, :7].max() > 0.1
    assert not (moved[:, 9:] > 1e-6).any()
    assert result.shape is not None and result.shape.shape == (16, 20)


def test_of_several_starts_the_best_is_kept(segmenter: Segmenter, frames: list[Frame]) -> None:
    recipe = replace(RECIPE, steps=3)
    both = train_patch(segmenter, frames, replace(recipe, restarts=2))
    first = train_patch(segmenter, frames, recipe)
    assert both.merits[0] == first.merits[0]
    assert len(both.history) == 6
    assert torch.equal(both.patches, first.patches) == (both.merits[0] >= both.merits[1])


class Corner:
    """Places the patch in one corner of every frame."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def place(
        self, transforms: Transforms, chosen: torch.Tensor, image_size: tuple[int, int], patch_size: tuple[int, int]
    ) -> Transforms:
        self.seen.append(chosen)
        there = torch.eye(3, dtype=torch.float64).repeat(len(chosen), 1, 1)
        there[:, 0, 2], there[:, 1, 2] = patch_size[1] / 2, patch_size[0] / 2
        return replace(transforms, homography=there)


def test_runs_that_are_done_apart_are_those_of_one_attack(
    tmp_path: Path, segmenter: Segmenter, frames: list[Frame]
) -> None:
    recipe, start = replace(RECIPE, steps=3, restarts=3), torch.rand(1, 3, *RECIPE.size)
    whole = train_patch(segmenter, frames, recipe, start=start)
    apart = []
    for run in range(3):
        own = train_patch(segmenter, frames, recipe, start=start, runs=range(run, run + 1))
        (tmp_path / "packed").write_bytes(pack_result(own))
        apart.append(unpack_result(tmp_path / "packed"))
    joined = PatchResult.joined(apart)
    assert torch.equal(joined.patches, whole.patches)
    assert joined.history == whole.history and joined.merits == whole.merits
    assert [step.index for step in joined.history] == list(range(9))


def test_patches_may_begin_with_others(segmenter: Segmenter, frames: list[Frame]) -> None:
    recipe = replace(RECIPE, steps=1, lr=1e-6, patches=2, restarts=1)
    start = torch.rand(2, 3, *recipe.size, generator=torch.Generator().manual_seed(1))
    result = train_patch(segmenter, frames, recipe, start=start)
    torch.testing.assert_close(result.patches, start.clamp(*recipe.printable), atol=1e-5, rtol=0)
    with pytest.raises(AttackError, match="cannot begin a recipe for"):
        train_patch(segmenter, frames, recipe, start=start[:1])


def test_a_placement_decides_where_the_patch_is(segmenter: Segmenter, frames: list[Frame]) -> None:
    corner = Corner()
    train_patch(segmenter, frames, replace(RECIPE, steps=3), placement=corner)
    assert all(((chosen >= 0) & (chosen < 4)).all() for chosen in corner.seen)
    assert len(corner.seen) == 3 + 1, "each step, and the judgement at the end"
    with pytest.raises(AttackError, match="one place"):
        train_patch(segmenter, frames, replace(RECIPE, patches=2), placement=corner)
