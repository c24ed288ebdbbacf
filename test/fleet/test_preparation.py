"""What many do of a preparation comes to the same as what one process does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from support import tiny_network
from support.commands import record, zmask
from support.short_preparation import SETTINGS
from zmask_ros.attacks.patch_attack import profile_digest
from zmask_ros.cli import prepare as prepare_command
from zmask_ros.defense import load_profile
from zmask_ros.evaluation.protocol.patch_judge import PatchJudge
from zmask_ros.fleet.network import NamedNetwork
from zmask_ros.fleet.pool import PoolSettings, RayPool
from zmask_ros.fleet.preparation import FleetHands, PreparationWork
from zmask_ros.progress import silent
from zmask_ros.segmenters import load_segmenter
from zmask_ros.training.preparation.attackers import patch_recipes
from zmask_ros.training.preparation.work import AttackedFrame, OwnHands, PatchOrder


class Ticks:
    """A clock that says how often it was asked."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> float:
        self.now += 1
        return float(self.now)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The tiny network, and a profile for it."""
    description = tiny_network.describe(tmp_path_factory.mktemp("tiny"))
    return description, tiny_network.fit(description)


def attacked(indices: Sequence[int]) -> list[AttackedFrame]:
    """Frames with noise in the middle, and labels that nobody predicted."""
    mask = np.zeros((48, 64), bool)
    mask[16:32, 24:40] = True
    frames = []
    for index in indices:
        rng, image = np.random.default_rng(index), tiny_network.clean_image(index)
        image[mask] = rng.integers(0, 256, (mask.sum(), 3))
        labels = [rng.integers(0, 3, (48, 64), dtype=np.uint8) for _ in range(3)]
        frames.append(AttackedFrame(image, *labels, mask))
    return frames


def test_patches_and_judgements_are_the_same(cluster, places, tmp_path) -> None:
    description, path = places
    segmenter, profile = load_segmenter(str(description), "cpu"), load_profile(path)
    frames = tuple(map(tiny_network.clean_image, range(6)))
    orders = [
        PatchOrder(kind, recipe, frames, profile if recipe.knows_the_defense else None, None, None)
        for kind, recipe in patch_recipes(segmenter.input_size, 2).items()
    ]
    pairs = {"plain": attacked([1, 2]), "graded": attacked([3])}
    own = OwnHands(segmenter, PatchJudge(segmenter), Ticks(), silent)
    work = PreparationWork(NamedNetwork.of(str(description), "cpu", segmenter))
    with RayPool(work, PoolSettings(cluster.address, 2)) as pool:
        fleet = FleetHands(pool, silent)
        made = {patch.kind: patch for patch in fleet.make(orders)}
        assert fleet.judge(profile, pairs) == own.judge(profile, pairs)
    expected = list(own.make(orders))
    assert made.keys() == {patch.kind for patch in expected}
    for patch in expected:
        assert torch.equal(made[patch.kind].patches, patch.patches), patch.kind
        assert made[patch.kind].seconds > 0


@pytest.mark.slow
def test_the_command_ends_with_the_same_profile(cluster, places, tmp_path, capsys, monkeypatch) -> None:
    drive = record(tmp_path / "clean.mcap", map(tiny_network.clean_image, range(80)))
    monkeypatch.setattr(prepare_command, "SETTINGS", replace(SETTINGS, patience=1))
    told, digests = [], []
    for name, ray in (("alone", []), ("fleet", ["--ray", cluster.address])):
        monkeypatch.setattr(prepare_command, "CLOCK", Ticks())
        output = tmp_path / f"{name}.zmask.safetensors"
        call = ["prepare", drive, "--segmenter", places[0], "-o", output, "--threads", 1, "--device", "cpu", "--json"]
        code, out, err = zmask(capsys, *call, *ray)
        assert code == 0, err
        told.append(json.loads(out))
        digests.append(profile_digest(load_profile(output)))
    alone, fleet = told
    assert digests[0] == digests[1]
    assert fleet["patches"] == alone["patches"] and fleet["steps"] == alone["steps"]
    assert fleet["workers"] in (1, 2) and fleet["retried"] == 0 and fleet["skipped"] == []
