"""Attacks whose steps are doubled until the outcome stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from support.neighbourly import RECIPE, Frame
from zmask_ros.attacks import PatchResult, Recipe, train_patch
from zmask_ros.attacks.convergence import HeldOut, Outcome, climb, train_until_converged
from zmask_ros.errors import AttackError
from zmask_ros.segmenters import Segmenter

SHORT = replace(RECIPE, steps=4)


class Scripted:
    """Patches that are numbered by their rung, and outcomes that were written down beforehand."""

    def __init__(self, damages: list[float]) -> None:
        self.damages, self.asked = damages, []

    def train(self, recipe: Recipe, start: Tensor | None, state: Path) -> PatchResult:
        self.asked.append((recipe.steps, None if start is None else float(start[0, 0, 0, 0])))
        return PatchResult(torch.full((1, 3, 8, 8), float(len(self.asked))), ())

    def judge(self, patches: Tensor) -> Outcome:
        return Outcome(self.damages[int(patches[0, 0, 0, 0]) - 1])


def test_each_rung_doubles_the_steps_and_goes_on_from_the_last_one(tmp_path: Path) -> None:
    script = Scripted([0.1, 0.2, 0.3, 0.31, 0.5])
    ladder = climb(script.train, script.judge, SHORT, 1000, tmp_path)
    assert script.asked == [(4, None), (4, 1), (8, 2), (16, 3)]
    assert [rung.steps for rung in ladder.rungs] == [4, 8, 16, 32]
    assert ladder.converged and ladder.change == pytest.approx(0.01 / 0.31)


def test_it_ends_where_no_more_steps_are_allowed_and_keeps_the_rung_that_did_the_most(tmp_path: Path) -> None:
    script = Scripted([0.1, 0.4, 0.2])
    ladder = climb(script.train, script.judge, SHORT, 16, tmp_path)
    assert not ladder.converged and len(ladder.rungs) == 3
    assert float(ladder.result.patch[0, 0, 0]) == 2 and ladder.strongest.steps == 8


def test_what_is_finished_is_not_done_again_and_belongs_to_its_recipe(tmp_path: Path) -> None:
    first = Scripted([0.1, 0.2])
    climb(first.train, first.judge, SHORT, 8, tmp_path)
    further = Scripted([0.2])
    ladder = climb(further.train, lambda patches: Outcome(0.2), SHORT, 1000, tmp_path)
    assert further.asked == [(8, 2)]
    assert [rung.outcome.damage for rung in ladder.rungs] == [0.1, 0.2, 0.2]
    with pytest.raises(AttackError, match="another recipe"):
        climb(further.train, further.judge, replace(SHORT, lr=0.3), 8, tmp_path)


def test_a_change_is_the_larger_one_of_damage_and_flags() -> None:
    assert Outcome(0.2, 0.5).change_from(Outcome(0.19, 0.5)) == pytest.approx(0.05)
    assert Outcome(0.2, 0.6).change_from(Outcome(0.19, 0.5)) == pytest.approx(0.1)
    assert Outcome(0.0).change_from(Outcome(0.0)) == 0
    assert Outcome(1e-5).change_from(Outcome(2e-5)) == pytest.approx(1e-3)


def test_an_attack_on_a_real_network_goes_on_to_more_damage(
    tmp_path: Path, segmenter: Segmenter, frames: list[Frame]
) -> None:
    ladder = train_until_converged(segmenter, frames[:2], frames[2:], replace(SHORT, steps=2), 32, tmp_path)
    noise = train_patch(segmenter, frames[:2], replace(SHORT, steps=1, lr=1e-9)).patches
    before = HeldOut(segmenter, frames[2:], SHORT)(noise).damage
    assert ladder.strongest.outcome.damage > before + 0.05
    assert len(ladder.result.history) == ladder.rungs[-1].steps
