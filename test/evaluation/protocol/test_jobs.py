"""Jobs and their results: folders of earlier versions are resumed, and damaged results are made again."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import evaluation_parts
from zmask_ros.attacks import Step
from zmask_ros.defense import Profile
from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.protocol.evaluators import NamedProfile
from zmask_ros.evaluation.protocol.jobs import EVALUATED, TRAINED, Evaluated, Job, JobList, ResultStore, Subject


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return evaluation_parts.named_profile(tmp_path_factory.mktemp("network"))[1].profile


def jobs_of(profile: Profile, subject: Subject) -> list[Job]:
    profiles = tuple(
        NamedProfile(name, "file", letter * 64, profile) for name, letter in (("ours", "d"), ("second", "e"))
    )
    return list(JobList(evaluation_parts.plan(), profiles, subject))


def test_patches_that_took_hours_keep_their_keys(profile: Profile) -> None:
    jobs = jobs_of(profile, Subject("s", "f", "v"))
    keys = {job.file_name: job.key for job in jobs}
    assert len(keys) == len(jobs) == 37
    assert keys["patch_big-b0c66f"] == "a1cf6525381771b96e4867bb772a9b062a4bbe06670c870e1a35ece5170dd48c"


@pytest.mark.parametrize("other", [Subject("s2", "f", "v"), Subject("s", "f2", "v"), Subject("s", "f", "v2")])
def test_no_result_is_taken_for_that_of_another_network_or_of_other_frames(profile: Profile, other: Subject) -> None:
    pairs = zip(jobs_of(profile, Subject("s", "f", "v")), jobs_of(profile, other), strict=True)
    assert all(job.key != of_other.key for job, of_other in pairs)


EVALUATED_JSON = (
    '{"threshold": 0.05, "records": [{"name": "frame 200", "drive": "drive", "score": 0.25, "flagged": true, '
    '"masked": true, "counts": [2907, 0, 139, 26], "mask_iou": 0.5, "mask_recall": 0.75, "hidden_share": 0.0625}, '
    '{"name": "frame 201", "drive": "drive", "score": 0.0, "flagged": false, "masked": false, "counts": [1, 2, 3, 4], '
    '"mask_iou": null, "mask_recall": null, "hidden_share": 0.0}]}'
)
TRAINED_JSON = (
    '[{"index": 0, "loss": 1.5, "pixel_accuracy": 0.25, "score": null, "masked": null}, '
    '{"index": 1, "loss": 2.0, "pixel_accuracy": 0.125, "score": 0.5, "masked": 1.0}]'
)


def test_results_are_read_and_written_byte_for_byte(tmp_path: Path) -> None:
    store, job = ResultStore(tmp_path), Job("clean by ours", {"seed": 1})
    for text, kind in ((EVALUATED_JSON, EVALUATED), (TRAINED_JSON, TRAINED)):
        kept = f'{{"key": "{job.key}", "name": "clean by ours", "decided_by": {{"seed": 1}}, "result": {text}}}'
        store.path(job).write_text(kept)
        assert store.has(job)
        store.put(job, kind.validate_python(store.get(job)))
        assert store.path(job).read_text() == kept


def test_damaged_results_are_made_again(tmp_path: Path) -> None:
    store, job = ResultStore(tmp_path / "a" / "b"), Job("Some job / x", {"value": 1})
    assert not store.has(job)
    result = (Step(0, 1.5, 0.5),)
    store.put(job, result)
    assert store.has(job) and TRAINED.validate_python(store.get(job)) == result
    assert not store.has(Job(job.name, {"value": 2}))
    store.path(job).write_text(store.path(job).read_text()[:-5])
    assert not store.has(job)
    with pytest.raises(ZmaskError, match="is gone"):
        store.get(job)
    assert Job("a b", {}).file_name != Job("a_b", {}).file_name


def test_an_evaluator_may_have_no_threshold() -> None:
    assert EVALUATED.validate_python({"threshold": None, "records": []}) == Evaluated(None, ())
