"""When the alarm of a camera is raised, and when it ends."""

from __future__ import annotations

from zmask_ros.flags.alarm import Alarm, AlarmRule, alarm_rule
from zmask_ros.flags.flag import FrameState
from zmask_ros.flags.vote import VoteRule

UNKNOWN, CLEAN, ATTACK = FrameState


def after(rule: AlarmRule, states: str, step_ns: int = 10**8) -> list[FrameState]:
    """The alarm after each of these frames: c for clean, a for attacked, u for unknown."""
    alarm, named = Alarm(rule), {"c": CLEAN, "a": ATTACK, "u": UNKNOWN}
    return [alarm.add(named[letter], index * step_ns) for index, letter in enumerate(states)]


def test_without_a_vote_the_alarm_is_the_state_of_the_frame() -> None:
    assert after(AlarmRule(), "cac") == [CLEAN, ATTACK, CLEAN]


def test_unknown_frames_change_nothing_and_nothing_is_clean_by_default() -> None:
    assert after(AlarmRule(), "uaucu") == [UNKNOWN, ATTACK, ATTACK, CLEAN, CLEAN]


def test_the_alarm_takes_frames_in_a_row_to_be_raised_and_to_end() -> None:
    rule = alarm_rule(2, 3, VoteRule(1, 5))
    assert after(rule, "acaacacccc") == [*[CLEAN] * 3, *[ATTACK] * 5, CLEAN, CLEAN]


def test_the_vote_of_the_profile_is_the_default() -> None:
    rule = alarm_rule(0, 1, VoteRule(2, 3))
    assert after(rule, "acaccc") == [CLEAN, CLEAN, ATTACK, CLEAN, CLEAN, CLEAN]


def test_a_reset_makes_the_alarm_unknown_and_raised_alarms_stay_counted() -> None:
    alarm = Alarm(AlarmRule())
    alarm.add(ATTACK, 5)
    alarm.reset(7)
    assert (alarm.state, alarm.since_ns, alarm.raised) == (UNKNOWN, 7, 1)
    assert alarm.add(ATTACK, 9) is ATTACK
    assert (alarm.since_ns, alarm.raised) == (9, 2)
