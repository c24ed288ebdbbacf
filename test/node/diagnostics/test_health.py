"""The health of a camera, and what diagnostics make of it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from zmask_ros.flags.drift import Drift, DriftLevels
from zmask_ros.flags.flag import Flag, FrameState
from zmask_ros.node.diagnostics.health import (
    Assessment,
    CameraHealth,
    Counters,
    Level,
    Snapshot,
    assess_attack,
    assess_inference,
    assess_input,
    assess_profile_fit,
    assess_safely,
    quantile,
)

CLEAN = Flag(FrameState.CLEAN, 0.5, 0.5, score=0.1, latency_ms=12.0)
COUNTERS = Counters(arrived=10, clean=10)
HEALTHY = Snapshot(COUNTERS, COUNTERS, 10.0, 0.1, (20.0, 30.0), "", CLEAN)


def test_quantile_is_the_nearest_rank() -> None:
    values = tuple(float(value) for value in range(1, 101))
    assert (quantile(values, 0.5), quantile(values, 0.99), quantile((7.0,), 0.99)) == (51.0, 100.0, 7.0)
    assert math.isnan(quantile((), 0.5))


def test_health_counts_and_rates_start_anew_with_each_snapshot() -> None:
    health = CameraHealth()
    health.arrived()
    health.flagged(Flag(FrameState.ATTACK, 0.5, 0.5, score=0.9, latency_ms=12.0))
    health.flagged(Flag(FrameState.UNKNOWN, 0.5, 0.5, "broken"))
    first, second = health.snapshot(), health.snapshot()
    assert (first.period.attack, first.period.unknown, first.latencies_ms) == (1, 1, (12.0,))
    assert (second.period.attack, second.period.unknown, second.rate_hz) == (0, 0, 0.0)
    assert (second.counters.attack, second.counters.unknown, second.last_flag.reason) == (1, 1, "broken")


@pytest.mark.parametrize(
    ("change", "level", "words"),
    [
        ({}, Level.OK, "10.0 frames/s"),
        ({"age_s": None}, Level.WARN, "no frames yet on /image_raw"),
        ({"age_s": 3.0}, Level.ERROR, "no frames on /image_raw for 3.0 s"),
        ({"age_s": None, "incompatible_qos": "RELIABILITY"}, Level.ERROR, "incompatible QoS policy (RELIABILITY)"),
        ({"period": Counters(unknown=2), "last_unknown": "the step lies"}, Level.WARN, "the step lies"),
        ({"period": Counters(lost_in_transport=340)}, Level.WARN, "340 frames were lost in the transport"),
        (
            {"period": Counters(unknown=2, lost_in_transport=3), "last_unknown": "the step lies"},
            Level.WARN,
            "3 frames were lost in the transport: does the camera's driver have the shared memory?; 2 frames could not",
        ),
    ],
)
def test_input_is_assessed(change: dict[str, object], level: Level, words: str) -> None:
    assessment = assess_input("front", "/image_raw", 1, 1.0, replace(HEALTHY, **change))
    assert (assessment.name, assessment.level) == ("front input", level)
    assert words in assessment.message


def test_a_topic_that_nobody_publishes_is_an_error() -> None:
    assert assess_input("front", "/image_raw", 0, 1.0, replace(HEALTHY, age_s=None)).level is Level.ERROR


def test_attack_and_internal_errors_are_errors() -> None:
    assert assess_attack("front", HEALTHY).level is Level.OK
    assert assess_attack("front", replace(HEALTHY, period=Counters(attack=1))).level is Level.ERROR
    assert assess_attack("front", replace(HEALTHY, last_flag=Flag(FrameState.UNKNOWN, 0.5, 0.5))).level is Level.WARN
    assert assess_inference("front", "cpu", HEALTHY).level is Level.OK
    broken = assess_inference("front", "cpu", replace(HEALTHY, period=Counters(internal_errors=1)))
    assert broken.level is Level.ERROR
    assert assess_inference("front", "cpu", HEALTHY, "stopped").level is Level.ERROR


def test_the_reason_for_an_unusable_frame_outlives_the_next_flag_and_a_frame_proves_the_qos() -> None:
    health = CameraHealth()
    health.qos_is_incompatible("RELIABILITY")
    health.arrived()
    health.flagged(Flag(FrameState.UNKNOWN, 0.5, 0.5, "the step lies"))
    health.flagged(replace(CLEAN, reason="masked as a precaution"))
    now = replace(health.snapshot(), age_s=3.0)
    assert "the step lies" in assess_input("front", "/image_raw", 1, 5.0, now).message
    assert "no frames on" in assess_input("front", "/image_raw", 1, 1.0, now).message


def test_an_internal_error_is_an_error_of_its_period_and_stays_counted() -> None:
    health = CameraHealth()
    health.failed("ValueError: no")
    first, second = (assess_inference("front", "cpu", health.snapshot()) for _ in range(2))
    assert (first.level, second.level) == (Level.ERROR, Level.OK)
    assert second.values["internal errors since the start"] == "1"


def test_a_camera_that_has_stopped_is_not_called_clean() -> None:
    health = CameraHealth()
    assert assess_attack("front", health.snapshot()).level is Level.STALE
    health.flagged(CLEAN)
    first, second = (assess_attack("front", health.snapshot()) for _ in range(2))
    assert (first.level, first.message) == (Level.OK, "clean")
    assert second.level is Level.STALE
    assert "clean" not in second.message


def test_a_machine_that_is_too_busy_is_a_warning() -> None:
    health = CameraHealth()
    assert math.isnan(health.verdict_share)
    for number in range(1, 11):
        state = FrameState.CLEAN if number % 5 == 0 else FrameState.UNKNOWN
        health.flagged(replace(CLEAN, state=state, sequence=number, reason="dropped: a newer frame came"))
    health.flagged(Flag(FrameState.UNKNOWN, 0.5, 0.5, "no frame for 1 s"))
    assert health.verdict_share == 0.2, "a flag without a frame does not count"
    now = health.snapshot()
    busy = assess_inference("front", "cpu", now, least_verdict_share=0.25)
    assert (busy.level, busy.message.partition(",")[0]) == (
        Level.WARN,
        "20% of the frames of the last 5 s got a verdict",
    )
    assert assess_inference("front", "cpu", now, least_verdict_share=0.2).level is Level.OK
    assert assess_inference("front", "cpu", CameraHealth().snapshot(), least_verdict_share=1.0).level is Level.OK


def test_what_is_masked_as_a_precaution_is_counted_apart() -> None:
    health = CameraHealth()
    health.flagged(CLEAN)
    health.flagged(replace(CLEAN, mask_fraction=0.1))
    health.flagged(replace(CLEAN, state=FrameState.ATTACK, mask_fraction=0.1))
    values = assess_attack("front", health.snapshot()).values
    assert (values["clean frames"], values["clean frames masked as a precaution"]) == ("2", "1")


def test_a_task_that_cannot_be_assessed_is_an_error_of_its_own() -> None:
    def assess() -> Assessment:
        raise RuntimeError("the GPU has fallen off the bus")

    failed = assess_safely("device", assess)
    assert (failed.name, failed.level) == ("device", Level.ERROR)
    assert "fallen off the bus" in failed.message


@pytest.mark.parametrize(
    ("drift", "level", "words"),
    [
        (Drift(0.7, {"deep": 0.7}, 40), Level.OK, "fits"),
        (Drift(1.2, {"deep": 1.2}, 40), Level.WARN, "zmask prepare"),
        (Drift(2.0, {"deep": 2.0}, 40), Level.ERROR, "does not fit"),
        (Drift(reason="fit it again"), Level.OK, "unknown: fit it again"),
    ],
)
def test_the_fit_of_the_profile_is_assessed(drift: Drift, level: Level, words: str) -> None:
    assessment = assess_profile_fit("front", drift, DriftLevels(), HEALTHY, 0.05)
    assert (assessment.name, assessment.level) == ("front profile fit", level)
    assert words in assessment.message
    assert assessment.values["layer furthest away"] == ("deep" if drift.layers else "unknown")


def test_a_profile_that_masks_far_more_than_it_was_set_for_does_not_fit() -> None:
    health, fits, far = CameraHealth(), Drift(0.7, {"deep": 0.7}, 40), Drift(1.2, {"deep": 1.2}, 40)
    for number in range(97):
        health.flagged(replace(CLEAN, mask_fraction=0.1 if number < 63 else 0.0))
        health.flagged(replace(CLEAN, state=FrameState.ATTACK, mask_fraction=0.1))
    now = health.snapshot()
    excess = "65% of 97 clean frames were masked as a precaution, and the profile is set for 5%"
    assessment = assess_profile_fit("front", fits, DriftLevels(), now, 0.05)
    assert assessment.level is Level.WARN
    assert assessment.message.startswith(excess)
    both = assess_profile_fit("front", far, DriftLevels(), now, 0.05)
    assert (both.level, "distance 1.20" in both.message, excess in both.message) == (Level.WARN, True, True)
    assert assess_profile_fit("front", fits, DriftLevels(), now, 0.2).level is Level.OK
    assert assess_profile_fit("front", fits, DriftLevels(), now, None).level is Level.OK
