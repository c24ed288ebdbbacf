"""Plans: what the published one holds, JSON, and what is refused."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from support import evaluation_parts
from support.tiny_network import describe
from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.protocol.plan import ADAPTIVE, EvaluationPlan, read_plan
from zmask_ros.evaluation.protocol.shipped_plans import published_plan, quick_plan, short_plan, with_strength
from zmask_ros.segmenters import Segmenter, load_segmenter


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    return load_segmenter(str(describe(tmp_path_factory.mktemp("network"))), "cpu")


def test_published_plan_is_what_was_promised(segmenter: Segmenter) -> None:
    plan = published_plan(segmenter)
    plain = [attack for attack in plan.attacks if attack.group != ADAPTIVE]
    recipes = [attack.recipe for attack in plain if attack.recipe is not None]
    assert 10 <= len(plain) <= len(plan.attacks) <= 25
    assert len({recipe.size for recipe in recipes}) == 3
    assert {recipe.objective for recipe in recipes} == {"untargeted", "targeted"}
    assert min(recipe.beta for recipe in recipes) == 0.5 and max(recipe.beta for recipe in recipes) == 1
    families: dict[str, list[Any]] = {}
    for attack in plan.attacks:
        if attack.family is not None:
            families.setdefault(attack.family, []).append(attack.recipe)
    assert set(families) == {"flag", "mask", "both", "overmask", "split", "decoys"}
    twice = {family: runs for family, runs in families.items() if len(runs) == 2}
    assert set(twice) == set(families)
    for first, second in twice.values():
        assert second.steps == 2 * first.steps and second.seed != first.seed
    seeds = [attack.recipe.seed for attack in plan.attacks if attack.recipe is not None]
    assert len(set(seeds)) == len(seeds) and plan.seed not in seeds


def test_plans_survive_json(segmenter: Segmenter, tmp_path: Path) -> None:
    for plan in (published_plan(segmenter), short_plan(segmenter), quick_plan(segmenter), evaluation_parts.plan()):
        path = tmp_path / "plan.json"
        path.write_text(json.dumps(asdict(plan)))
        assert read_plan(path) == plan
        path.write_text(json.dumps({"plan": asdict(plan), "summary": {}}))
        assert read_plan(path) == plan


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"attacks": [{"name": "a", "group": "full"}]}, "needs a group"),
        ({"attacks": [{"name": "a", "group": "full", "file": "a.png"}] * 2}, "two attacks named 'a'"),
        ({"attacks": [{"name": "a", "group": "full", "recipe": {"seed": 1}}]}, "trained with the test's seed 1"),
        ({"attacks": [{"name": "a", "group": "full", "file": "a.png", "reference": "b"}]}, "must come before"),
        ({"attacks": [{"name": "a", "group": "full", "recipe": {}, "start": "a"}]}, "must come before"),
        ({"attacks": [], "hard_sets": ["fog"]}, "no benign-hard set 'fog'"),
        ({"attacks": [], "compared": ["HN", "FDPA"]}, "no defence 'FDPA'"),
        ({"attacks": [], "resampled": "pixel"}, "'frame' or 'drive'"),
        ({"attacks": [], "colour": "red"}, "The plan of an evaluation has no entry 'colour'"),
        ({"attacks": [{"name": "a", "group": "full", "recipe": {"colour": 1}}]}, "no entry 'attacks.0.recipe.colour'"),
        ({"attacks": [], "seen": {"yaw": [0, 1]}}, "no entry 'seen.yaw'"),
        ({"attacks": [], "test_frames": "many"}, "'test_frames' is 'many'"),
        ({"name": "x"}, "lacks the entry 'attacks'"),
    ],
)
def test_plans_that_make_no_sense_are_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ZmaskError, match=complaint):
        EvaluationPlan.from_dict({"name": "x"} | change)


def test_strength_adds_families_that_go_on_from_their_own_patches(segmenter: Segmenter) -> None:
    plan = short_plan(segmenter)
    assert with_strength(plan, "quick", segmenter) == plan
    standard, full = (with_strength(plan, name, segmenter) for name in ("standard", "full"))
    assert len(full.attacks) > len(standard.attacks) > len(plan.attacks)
    added = standard.attacks[len(plan.attacks) :]
    for family in {attack.family for attack in added}:
        runs = [attack for attack in added if attack.family == family]
        assert [run.start for run in runs] == [None, *(run.name for run in runs[:-1])]
        steps = [run.recipe.steps for run in runs if run.recipe is not None]
        assert all(sum(steps[:n]) == steps[n] for n in range(1, len(steps)))
    assert all(run.recipe is not None and run.recipe.evasion == "constraint" for run in added)
