"""When the alarm of a camera is raised, and when it ends."""

from __future__ import annotations

import pytest

from zmask_ros.flags.alarm import Alarm, AlarmRule, Vote, VoteRule, alarm_rule
from zmask_ros.flags.flag import FrameState

UNKNOWN, CLEAN, ATTACK = FrameState
SECOND_NS = 1_000_000_000


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


def called(rule: VoteRule, flags: str, stamps=None) -> str:
    vote = Vote(rule)
    stamps = stamps or range(0, len(flags) * SECOND_NS // 10, SECOND_NS // 10)
    return "".join("x" if vote.add(flag == "x", stamp) else "." for flag, stamp in zip(flags, stamps, strict=True))


@pytest.mark.parametrize(
    ("needed", "frames", "flags", "expected"),
    [
        (1, 1, ".x.xx.", ".x.xx."),
        (2, 3, "x.x...xx.x", "..x....xxx"),
        (3, 3, "xx.xxx.", ".....x."),
        (1, 3, "x......", "xxx...."),
    ],
)
def test_a_vote_needs_k_of_the_last_n(needed, frames, flags, expected):
    assert called(VoteRule(needed, frames), flags) == expected


@pytest.mark.parametrize("jump", [-1, -5 * SECOND_NS, 2 * SECOND_NS])
def test_a_jump_in_time_starts_the_vote_anew(jump):
    third = SECOND_NS // 10 + jump
    assert called(VoteRule(2, 3), "xxx", [0, SECOND_NS // 10, third]) == ".x."


def test_the_same_stamp_twice_is_no_jump():
    assert called(VoteRule(2, 3), "xx", [7, 7]) == ".x"


def test_two_cameras_do_not_share_a_vote():
    first, second = Vote(VoteRule(2, 2)), Vote(VoteRule(2, 2))
    first.add(True, 0)
    assert not second.add(True, 1)


@pytest.mark.parametrize(("needed", "frames"), [(0, 1), (3, 2), (-1, 5)])
def test_a_rule_that_is_none_is_refused(needed, frames):
    with pytest.raises(ValueError, match="no vote"):
        VoteRule(needed, frames)
