"""How a camera's frames are numbered, counted and flagged."""

from __future__ import annotations

from zmask_ros.flags.alarm import AlarmRule
from zmask_ros.flags.camera_flags import CameraFlags
from zmask_ros.flags.flag import Flag, FrameCounts, FrameState, FrameVerdict, Region

UNKNOWN, CLEAN, ATTACK = FrameState
FRAME_NS = 100_000_000


def verdict(state: FrameState) -> FrameVerdict:
    return FrameVerdict(state, 0.5, 0.25)


def flag(flags: CameraFlags, state: FrameState, *, dropped: bool = False, heeded: bool = True) -> Flag:
    """The flag of the next frame."""
    sequence = flags.received()
    return flags.flag(verdict(state), "profile", sequence, sequence * FRAME_NS, 1.0, dropped=dropped, heeded=heeded)


def test_a_flag_has_all_that_is_said_of_its_frame() -> None:
    said = FrameVerdict(ATTACK, 0.5, 0.25, "because", 0.75, 0.125, (Region(1, 2, 3, 4, 0.5, 0.125),), {"network": 9.0})
    flags = CameraFlags("front", AlarmRule())
    made = flags.flag(said.after_waiting(2.0), "a.safetensors@0", flags.received(), 7, 12.5)
    assert made == Flag(
        ATTACK,
        0.5,
        0.25,
        "because",
        0.75,
        0.125,
        said.regions,
        {"wait": 2.0, "network": 9.0},
        camera="front",
        alarm=ATTACK,
        profile="a.safetensors@0",
        sequence=1,
        latency_ms=12.5,
        counts=FrameCounts(received=1, processed=1),
    )
    assert list(made.stages_ms) == ["wait", "network"]


def test_each_frame_is_processed_dropped_or_failed() -> None:
    flags = CameraFlags("front", AlarmRule())
    ends = [(CLEAN, False), (UNKNOWN, True), (ATTACK, False), (UNKNOWN, False)]
    counts = [flag(flags, state, dropped=dropped).counts for state, dropped in ends]
    assert counts == [
        FrameCounts(1, 1, 0, 0),
        FrameCounts(2, 1, 1, 0),
        FrameCounts(3, 2, 1, 0),
        FrameCounts(4, 2, 1, 1),
    ]


def test_a_frame_in_work_is_received_and_nothing_else_yet() -> None:
    flags = CameraFlags("front", AlarmRule())
    first, second = flags.received(), flags.received()
    assert flags.counts == FrameCounts(received=2)
    late = flags.flag(verdict(UNKNOWN), "profile", first, 0, 1.0, dropped=True)
    assert (late.sequence, second, late.counts) == (1, 2, FrameCounts(2, 0, 1, 0))


def test_silence_is_about_no_frame() -> None:
    flags = CameraFlags("front", AlarmRule())
    before = flag(flags, ATTACK)
    silence = flags.silence(verdict(UNKNOWN), "profile")
    assert (silence.sequence, silence.latency_ms, silence.counts) == (0, 0.0, before.counts)
    assert (silence.state, silence.alarm) == (UNKNOWN, ATTACK)


def test_a_frame_that_is_not_heeded_does_not_change_the_alarm() -> None:
    flags = CameraFlags("front", AlarmRule())
    states = [flag(flags, state, heeded=heeded) for state, heeded in ((CLEAN, True), (ATTACK, False), (ATTACK, True))]
    assert [made.alarm for made in states] == [CLEAN, CLEAN, ATTACK]


def test_time_that_jumps_back_is_noticed_once_and_nothing_is_known_then() -> None:
    flags = CameraFlags("front", AlarmRule())
    flag(flags, ATTACK)
    jumps = [(flags.jumped_back(stamp), flags.alarm.state) for stamp in (5, 5, 9, 2, 3)]
    assert jumps == [(False, ATTACK)] * 3 + [(True, UNKNOWN), (False, UNKNOWN)]
