"""Patches of a preparation: in legs, if they know the defense."""

from dataclasses import replace

import pytest
import torch

from support import tiny_network
from zmask_ros.attacks import patch_attack
from zmask_ros.training.preparation.attackers import patch_recipes
from zmask_ros.training.preparation.standing import ADAPTIVE, PLAIN
from zmask_ros.training.preparation.work import PatchOrder

FRAMES = tuple(tiny_network.clean_image(index) for index in range(6))
STEPS = 5


class Advances:
    """Counts steps; Ctrl-C comes after so many."""

    def __init__(self, most=STEPS):
        self.count, self.most = 0, most

    def __call__(self, steps=1, note=""):
        if self.count == self.most:
            raise KeyboardInterrupt
        self.count += steps


@pytest.fixture(autouse=True)
def saved_in_each_step(monkeypatch):
    monkeypatch.setattr(patch_attack, "SAVED_EVERY", 1)


@pytest.fixture
def order(segmenter, fitted, tmp_path):
    def ordered(kind, name):
        recipe = patch_recipes(segmenter.input_size, STEPS)[kind]
        profile = fitted if recipe.knows_the_defense else None
        return PatchOrder(kind, recipe, FRAMES, profile, None, tmp_path / f"{name}.attack.safetensors")

    return ordered


@pytest.mark.parametrize(("kind", "legs"), [(PLAIN, 1), (ADAPTIVE, 2)])
def test_who_knows_the_defense_begins_anew_with_what_he_has(segmenter, order, tmp_path, kind, legs):
    advances = Advances()
    patches = order(kind, "own").make(segmenter, advances)
    assert advances.count == STEPS and patches.dim() == 4
    names = ["leg_2_own.attack.safetensors", "own.attack.safetensors"]
    assert sorted(path.name for path in tmp_path.glob("*.safetensors")) == names[2 - legs :]


def test_a_patch_of_one_step_has_one_leg(segmenter, order, tmp_path):
    own = order(ADAPTIVE, "own")
    advances = Advances()
    replace(own, recipe=replace(own.recipe, steps=1)).make(segmenter, advances)
    assert advances.count == 1 and len(list(tmp_path.glob("*.safetensors"))) == 1


@pytest.mark.parametrize("after", [1, 4])
def test_interrupted_in_any_leg_it_ends_the_same(segmenter, order, after):
    whole = order(ADAPTIVE, "whole").make(segmenter, Advances())
    with pytest.raises(KeyboardInterrupt):
        order(ADAPTIVE, "own").make(segmenter, Advances(after))
    rest = Advances()
    assert torch.equal(order(ADAPTIVE, "own").make(segmenter, rest), whole)
    assert rest.count <= STEPS - after
