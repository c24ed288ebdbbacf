"""The evaluation of a tiny network: results against what follows by hand, breaks, and what is written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from support import evaluation_parts
from zmask_ros.defense import ProfileError
from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation import Confusion, mask_iou
from zmask_ros.evaluation.baselines.interface import segment
from zmask_ros.evaluation.metrics.records import to_json
from zmask_ros.evaluation.protocol.estimate import Pace
from zmask_ros.evaluation.protocol.jobs import Unit, UnitStore
from zmask_ros.evaluation.protocol.judges import NamedProfile
from zmask_ros.evaluation.protocol.runner import Evaluation, Results
from zmask_ros.evaluation.report.result import TABLES, markdown, outcome, write_outcome
from zmask_ros.flags.flag import FrameState
from zmask_ros.runtime.camera import DefendedCamera, labels_without

PACE = Pace(frame=0.1, network=0.1, steps={})


def ignore(seconds: float, note: str) -> None:
    pass


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, NamedProfile]:
    return evaluation_parts.named_profile(tmp_path_factory.mktemp("network"))


@pytest.fixture(scope="module")
def done(
    tmp_path_factory: pytest.TempPathFactory, network: tuple[Path, NamedProfile]
) -> tuple[Evaluation, Results, dict[str, Any]]:
    evaluation = evaluation_parts.evaluation(tmp_path_factory.mktemp("results"), *network)
    results = evaluation.run(PACE, ignore)
    return evaluation, results, outcome(evaluation, results, 1.0)


def test_figures_of_an_attack_by_hand(
    done: tuple[Evaluation, Results, dict[str, Any]], network: tuple[Path, NamedProfile]
) -> None:
    evaluation, results, result = done
    camera = DefendedCamera(evaluation.segmenter, network[1].profile)
    judged = {name: Confusion(3) for name in ("clean", "none", "oracle", "ours")}
    flagged, overlaps = [], []
    for index in evaluation.chosen(4):
        scene = evaluation.target.scenes[index]
        image, hidden = evaluation.show(index, results.patches["big"])
        assert hidden.any()
        # The patch's edge is one pixel wide.
        around = cv2.dilate(hidden.astype(np.uint8), np.ones((3, 3))) > 0
        np.testing.assert_array_equal(image[~around], scene.image[~around])
        truth = segment(evaluation.segmenter, scene.image)
        defended = camera.process_image(image)
        assert defended.pictures is not None
        judged["clean"].add(truth, truth, ~hidden)
        judged["none"].add(segment(evaluation.segmenter, image), truth, ~hidden)
        judged["oracle"].add(labels_without(evaluation.segmenter, image, hidden), truth, ~hidden)
        judged["ours"].add(defended.pictures.labels, truth, ~hidden)
        flagged.append(defended.state is FrameState.ATTACK)
        overlaps.append(mask_iou(defended.pictures.mask, hidden))
    attack = result["summary"]["attacks"][0]
    assert attack["name"] == "big"
    assert attack["clean"] == pytest.approx(judged["clean"].miou()) == pytest.approx(1)
    assert attack["attacked"]["value"] == pytest.approx(judged["none"].miou())
    assert attack["oracle"] == pytest.approx(judged["oracle"].miou())
    assert attack["cost"] == pytest.approx(1 - judged["none"].miou())
    own = attack["defences"]["ours"]
    assert own["miou"] == pytest.approx(judged["ours"].miou())
    assert own["recall"] == pytest.approx(np.mean(flagged))
    assert own["mask_iou"] == pytest.approx(np.mean(overlaps))


def test_only_our_defence_meets_attackers_who_know_it(done: tuple[Evaluation, Results, dict[str, Any]]) -> None:
    attacks = {attack["name"]: attack for attack in done[2]["summary"]["attacks"]}
    assert set(attacks["big"]["defences"]) == {"ours", "plain threshold", "HN"}
    assert set(attacks["sly"]["defences"]) == {"ours"}
    (family,) = done[2]["summary"]["families"]["ours"]
    assert family["worst"]["damage_free"] == attacks["big"]["cost"]
    remains = attacks["sly"]["clean"] - attacks["sly"]["defences"]["ours"]["miou"]
    assert family["worst"]["damage_defended"] == pytest.approx(remains)


def test_thresholds_are_the_profiles_own_and_those_of_the_threshold_part(
    done: tuple[Evaluation, Results, dict[str, Any]], network: tuple[Path, NamedProfile]
) -> None:
    evaluation, results, _ = done
    assert results.thresholds["ours"] == network[1].profile.threshold.value
    for name in ("plain threshold", "HN"):
        defence = evaluation.judges.defence(name)
        scores = [defence.process(scene.image).score for scene in evaluation.parts.thresholds]
        assert results.thresholds[name] == defence.threshold >= max(scores)


def test_what_is_done_is_not_done_again_unless_something_changed(
    done: tuple[Evaluation, Results, dict[str, Any]], network: tuple[Path, NamedProfile]
) -> None:
    folder = done[0].folder
    again = evaluation_parts.evaluation(folder, *network)
    assert again.missing() == []
    plan = again.plan
    attacks = (replace(plan.attacks[0], recipe=evaluation_parts.recipe(17)), *plan.attacks[1:])
    other = evaluation_parts.evaluation(folder, *network, chosen=replace(plan, attacks=attacks))
    # The weaker patch started from the one that changed.
    assert {work.attack.name for work in other.missing() if work.attack} == {"big", "half"}
    assert len(other.missing()) == 2 * (1 + 3 + 3)
    moved = evaluation_parts.evaluation(folder, *network, chosen=replace(plan, seed=2))
    assert not any(work.trains for work in moved.missing())
    assert len(moved.missing()) == len(list(moved.work)) - 3


def test_a_run_that_was_interrupted_goes_on(
    done: tuple[Evaluation, Results, dict[str, Any]], network: tuple[Path, NamedProfile], tmp_path: Path
) -> None:
    def interrupt_after(calls: int) -> Callable[[float, str], None]:
        left = iter(range(calls))

        def advance(seconds: float, note: str) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt

        return advance

    left = []
    for calls in (5, 40):
        with pytest.raises(KeyboardInterrupt):
            evaluation_parts.evaluation(tmp_path, *network).run(PACE, interrupt_after(calls))
        left.append(len(evaluation_parts.evaluation(tmp_path, *network).missing()))
    whole = len(list(done[0].work))
    assert whole > left[0] > left[1] > 0
    results = evaluation_parts.evaluation(tmp_path, *network).run(PACE, ignore)
    assert not list((tmp_path / "patches").glob(".*.state"))
    for place, column in done[1].columns.items():
        assert to_json(results.columns[place].records) == to_json(column.records), place


def test_what_is_written_is_whole_and_needs_nothing_else(done: tuple[Evaluation, Results, dict[str, Any]]) -> None:
    evaluation, results, result = done

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is no JSON")

    paths = write_outcome(evaluation, results, result)
    kept = json.loads(paths[0].read_text(), parse_constant=refuse)
    assert kept["summary"]["attacks"][0]["cost"] == pytest.approx(result["summary"]["attacks"][0]["cost"])
    page = paths[1].read_text()
    assert page.count("<svg") >= 5 and page.count("src='data:image/") == 4
    assert all(link.startswith(("#", "data:image/")) for link in re.findall(r"""(?:src|href)=["']([^"']*)""", page))
    assert "<script" not in page and "url(http" not in page
    for name in ("big", "half", "sly", "plain threshold", "glare"):
        assert name in page


def test_splits_are_disjoint_and_written(done: tuple[Evaluation, Results, dict[str, Any]]) -> None:
    images = done[2]["splits"]["images"]
    names = [name for part in images.values() for name in part]
    assert set(images) == {"statistics", "thresholds", "attack", "test"}
    assert len(names) == len(set(names)) == 26
    assert done[2]["splits"]["seeds"] == {"test": 1, "training": {"big": 7, "half": 8, "sly": 9}}
    assert done[2]["splits"]["patches"] == {"full": ["big"], "graded": ["half"], "adaptive": ["sly"]}


def test_tables_go_between_the_marks(done: tuple[Evaluation, Results, dict[str, Any]], tmp_path: Path) -> None:
    document = tmp_path / "evaluation.md"
    document.write_text(f"# Title\n\n{TABLES.begin}\nwhat stood here\n{TABLES.end}\n\nMore.\n")
    TABLES.write(document, markdown(done[2]))
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


def test_damaged_results_are_made_again(tmp_path: Path) -> None:
    store, unit = UnitStore(tmp_path / "a" / "b"), Unit("Some unit / x", {"value": 1})
    assert store.get(unit) is None
    store.put(unit, [1, 2])
    assert store.get(unit) == [1, 2]
    assert store.get(Unit(unit.name, {"value": 2})) is None
    store.path(unit).write_text(store.path(unit).read_text()[:-5])
    assert store.get(unit) is None
    assert Unit("a b", {}).file_name != Unit("a_b", {}).file_name
