"""Plans, splits, and the figures of a summary from records made by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support import evaluation_parts
from support.tiny_network import describe
from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.metrics.records import Column, Record
from zmask_ros.evaluation.protocol.plan import ADAPTIVE, Attack, Plan, read_plan
from zmask_ros.evaluation.protocol.published import published_plan, quick_plan
from zmask_ros.evaluation.protocol.runner import Results
from zmask_ros.evaluation.report.summary import Summariser
from zmask_ros.evaluation.report.targets import check
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
    for plan in (published_plan(segmenter), quick_plan(segmenter), evaluation_parts.plan()):
        path = tmp_path / "plan.json"
        path.write_text(json.dumps(plan.to_dict()))
        assert read_plan(path) == plan
        path.write_text(json.dumps({"plan": plan.to_dict(), "summary": {}}))
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
        ({"attacks": [], "colour": "red"}, "unknown entries colour"),
        ({"name": "x"}, "not a plan"),
    ],
)
def test_plans_that_make_no_sense_are_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ZmaskError, match=complaint):
        Plan.from_dict({"name": "x"} | change)


def column(right: list[int], scores: list[float], threshold: float = 5.0) -> Column:
    """Frames of one class and 10 pixels each, so many of them right: IoU = right / pixels."""
    records = [
        Record(str(index), "drive", score, score > threshold, score > threshold, (good, 10 - good), 0.5, 0.6, 0.1)
        for index, (good, score) in enumerate(zip(right, scores, strict=True))
    ]
    return Column(records, 1)


def summariser() -> Summariser:
    file = "patch.png"
    plan = Plan(
        "by hand",
        (
            Attack("strong", "full", file=file),
            Attack("sly", "adaptive", file=file, reference="strong", family="flag"),
            Attack("slyer", "adaptive", file=file, reference="strong", family="flag"),
        ),
        hard_sets=("random patch",),
        compared=(),
    )
    nothing = [0.0, 0.0]
    columns = {
        ("clean", "none"): column([9, 9, 9, 9], [0.0] * 4),
        ("clean", "ours"): column([9, 9, 9, 8], [1.0, 2.0, 3.0, 6.0]),
        ("hard random patch", "none"): column([8, 8], nothing),
        ("hard random patch", "ours"): column([8, 7], [1.0, 9.0]),
    }
    for name, undefended, ours, scores in (
        ("strong", [2, 4], [7, 5], [7.0, 5.5]),
        ("sly", [6, 6], [6, 6], [1.0, 2.5]),
        ("slyer", [5, 6], [5, 6], [1.0, 2.5]),
    ):
        columns |= {
            (f"attack {name}", "clean"): column([9, 9], nothing),
            (f"attack {name}", "none"): column(undefended, nothing),
            (f"attack {name}", "oracle"): column([8, 8], nothing),
            (f"attack {name}", "ours"): column(ours, scores),
        }
    patches = {attack.name: np.zeros((1, 4, 4, 3), np.uint8) for attack in plan.attacks}
    return Summariser(plan, Results(columns, patches, {}, {"ours": 5.0}), ("ours",))


def test_summary_by_hand() -> None:
    summary = summariser().summary()
    clean = summary["clean"]["ours"]
    assert clean["miou_loss"] == pytest.approx(36 / 40 - 35 / 40)
    assert clean["false_alarm_rate"]["value"] == 0.25
    assert clean["false_alarms_an_hour"] == pytest.approx(0.25 * 15 * 3600)
    strong = summary["attacks"][0]
    assert strong["cost"] == pytest.approx(0.9 - 0.3)
    own = strong["defences"]["ours"]
    assert own["recovery"]["value"] == pytest.approx((0.6 - 0.3) / (0.8 - 0.3))
    assert own["auc"]["value"] == pytest.approx((4 + 3) / 8)
    assert own["tpr_at_1_percent"] == 0.5
    assert own["recall"] == 1
    group = summary["groups"]["full strength"]["defences"]["ours"]
    assert (group["recovery"], group["mean_auc"]) == (pytest.approx(0.6), pytest.approx(7 / 8))
    (family,) = summary["families"]["ours"]
    assert [run["ratio"] for run in family["runs"]] == pytest.approx([0.3 / 0.6, 0.35 / 0.6])
    assert family["worst"]["attack"] == "slyer"
    assert summary["worst_frames"] == {"none": pytest.approx(0.3), "ours": pytest.approx(0.5)}
    hard = summary["hard"]["random patch"]["defences"]["ours"]
    assert hard["false_alarm_rate"]["value"] == 0.5 and hard["miou_loss"] == pytest.approx(0.05)


def test_aims_are_judged_by_their_limits() -> None:
    summary = summariser().summary()
    aims = {aim["what"]: aim for aim in check(summary, "ours")}
    remains = aims["damage that remains, worst adaptive family"]
    assert remains["value"] == pytest.approx(0.35 / 0.6) and not remains["reached"] and remains["note"] == "flag"
    assert not aims["mIoU lost beside random patches"]["reached"]
    assert not aims["recovery, full strength"]["reached"]
    assert aims["columns in which no other defence is better"]["reached"]
    assert aims["false alarms, worst benign-hard set"]["note"] == "random patch 50%"
    summary["families"]["ours"][0]["worst"]["ratio"] = 0.4
    summary["groups"]["full strength"]["defences"]["ours"]["recovery"] = 0.9
    better = {aim["what"]: aim["reached"] for aim in check(summary, "ours")}
    assert better["damage that remains, worst adaptive family"] and better["recovery, full strength"]
    summary["groups"].clear()
    nothing = {aim["what"]: aim for aim in check(summary, "ours")}["recovery, full strength"]
    assert math.isnan(nothing["value"]) and not nothing["reached"]
