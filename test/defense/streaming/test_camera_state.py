"""What is remembered of a camera, and how frames change it: without a network."""

import dataclasses

import pytest

from support.patched_street import FRAME_NS
from zmask_ros.defense import CameraState
from zmask_ros.defense.streaming.camera_state import ALERT_S, FrameOutcome, IncomingFrame, TrackUpdate

SECOND = 10**9


def incoming(state, stamp_ns, interval_s=0.5):
    return IncomingFrame(state, stamp_ns, interval_s)


SEEN = CameraState(None, keyframe_ns=SECOND, last_ns=SECOND)
CALM = FrameOutcome(tracked=None, fully_analyzed=False, flagged=False, track_update=None)
NOW = SECOND + FRAME_NS


@pytest.mark.parametrize(
    ("stamp_ns", "enough"),
    [
        (SECOND + FRAME_NS, True),
        (SECOND + SECOND // 2 - 1, True),
        (SECOND + SECOND // 2, False),
        (SECOND, False),
        (SECOND - FRAME_NS, False),
    ],
)
def test_the_screen_is_enough_until_a_keyframe_is_due_or_time_jumps(stamp_ns, enough):
    assert incoming(SEEN, stamp_ns).may_screen(None) == enough


def test_the_first_frame_of_a_camera_is_fully_analyzed():
    assert not incoming(CameraState(), FRAME_NS).may_screen(None)


def test_without_time_between_keyframes_nothing_is_only_screened():
    assert not incoming(SEEN, NOW, interval_s=0.0).may_screen(None)


def test_an_alert_ends_with_time_and_when_time_jumps_back():
    alert = dataclasses.replace(SEEN, alert_until_ns=2 * SECOND)
    assert not incoming(alert, NOW).may_screen(None)
    assert incoming(alert, NOW).after(CALM).alert_until_ns == 2 * SECOND
    late = dataclasses.replace(alert, last_ns=2 * SECOND - 1)
    assert incoming(late, 2 * SECOND, 10.0).may_screen(None)
    assert incoming(late, 2 * SECOND).after(CALM).alert_until_ns is None
    assert incoming(alert, SECOND - 1).after(CALM).alert_until_ns is None


def test_neither_the_screen_nor_an_analysis_that_it_asks_for_postpones_the_keyframe():
    analyzed = dataclasses.replace(CALM, fully_analyzed=True)
    assert incoming(SEEN, NOW).after(CALM) == CameraState(None, SECOND, NOW)
    assert incoming(SEEN, NOW).after(analyzed) == CameraState(None, SECOND, NOW)
    due = 2 * SECOND
    assert incoming(SEEN, due).after(analyzed) == CameraState(None, due, due)
    assert incoming(SEEN, due).after(CALM) == CameraState(None, SECOND, due), "it said nothing"


@pytest.mark.parametrize(("flagged", "for_s"), [(True, ALERT_S), (False, 0.5)])
def test_what_cannot_be_tracked_raises_an_alert(flagged, for_s):
    outcome = FrameOutcome(tracked=None, fully_analyzed=True, flagged=flagged, track_update=TrackUpdate(None))
    after = incoming(SEEN, NOW).after(outcome)
    assert after == CameraState(None, NOW, NOW, flagged, NOW + round(1e9 * for_s))
