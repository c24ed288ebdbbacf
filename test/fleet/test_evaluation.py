"""The tables of an evaluation on a cluster are those of a single process, whatever happens to workers."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from support import evaluation_parts, tiny_network
from support.commands import zmask
from support.fleet_work import WorkerKillingEvaluation
from zmask_ros.attacks import load_patches
from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.protocol.evaluators import NamedProfile
from zmask_ros.evaluation.protocol.plan import EvaluationPlan
from zmask_ros.evaluation.protocol.runner import Evaluation, Pace
from zmask_ros.fleet.evaluation import evaluate_fleet
from zmask_ros.fleet.network import NamedNetwork
from zmask_ros.fleet.pool import PoolSettings

PACE = Pace(frame=0.1, network=0.1, steps={})
Network = tuple[Path, NamedProfile]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return evaluation_parts.named_profile(tmp_path_factory.mktemp("network"))


def begun(folder: Path, network: Network, plan: EvaluationPlan | None = None) -> tuple[Evaluation, NamedNetwork]:
    evaluation = evaluation_parts.evaluation(folder, *network, chosen=plan)
    return evaluation, NamedNetwork.of(str(network[0]), "cpu", evaluation.segmenter)


def test_every_patch_and_every_cell_is_the_same_though_a_worker_dies(cluster, network, tmp_path, monkeypatch) -> None:
    alone = evaluation_parts.evaluation(tmp_path / "alone", *network)
    expected = alone.run(PACE)
    killed = tmp_path / "killed"
    work = partial(WorkerKillingEvaluation, "patch big", killed)
    monkeypatch.setattr("zmask_ros.fleet.evaluation.EvaluationWork", work)
    done = evaluate_fleet(*begun(tmp_path / "fleet", network), PACE, PoolSettings(cluster.address, 2))
    assert killed.exists() and done.tally.retried == 1 and done.tally.workers in (1, 2)
    assert done.results.thresholds == expected.thresholds
    assert done.results.histories == expected.histories
    assert {place: own.records for place, own in done.results.records.items()} == {
        place: own.records for place, own in expected.records.items()
    }
    for name, patches in expected.patches.items():
        np.testing.assert_array_equal(done.results.patches[name], patches)
    # What is done is not done again, by whomever.
    assert begun(tmp_path / "fleet", network)[0].missing() == []


def test_what_cannot_be_done_is_said_and_all_else_is_kept(cluster, network, tmp_path) -> None:
    plan = evaluation_parts.plan()
    hiding = replace(plan.attacks[0], recipe=evaluation_parts.recipe(7, shape="shapes/missing.png"))
    evaluation, named = begun(tmp_path, network, replace(plan, attacks=(hiding, *plan.attacks[1:])))
    with pytest.raises(ZmaskError, match="1 pieces of work could not be done, the first: patch big: .*missing.png"):
        evaluate_fleet(evaluation, named, PACE, PoolSettings(cluster.address, 2))
    # Those that need its patches were not begun.
    left = {job.attack.name for job in evaluation.missing() if job.attack is not None}
    assert left == {"big", "half"} and all(job.attack is not None for job in evaluation.missing())
    other = replace(named, digest="0" * 64)
    with pytest.raises(ZmaskError, match="another network on a worker"):
        evaluate_fleet(evaluation, other, PACE, PoolSettings(cluster.address, 1))


@pytest.mark.slow
def test_the_command_writes_the_same_tables(cluster, network, tmp_path, capsys) -> None:
    plan = asdict(evaluation_parts.plan())
    plan |= {"attacks": plan["attacks"][:1], "hard_sets": ["glare"], "compared": ["LGS"], "attacked_frames": 2}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    (tmp_path / "images").mkdir()
    for index in range(20):
        cv2.imwrite(str(tmp_path / "images" / f"{index:02}.png"), tiny_network.clean_image(index)[..., ::-1])
    description = network[0]
    profile = description.with_name("tiny_0.zmask.safetensors")
    call = [
        "evaluate", "--segmenter", description, "--profile", profile, "--plan", tmp_path / "plan.json", "--threads", 1,
        "--images", tmp_path / "images", "--device", "cpu", "--json",
    ]  # fmt: skip
    code, out, err = zmask(capsys, *call, "-o", tmp_path / "alone")
    assert code == 0, err
    expected = json.loads(out)
    code, out, err = zmask(capsys, *call, "-o", tmp_path / "fleet", "--ray", cluster.address)
    assert code == 0, err
    said = json.loads(out)
    assert said["summary"] == expected["summary"] and said["aims"] == expected["aims"]
    assert said["workers"] in (1, 2) and said["retried"] == 0 and said["skipped"] == []
    (one,) = (tmp_path / "fleet" / "patches").glob("*.png")
    np.testing.assert_array_equal(load_patches(one), load_patches(tmp_path / "alone" / "patches" / one.name))
