"""Attacks that are interrupted and resumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from support import tiny_network
from support.neighbourly import RECIPE, Frame
from support.profiles import with_changed
from zmask_ros.attacks import (
    EotRanges,
    Recipe,
    Step,
    patch_attack,
    train_patch,
)
from zmask_ros.defense import load_profile
from zmask_ros.defense.evidence.head import untrained_head
from zmask_ros.errors import AttackError
from zmask_ros.segmenters import Segmenter, load_segmenter


def test_a_kept_state_belongs_to_all_that_a_profile_does(tmp_path: Path) -> None:
    profile = load_profile(tiny_network.fit(tiny_network.describe(tmp_path)))
    head = untrained_head(profile.detector.shallow, 4, seed=0)
    threshold = profile.detector.threshold
    others = [
        with_changed(profile, growth=replace(profile.detector.growth, reach=0.5)),
        with_changed(profile, precaution=replace(threshold, value=threshold.value / 2)),
        with_changed(profile, head=head),
        with_changed(profile, head=replace(head, inner=head.inner + 1)),
    ]
    assert len({patch_attack.profile_digest(each) for each in (profile, *others)}) == 5


class StoppedError(Exception):
    pass


def interrupt_at(step: int):
    def progress(done: Step) -> None:
        if done.index == step:
            raise StoppedError

    return progress


def test_a_profile_that_the_attacker_does_not_know_may_change(
    tmp_path: Path, segmenter: Segmenter, frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patch_attack, "SAVED_EVERY", 1)
    profile = load_profile(tiny_network.fit(tiny_network.describe(tmp_path)))
    state, recipe = tmp_path / "state.safetensors", replace(RECIPE, steps=3)
    with pytest.raises(StoppedError):
        train_patch(segmenter, frames, recipe, interrupt_at(1), profile, state)
    other = with_changed(profile, growth=replace(profile.detector.growth, reach=0.5))
    result = train_patch(segmenter, frames, recipe, profile=other, state=state)
    assert torch.equal(result.patches, train_patch(segmenter, frames, recipe).patches)


def test_a_profile_that_the_attacker_knows_may_not_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patch_attack, "SAVED_EVERY", 1)
    description = tiny_network.describe(tmp_path)
    segmenter, profile = load_segmenter(str(description), "cpu"), load_profile(tiny_network.fit(description))
    frames = [(tiny_network.clean_image(0), None)]
    state, recipe = tmp_path / "state.safetensors", Recipe((8, 8), 3, adaptive="flag")
    with pytest.raises(StoppedError):
        train_patch(segmenter, frames, recipe, interrupt_at(1), profile, state)
    other = with_changed(profile, growth=replace(profile.detector.growth, reach=0.5))
    with pytest.raises(AttackError, match="another profile"):
        train_patch(segmenter, frames, recipe, profile=other, state=state)


def test_an_interrupted_attack_goes_on_to_the_same_patch(
    tmp_path: Path, segmenter: Segmenter, frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patch_attack, "SAVED_EVERY", 3)
    recipe = replace(
        RECIPE, steps=8, restarts=2, patches=2, smoothness=0.1, non_printability=0.1, eot=EotRanges(jpeg=(40, 100))
    )
    whole = train_patch(segmenter, frames, recipe)
    state = tmp_path / "state.safetensors"
    # Once in the first run, once in the second: with some steps after the last state, which are lost.
    for stop in (4, 8 + 5):
        with pytest.raises(StoppedError):
            train_patch(segmenter, frames, recipe, interrupt_at(stop), state=state)
    resumed = train_patch(segmenter, frames, recipe, state=state)
    assert torch.equal(resumed.patches, whole.patches)
    assert resumed.history == whole.history
    assert resumed.merits == whole.merits
    assert len(whole.merits) == 2

    with pytest.raises(AttackError, match="another recipe"):
        train_patch(segmenter, frames, replace(recipe, lr=0.2), state=state)
    with pytest.raises(AttackError, match="another set of frames"):
        train_patch(segmenter, frames[:2], recipe, state=state)
    state.write_text("broken")
    with pytest.raises(AttackError, match="delete it"):
        train_patch(segmenter, frames, recipe, state=state)
