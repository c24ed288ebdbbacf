"""Patches of graded strength."""

import numpy as np
import pytest

from support import tiny_network
from zmask_ros.attacks import train_patch
from zmask_ros.training import graded_patches
from zmask_ros.training.graded_patches import graded_recipes, train_graded_patches
from zmask_ros.training.sources import CleanFrame


def test_graded_patches_get_weaker_and_differ_in_size():
    recipes = graded_recipes(5, 30, (360, 480))
    assert [recipe.beta for recipe in recipes] == pytest.approx([1.0, 0.875, 0.75, 0.625, 0.5])
    assert len({recipe.size for recipe in recipes}) == 4
    assert len({recipe.seed for recipe in recipes}) == 5
    assert all(min(recipe.size) >= 8 for recipe in graded_recipes(4, 30, (16, 24)))


def test_patches_are_trained_on_frames_that_are_not_held_out(segmenter, fitted, monkeypatch):
    frames = [CleanFrame("clean", "/image_raw", index, tiny_network.clean_image(index)) for index in range(20)]
    known = []
    monkeypatch.setattr(graded_patches, "train_patch", lambda *a: known.append(len(a[1])) or train_patch(*a))
    patches = train_graded_patches(segmenter, fitted, frames, 2, 2)
    assert known == [16, 16]
    assert [patch.picture.dtype for patch in patches] == [np.uint8, np.uint8]
    assert "beta 1" in patches[0].name and "beta 0.5" in patches[1].name
    assert not np.array_equal(patches[0].picture, patches[1].picture)
