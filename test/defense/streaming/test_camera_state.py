"""What is remembered of a camera, and how frames change it: without a network."""

import dataclasses

import pytest
import torch

from support.patched_street import FRAME_NS
from zmask_ros.defense import CameraState
from zmask_ros.defense.defense import Thresholds
from zmask_ros.defense.streaming.camera_state import ALERT_S, FrameOutcome, IncomingFrame
from zmask_ros.defense.streaming.sighting import CLEAR_EXCESS, RECENT_ANALYSES, Sighting, sighted

SECOND = 10**9


def alarm(value):
    """Thresholds of a profile whose alarm was not raised."""
    return Thresholds(value, value, value)


def incoming(state, stamp_ns, interval_s=0.5):
    return IncomingFrame(state, stamp_ns, interval_s)


SEEN = CameraState(keyframe_ns=SECOND, last_ns=SECOND)
CALM = FrameOutcome()
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
    assert incoming(SEEN, NOW).after(CALM) == CameraState(keyframe_ns=SECOND, last_ns=NOW)
    assert incoming(SEEN, NOW).after(analyzed) == CameraState(keyframe_ns=SECOND, last_ns=NOW)
    due = 2 * SECOND
    assert incoming(SEEN, due).after(analyzed) == CameraState(keyframe_ns=due, last_ns=due)
    assert incoming(SEEN, due).after(CALM) == CameraState(keyframe_ns=SECOND, last_ns=due), "it said nothing"


def cells(*places):
    """A region of 8 cells, 1 at these."""
    region = torch.zeros(1, 1, 1, 8, dtype=torch.bool)
    region[..., list(places)] = True
    return region


ATTACK = Sighting(cells(0, 1, 2), SECOND, SECOND, (3.0,))


@pytest.mark.parametrize(("sighting", "for_s"), [(ATTACK, ALERT_S), (None, 0.5)])
def test_what_is_not_seen_any_more_raises_an_alert_and_a_precaution_does(sighting, for_s):
    before = dataclasses.replace(SEEN, sighting=sighting)
    outcome = FrameOutcome(fully_analyzed=True, masked=True)
    after = incoming(before, NOW).after(outcome)
    assert after == CameraState(None, None, SECOND, NOW, NOW + round(1e9 * for_s))


def test_while_an_attack_is_seen_each_frame_is_fully_analyzed():
    outcome = FrameOutcome(fully_analyzed=True, masked=True, sighting=ATTACK)
    after = incoming(SEEN, NOW).after(outcome)
    assert after.alert_until_ns is None
    assert not incoming(after, NOW + FRAME_NS).may_screen(None)


def test_an_attack_is_the_same_where_it_is_seen_in_the_same_place():
    again = sighted(ATTACK, cells(1, 2, 3), 2.0, NOW)
    assert (again.first_ns, again.last_ns, again.scores) == (SECOND, NOW, (3.0, 2.0))
    assert again.trusted_s == pytest.approx(FRAME_NS / 1e9)
    elsewhere = sighted(ATTACK, cells(2, 3, 4, 5), 2.0, NOW)
    assert (elsewhere.first_ns, elsewhere.scores, elsewhere.trusted_s) == (NOW, (2.0,), 0)


def test_an_attack_is_expected_to_score_what_its_latest_analyses_gave_at_least():
    sighting = None
    for index, score in enumerate([1.0, 5.0, 3.0, 4.0]):
        sighting = sighted(sighting, cells(0), score, index * FRAME_NS)
    assert sighting.scores == (1.0, 5.0, 3.0, 4.0)[-RECENT_ANALYSES:]
    assert sighting.score == 3.0
    assert sighting.clear(alarm(3.0 / CLEAR_EXCESS - 0.1))
    assert not sighting.clear(alarm(3.0 / CLEAR_EXCESS))
    assert not dataclasses.replace(sighting, scores=(9.0, 9.0)).clear(alarm(1.0)), "it was seen twice only"
    # An alarm that was raised asks for three times what clean frames reach, and for twice itself.
    assert sighting.clear(Thresholds(1.4, 0.9, 0.9)) and not sighting.clear(Thresholds(1.6, 0.9, 0.9))
    assert not sighting.clear(Thresholds(1.4, 1.1, 1.1))


def test_an_attack_before_a_jump_in_time_counts_for_nothing():
    state = dataclasses.replace(SEEN, sighting=ATTACK)
    assert incoming(state, NOW).earlier is ATTACK
    assert incoming(state, SECOND - 1).earlier is None
    assert incoming(state, 3 * SECOND).earlier is None
