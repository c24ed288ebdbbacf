"""Figures, targets and JSON from records made by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zmask_ros.evaluation.metrics.records import Record, RecordSet
from zmask_ros.evaluation.protocol.plan import Attack, EvaluationPlan
from zmask_ros.evaluation.protocol.runner import Results
from zmask_ros.evaluation.report.figures import FULL_STRENGTH, Summary
from zmask_ros.evaluation.report.result import to_json
from zmask_ros.evaluation.report.summary import Summarizer
from zmask_ros.evaluation.report.targets import Target, check

STORED = Path(__file__).parents[1] / "data" / "summary.json"
"""The JSON of this summary; what version 0.1.0 wrote, but for the limits of shares' intervals, stands at its place."""


def records(right: list[int], scores: list[float], threshold: float = 5.0) -> RecordSet:
    """Frames of one class and 10 pixels each, so many of them right: IoU = right / pixels."""
    return RecordSet(
        [
            Record(str(index), "drive", score, score > threshold, score > threshold, (good, 10 - good), 0.5, 0.6, 0.1)
            for index, (good, score) in enumerate(zip(right, scores, strict=True))
        ],
        1,
    )


def by_hand() -> Summary:
    file = "patch.png"
    plan = EvaluationPlan(
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
    measured = {
        ("clean", "none"): records([9, 9, 9, 9], [0.0] * 4),
        ("clean", "ours"): records([9, 9, 9, 8], [1.0, 2.0, 3.0, 6.0]),
        ("hard random patch", "none"): records([8, 8], nothing),
        ("hard random patch", "ours"): records([8, 7], [1.0, 9.0]),
    }
    for name, undefended, ours, scores in (
        ("strong", [2, 4], [7, 5], [7.0, 5.5]),
        ("sly", [6, 6], [6, 6], [1.0, 2.5]),
        ("slyer", [5, 6], [5, 6], [1.0, 2.5]),
    ):
        measured |= {
            (f"attack {name}", "clean"): records([9, 9], nothing),
            (f"attack {name}", "none"): records(undefended, nothing),
            (f"attack {name}", "oracle"): records([8, 8], nothing),
            (f"attack {name}", "ours"): records(ours, scores),
        }
    patches = {attack.name: np.zeros((1, 4, 4, 3), np.uint8) for attack in plan.attacks}
    return Summarizer(plan, Results(measured, patches, thresholds={"ours": 5.0}), ("ours",)).summary()


def test_summary_by_hand() -> None:
    summary = by_hand()
    clean = summary.clean["ours"]
    assert clean.miou_loss == pytest.approx(36 / 40 - 35 / 40)
    assert clean.false_alarm_rate.value == 0.25
    assert clean.false_alarms_an_hour == pytest.approx(0.25 * 15 * 3600)
    strong = summary.attacks[0]
    assert strong.cost == pytest.approx(0.9 - 0.3)
    own = strong.baselines["ours"]
    assert own.recovery.value == pytest.approx((0.6 - 0.3) / (0.8 - 0.3))
    assert own.roc.auc.value == pytest.approx((4 + 3) / 8)
    assert own.roc.tpr_at_1_percent == 0.5
    assert own.recall == 1
    group = summary.groups[FULL_STRENGTH].baselines["ours"]
    assert (group.recovery, group.mean_auc) == (pytest.approx(0.6), pytest.approx(7 / 8))
    (family,) = summary.families["ours"]
    assert [run.ratio for run in family.runs] == pytest.approx([0.3 / 0.6, 0.35 / 0.6])
    assert family.worst.attack == "slyer"
    assert summary.worst_case["ours"].damage == pytest.approx(0.9 - 0.55)
    assert summary.worst_frames == {"none": pytest.approx(0.3), "ours": pytest.approx(0.5)}
    hard = summary.hard["random patch"].baselines["ours"]
    assert hard.false_alarm_rate.value == 0.5 and hard.miou_loss == pytest.approx(0.05)


def targets(summary: Summary) -> Mapping[str, Target]:
    return {target.what: target for target in check(summary, "ours")}


def test_targets_are_checked_by_their_limits() -> None:
    summary = by_hand()
    checked = targets(summary)
    remains = checked["damage that remains, worst adaptive family"]
    assert remains.value == pytest.approx(0.35 / 0.6) and not remains.reached and remains.note == "flag"
    assert not checked["mIoU lost beside random patches"].reached
    assert not checked["recovery, full strength"].reached
    assert checked["columns in which no other defence is better"].reached
    assert checked["false alarms, worst benign-hard set"].note == "random patch 50%"
    (family,) = summary.families["ours"]
    group = summary.groups[FULL_STRENGTH]
    better = replace(
        summary,
        families={"ours": (replace(family, worst=replace(family.worst, ratio=0.4)),)},
        groups={
            FULL_STRENGTH: replace(group, baselines={"ours": replace(group.baselines["ours"], recovery=0.9)}),
        },
    )
    assert targets(better)["damage that remains, worst adaptive family"].reached
    assert targets(better)["recovery, full strength"].reached
    nothing = targets(replace(summary, groups={}))["recovery, full strength"]
    assert math.isnan(nothing.value) and not nothing.reached


def test_a_better_baseline_is_named() -> None:
    summary = by_hand()
    group = summary.groups[FULL_STRENGTH]
    own = group.baselines["ours"]
    both = replace(group, baselines={"ours": own, "LGS": replace(own, recovery=0.7, mask_iou=0.1)})
    target = targets(replace(summary, groups={FULL_STRENGTH: both}))["columns in which no other defence is better"]
    assert (target.value, target.reached, target.note) == (3, False, "recovery: LGS")


def assert_like(value: Any, stored: Any, place: str) -> None:
    """Same keys in the same order, and equal figures but for rounding."""
    if isinstance(stored, dict):
        assert list(value) == list(stored), place
        # The limits of a share's interval became exact ones after version 0.1.0.
        share = place.endswith(("false_alarm_rate", "recall_interval"))
        for key, entry in stored.items():
            if not (share and key in ("low", "high")):
                assert_like(value[key], entry, f"{place}.{key}")
    elif isinstance(stored, list):
        assert len(value) == len(stored), place
        for index, entry in enumerate(stored):
            assert_like(value[index], entry, f"{place}[{index}]")
    else:
        assert value == (pytest.approx(stored, abs=1e-12) if isinstance(stored, float) else stored), place
        assert type(value) is type(stored), place


def test_json_has_the_layout_that_it_always_had() -> None:
    summary = by_hand()
    written = json.loads(json.dumps(to_json({"aims": {"ours": check(summary, "ours")}, "summary": summary})))
    assert_like(written, json.loads(STORED.read_text()), "")
