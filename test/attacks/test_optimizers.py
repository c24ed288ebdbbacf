"""APGD: its stretches, and that it climbs without a learning rate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from support.neighbourly import RECIPE, Frame
from zmask_ros.attacks import Step, patch_attack, train_patch
from zmask_ros.attacks.optimizers import ApgdOptimizer, stretches
from zmask_ros.attacks.recipe import Recipe
from zmask_ros.segmenters import Segmenter


class StoppedError(Exception):
    pass


def test_stretches_are_those_of_the_paper() -> None:
    # p = 0.22, 0.41, 0.57, 0.70, 0.80, 0.87, 0.93, 0.99 of the run.
    assert sorted(stretches(100)) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert max(stretches(3)) <= 3


def test_apgd_finds_the_corner_of_the_box_and_halves_where_nothing_is_gained() -> None:
    leaf = torch.full((1, 3, 8, 8), 0.5, requires_grad=True)
    recipe = Recipe(size=(8, 8), steps=100, optimizer="apgd")
    optimizer = ApgdOptimizer(recipe, [leaf])
    wanted = torch.rand(leaf.shape, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.05
    for _ in range(100):
        difference = leaf.detach() - wanted
        optimizer.step([difference], -float(difference.abs().mean()))
    # A fixed step of a quarter of the range would jump about by 0.1 and more.
    assert float((leaf.detach() - wanted).abs().mean()) < 0.03
    assert optimizer.record()["apgd"]["length"] <= 0.25 * 0.94 / 4


@pytest.mark.parametrize("loss", ["grouped", "margin"])
def test_apgd_spoils_a_network_without_a_learning_rate(segmenter: Segmenter, frames: list[Frame], loss: str) -> None:
    recipe = replace(RECIPE, optimizer="apgd", loss=loss)
    result = train_patch(segmenter, frames, recipe)
    assert result.history[-1].pixel_accuracy < result.history[0].pixel_accuracy - 0.05
    low, high = (torch.tensor(limit) for limit in recipe.printable)
    assert bool((result.patches >= low).all()) and bool((result.patches <= high).all())
    other = train_patch(segmenter, frames, replace(recipe, lr=0.5))
    assert torch.equal(result.patches, other.patches)


def test_an_interrupted_apgd_attack_goes_on_to_the_same_patch(
    tmp_path: Path, segmenter: Segmenter, frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patch_attack, "SAVED_EVERY", 3)
    recipe = replace(RECIPE, steps=14, restarts=2, optimizer="apgd", lengths_every=4)
    whole = train_patch(segmenter, frames, recipe)
    state = tmp_path / "state.safetensors"
    for stop in (7, 20):

        def interrupt(step: Step, stop: int = stop) -> None:
            if step.index == stop:
                raise StoppedError

        with pytest.raises(StoppedError):
            train_patch(segmenter, frames, recipe, interrupt, state=state)
    assert torch.equal(train_patch(segmenter, frames, recipe, state=state).patches, whole.patches)
