"""Patches on disk: what is saved comes back, and bad places and files are refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from support.neighbourly import RECIPE, generator
from zmask_ros.attacks import (
    EotRanges,
    PatchResult,
    Step,
    load_patch,
    load_patches,
    load_recipe,
    paste_at_random,
    recipe_path,
    save_patch,
)
from zmask_ros.attacks.files import load_exact
from zmask_ros.errors import AttackError, ZmaskError
from zmask_ros.segmenters import Segmenter


def result_of(patch: Tensor) -> PatchResult:
    return PatchResult(patch[None], (Step(0, 1.5, 0.9),))


def test_a_saved_patch_comes_back_with_its_recipe(tmp_path: Path, segmenter: Segmenter) -> None:
    png = tmp_path / "patch.png"
    patch = torch.rand(3, 12, 14, generator=generator())
    save_patch(png, result_of(patch), RECIPE, segmenter, ("street 1",))
    np.testing.assert_array_equal(load_patch(png), (patch.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))
    assert load_recipe(png) == RECIPE
    assert sorted(p.name for p in tmp_path.iterdir()) == ["patch.json", "patch.png", "patch.safetensors"]
    recipe_path(png).write_text("{")
    with pytest.raises(AttackError, match="not a recipe of an attack"):
        load_recipe(png)


def test_bad_places_for_a_patch_are_refused(tmp_path: Path, segmenter: Segmenter) -> None:
    patch = result_of(torch.rand(3, 8, 8))
    with pytest.raises(AttackError, match=r"patch\.png"):
        save_patch(tmp_path / "patch.jpg", patch, RECIPE, segmenter, ())
    with pytest.raises(ZmaskError, match="does not exist"):
        save_patch(tmp_path / "no" / "patch.png", patch, RECIPE, segmenter, ())
    with pytest.raises(AttackError, match="no patch"):
        load_patch(tmp_path / "patch.png")
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(ZmaskError, match="not a readable image"):
        load_patch(tmp_path / "text.png")


def test_several_patches_of_a_shape_come_back_exactly(tmp_path: Path, segmenter: Segmenter) -> None:
    png = tmp_path / "patch.png"
    patches, shape = torch.rand(3, 3, 12, 14, generator=generator()), torch.zeros(12, 14)
    shape[:, :7] = 1
    save_patch(png, PatchResult(patches, (Step(0, 1.5, 0.9),), (0.5,), shape), RECIPE, segmenter, ())
    assert sorted(p.name for p in tmp_path.glob("*.png")) == ["patch.png", "patch_2.png", "patch_3.png"]
    exact, exact_shape = load_exact(png)
    assert torch.equal(exact, patches) and exact_shape is not None and torch.equal(exact_shape, shape)
    loaded = load_patches(png)
    assert loaded.shape == (3, 12, 14, 4)
    assert (cv2.imread(str(tmp_path / "patch_3.png"), cv2.IMREAD_UNCHANGED)[..., [2, 1, 0, 3]] == loaded[2]).all()
    _, mask = paste_at_random(np.zeros((90, 120, 3), np.uint8), loaded, EotRanges(scale=(1, 1)), generator(1))
    assert mask.sum() == pytest.approx(3 * 12 * 7, rel=0.2)
