"""Patches that many make are those of a single process."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
import torch

from support.commands import refused, zmask
from support.neighbourly import DESCRIPTION, RECIPE, frames
from zmask_ros.attacks import PatchResult, train_patch
from zmask_ros.attacks.convergence import parted, train_until_converged
from zmask_ros.attacks.files import load_exact
from zmask_ros.attacks.strength import Strength, recipes
from zmask_ros.fleet.attack import AttackWork, Made, attack_fleet
from zmask_ros.fleet.network import NamedNetwork
from zmask_ros.fleet.pool import PoolSettings
from zmask_ros.segmenters import load_segmenter


@pytest.fixture
def description(tmp_path: Path) -> Path:
    path = tmp_path / "neighbourly.yaml"
    path.write_text(DESCRIPTION)
    return path


def test_each_run_of_each_patch_is_the_same_and_is_done_once(cluster, description, tmp_path) -> None:
    segmenter, shown = load_segmenter(str(description), "cpu"), frames()[:2]
    recipe = replace(RECIPE, steps=3, restarts=2)
    work = AttackWork(NamedNetwork.of(str(description), "cpu", segmenter), recipe, None, shown)
    settings, results = PoolSettings(cluster.address, 2), tmp_path / "parts"
    taken: dict[int | None, PatchResult | None] = {}
    tally = attack_fleet(work, True, settings, results, taken.__setitem__)
    assert tally.workers in (1, 2) and not tally.skipped
    for number, frame in enumerate(shown):
        alone, own = train_patch(segmenter, [frame], recipe), taken[number]
        assert own is not None and torch.equal(own.patches, alone.patches)
        assert own.history == alone.history and own.merits == alone.merits
    # A driver that died after that finds the runs again, and has none of them done anew.
    kept = {place: place.stat().st_mtime_ns for place in results.iterdir()}
    again: dict[int | None, PatchResult | None] = {}
    assert attack_fleet(work, True, settings, results, again.__setitem__).workers == 0
    assert len(kept) == 4 and kept == {place: place.stat().st_mtime_ns for place in results.iterdir()}
    assert all(torch.equal(again[n].patches, taken[n].patches) for n in taken)


def test_each_attacker_of_a_strength_is_the_work_of_one(cluster, description, tmp_path) -> None:
    segmenter, shown = load_segmenter(str(description), "cpu"), frames()
    recipe, effort = replace(RECIPE, steps=2), Strength(("grouped", "apgd margin"), 1, "", "")
    work = AttackWork(NamedNetwork.of(str(description), "cpu", segmenter), recipe, None, shown, effort=effort)
    results, taken = tmp_path / "parts", dict[int | None, Made | None]()
    attack_fleet(work, False, PoolSettings(cluster.address, 2), results, taken.__setitem__)
    ladders = taken[None]
    assert isinstance(ladders, dict) and list(ladders) == list(effort.attackers)
    learned, judged = parted(shown)
    for name, own in recipes(effort, recipe).items():
        alone = train_until_converged(segmenter, learned, judged, own, 4, tmp_path / name)
        assert ladders[name].rungs == alone.rungs
        assert torch.equal(ladders[name].result.patches, alone.result.patches)
    again = dict[int | None, Made | None]()
    assert attack_fleet(work, False, PoolSettings(cluster.address, 2), results, again.__setitem__).workers == 0
    assert again[None]["grouped"].rungs == ladders["grouped"].rungs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "names"),
    [
        ([], ["patch"]),
        (["--per-image"], ["patch_frame0000", "patch_frame0001"]),
        (["--strength", "standard"], ["patch"]),
    ],
)
def test_the_command_writes_the_same_files(options, names, cluster, description, tmp_path, capsys) -> None:
    (tmp_path / "images").mkdir()
    for number, (image, _) in enumerate(frames()[:2]):
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), image[..., ::-1])
    call = [
        "attack", "--segmenter", description, "--images", tmp_path / "images", "--steps", 3, "--size", "16x20",
        "--restarts", 3, "--device", "cpu", "--threads", 1, "--json", *options,
    ]  # fmt: skip
    told = []
    for folder, ray in (("alone", []), ("fleet", ["--ray", cluster.address])):
        (tmp_path / folder).mkdir()
        code, out, err = zmask(capsys, *call, "-o", tmp_path / folder / "patch.png", *ray)
        assert code == 0, err
        told.append(json.loads(out))
    alone, fleet = told
    assert fleet["retried"] == 0 and fleet["skipped"] == []
    for one, other in zip(alone.get("patches", [alone]), fleet.get("patches", [fleet]), strict=True):
        for entry in ("share_won", "loss_at_last", "attackers"):
            assert one.get(entry) == other.get(entry)
    for name in names:
        first, second = (tmp_path / folder / f"{name}.png" for folder in ("alone", "fleet"))
        assert torch.equal(load_exact(first)[0], load_exact(second)[0])
        assert first.with_suffix(".json").read_text() == second.with_suffix(".json").read_text()
    assert sorted(path.name for path in (tmp_path / "fleet").iterdir()) == sorted(
        path.name for path in (tmp_path / "alone").iterdir()
    )


def test_what_only_one_process_needs_is_refused(description, tmp_path, capsys) -> None:
    call = ["attack", "--segmenter", description, "--street", "1", "-o", tmp_path / "patch.png", "--ray", "local"]
    assert "leave --resume out" in refused(capsys, *call, "--resume")
