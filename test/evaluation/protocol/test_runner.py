"""The evaluation of a tiny network: results against what follows by hand, breaks, and what is written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from support import evaluation_parts
from zmask_ros.defense import ProfileError
from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.baselines.interface import segment
from zmask_ros.evaluation.metrics.segmentation import Confusion
from zmask_ros.evaluation.protocol.evaluators import NamedProfile
from zmask_ros.evaluation.protocol.jobs import TrainingJob
from zmask_ros.evaluation.protocol.plan import read_plan
from zmask_ros.evaluation.protocol.runner import Evaluation, Kind, Pace, Results
from zmask_ros.evaluation.report.html import write_result
from zmask_ros.evaluation.report.result import TABLES, EvaluationResult, result_of
from zmask_ros.flags.flag import FrameState
from zmask_ros.progress import Advance, Progress
from zmask_ros.runtime.camera import DefendedCamera, labels_without
from zmask_ros.runtime.patch_truth import mask_iou

PACE = Pace(frame=0.1, network=0.1, steps={})
KEYS = [
    *("version", "created", "seconds", "environment", "segmenter", "profiles", "plan", "frames", "splits"),
    *("notes", "aims", "summary", "histories"),
]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, NamedProfile]:
    return evaluation_parts.named_profile(tmp_path_factory.mktemp("network"))


@pytest.fixture(scope="module")
def done(
    tmp_path_factory: pytest.TempPathFactory, network: tuple[Path, NamedProfile]
) -> tuple[Evaluation, Results, EvaluationResult]:
    evaluation = evaluation_parts.evaluation(tmp_path_factory.mktemp("results"), *network)
    results = evaluation.run(PACE)
    return evaluation, results, result_of(evaluation, results, 1.0)


def test_figures_of_an_attack_by_hand(
    done: tuple[Evaluation, Results, EvaluationResult], network: tuple[Path, NamedProfile]
) -> None:
    evaluation, results, result = done
    camera = DefendedCamera(evaluation.segmenter, network[1].profile)
    confusions = {name: Confusion(3) for name in ("clean", "none", "oracle", "ours")}
    flagged, overlaps = [], []
    for index in evaluation.bench.chosen(4):
        scene = evaluation.parts.test[index]
        image, hidden = evaluation.bench.attacked_image(index, results.patches["big"])
        assert hidden.any()
        # The patch's edge is one pixel wide.
        around = cv2.dilate(hidden.astype(np.uint8), np.ones((3, 3))) > 0
        np.testing.assert_array_equal(image[~around], scene.image[~around])
        truth = segment(evaluation.segmenter, scene.image)
        defended = camera.process_image(image)
        assert defended.pictures is not None
        confusions["clean"].add(truth, truth, ~hidden)
        confusions["none"].add(segment(evaluation.segmenter, image), truth, ~hidden)
        confusions["oracle"].add(labels_without(evaluation.segmenter, image, hidden), truth, ~hidden)
        confusions["ours"].add(defended.pictures.labels, truth, ~hidden)
        flagged.append(defended.state is FrameState.ATTACK)
        overlaps.append(mask_iou(defended.pictures.mask, hidden))
    attack = result.summary.attacks[0]
    assert attack.name == "big"
    assert attack.clean == pytest.approx(confusions["clean"].miou()) == pytest.approx(1)
    assert attack.attacked.value == pytest.approx(confusions["none"].miou())
    assert attack.oracle == pytest.approx(confusions["oracle"].miou())
    assert attack.cost == pytest.approx(1 - confusions["none"].miou())
    own = attack.baselines["ours"]
    assert own.miou == pytest.approx(confusions["ours"].miou())
    assert own.recall == pytest.approx(np.mean(flagged))
    assert own.mask_iou == pytest.approx(np.mean(overlaps))


def test_only_our_defense_meets_attackers_who_know_it(done: tuple[Evaluation, Results, EvaluationResult]) -> None:
    summary = done[2].summary
    attacks = {attack.name: attack for attack in summary.attacks}
    assert set(attacks["big"].baselines) == {"ours", "plain threshold", "HN"}
    assert set(attacks["sly"].baselines) == {"ours"}
    (family,) = summary.families["ours"]
    assert family.worst.damage_free == attacks["big"].cost
    assert family.worst.damage_defended == pytest.approx(attacks["sly"].clean - attacks["sly"].baselines["ours"].miou)


def test_thresholds_are_the_profiles_own_and_those_of_the_threshold_part(
    done: tuple[Evaluation, Results, EvaluationResult], network: tuple[Path, NamedProfile]
) -> None:
    evaluation, results, _ = done
    assert results.thresholds["ours"] == network[1].profile.detector.threshold.value
    for name in ("plain threshold", "HN"):
        baseline = evaluation.bench.evaluators.baseline(name)
        scores = [baseline.process(scene.image).score for scene in evaluation.parts.thresholds]
        assert results.thresholds[name] == baseline.threshold >= max(scores)


def test_what_is_done_is_not_done_again_unless_something_changed(
    done: tuple[Evaluation, Results, EvaluationResult], network: tuple[Path, NamedProfile]
) -> None:
    folder = done[0].folder
    again = evaluation_parts.evaluation(folder, *network)
    assert again.missing() == []
    plan = again.plan
    attacks = (replace(plan.attacks[0], recipe=evaluation_parts.recipe(17)), *plan.attacks[1:])
    other = evaluation_parts.evaluation(folder, *network, chosen=replace(plan, attacks=attacks))
    # The weaker patch started from the one that changed.
    assert {job.attack.name for job in other.missing() if job.attack} == {"big", "half"}
    assert len(other.missing()) == 2 * (1 + 3 + 3)
    moved = evaluation_parts.evaluation(folder, *network, chosen=replace(plan, seed=2))
    assert not any(isinstance(job, TrainingJob) for job in moved.missing())
    assert len(moved.missing()) == len(list(moved.jobs)) - 3


def test_a_run_that_was_interrupted_goes_on(
    done: tuple[Evaluation, Results, EvaluationResult], network: tuple[Path, NamedProfile], tmp_path: Path
) -> None:
    def interrupt_after(calls: int) -> Progress:
        @contextmanager
        def progress(description: str, unit: str, total: int | None) -> Iterator[Advance]:
            left = iter(range(calls))

            def advance(steps: float = 1, note: str = "") -> None:
                if next(left, None) is None:
                    raise KeyboardInterrupt

            yield advance

        return progress

    left = []
    for calls in (5, 40):
        with pytest.raises(KeyboardInterrupt):
            evaluation_parts.evaluation(tmp_path, *network).run(PACE, interrupt_after(calls))
        left.append(len(evaluation_parts.evaluation(tmp_path, *network).missing()))
    whole = len(list(done[0].jobs))
    assert whole > left[0] > left[1] > 0
    results = evaluation_parts.evaluation(tmp_path, *network).run(PACE)
    assert not list((tmp_path / "patches").glob(".*.state"))
    for place, expected in done[1].records.items():
        assert results.records[place].records == expected.records, place


def test_what_is_written_is_whole_and_needs_nothing_else(done: tuple[Evaluation, Results, EvaluationResult]) -> None:
    evaluation, _, result = done

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is no JSON")

    paths = write_result(result)
    kept = json.loads(paths[0].read_text(), parse_constant=refuse)
    assert kept["summary"]["attacks"][0]["cost"] == pytest.approx(result.summary.attacks[0].cost)
    assert list(kept) == KEYS
    assert read_plan(paths[0]) == evaluation.plan
    page = paths[1].read_text()
    assert page.count("<svg") >= 5 and page.count('src="data:image/') == 4
    assert all(link.startswith(("#", "data:image/")) for link in re.findall(r"""(?:src|href)=["']([^"']*)""", page))
    assert "<script" not in page and "url(http" not in page
    for name in ("big", "half", "sly", "plain threshold", "glare"):
        assert name in page


def test_splits_are_disjoint_and_written(done: tuple[Evaluation, Results, EvaluationResult]) -> None:
    splits = done[2].to_json()["splits"]
    images = splits["images"]
    names = [name for part in images.values() for name in part]
    assert set(images) == {"statistics", "thresholds", "attack", "test"}
    assert len(names) == len(set(names)) == 26
    assert splits["seeds"] == {"test": 1, "training": {"big": 7, "half": 8, "sly": 9}}
    assert splits["patches"] == {"full": ["big"], "graded": ["half"], "adaptive": ["sly"]}


def test_tables_go_between_the_marks(done: tuple[Evaluation, Results, EvaluationResult], tmp_path: Path) -> None:
    document = tmp_path / "evaluation.md"
    document.write_text(f"# Title\n\n{TABLES.begin}\nwhat stood here\n{TABLES.end}\n\nMore.\n")
    TABLES.write(document, done[2].markdown())
    text = document.read_text()
    assert text.startswith(f"# Title\n\n{TABLES.begin}\nPlan `tiny`") and text.endswith(f"{TABLES.end}\n\nMore.\n")
    assert "what stood here" not in text and "| sly (worst) |" in text
    TABLES.write(document, "other")
    assert document.read_text() == f"# Title\n\n{TABLES.begin}\nother\n{TABLES.end}\n\nMore.\n"
    document.write_text("# Title\n")
    with pytest.raises(ZmaskError, match="lacks the marks"):
        TABLES.write(document, "text")
    assert document.read_text() == "# Title\n"


def test_a_profile_of_another_network_is_refused_before_anything_is_trained(
    network: tuple[Path, NamedProfile], tmp_path: Path
) -> None:
    other = evaluation_parts.describe(tmp_path, seed=3)
    with pytest.raises(ProfileError, match="something else"):
        evaluation_parts.evaluation(tmp_path / "results", other, network[1])


def test_the_expected_time_is_that_of_the_missing_jobs(
    done: tuple[Evaluation, Results, EvaluationResult], network: tuple[Path, NamedProfile], tmp_path: Path
) -> None:
    assert done[0].expected_seconds(PACE) == 0
    fresh = evaluation_parts.evaluation(tmp_path, *network)
    pace = fresh.measure_pace()
    unaware, aware = Kind(False, 1, False, False), Kind(True, 1, False, False)
    assert set(pace.steps) == {unaware, aware}
    frames_only = replace(pace, steps={})
    # A weakened attack knows the defense.
    trained = 3 * (pace.steps[unaware] + 2 * pace.steps[aware])
    assert fresh.expected_seconds(pace) == pytest.approx(fresh.expected_seconds(frames_only) + trained)
    assert fresh.expected_seconds(frames_only) > 6 * pace.network
