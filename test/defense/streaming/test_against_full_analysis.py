"""Whatever comes, streaming calls nothing an attack, and masks nothing, that the whole analysis gave no reason for.

Drives of any order, with a threshold that changes from frame to frame: so the whole analysis changes its mind, too.
The slow rule beside the state machine looks at every frame's own full analysis, and at the whole past.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.patched_street import ELSEWHERE, FAR, HERE, MOVED, Drive, street
from support.screened import screened_profile
from zmask_ros.defense import Defense, StreamingDefense
from zmask_ros.defense.streaming.sighting import RECENT_ANALYSES
from zmask_ros.flags.alarm import LONGEST_GAP_S

SHOWN = ((), (HERE,), (MOVED,), (ELSEWHERE,), (HERE, FAR))


@dataclass(frozen=True)
class Moment:
    """What is seen, whether it may be called an attack, and milliseconds since the last frame."""

    boxes: tuple[tuple[int, int, int], ...]
    alarming: bool
    after_ms: int


def moments(boxes):
    """Mostly the same for some frames, as on a road."""
    times = st.sampled_from([33, 33, 33, 66, 400, 2000])
    return st.builds(Moment, boxes, st.sampled_from([True, True, True, True, False]), times)


stretches = st.lists(
    st.sampled_from(SHOWN).flatmap(lambda boxes: st.lists(moments(st.just(boxes)), min_size=1, max_size=8)), max_size=4
).map(lambda parts: [moment for part in parts for moment in part])


@pytest.fixture(scope="module")
def defenses(segmenter, fitted):
    """Both kinds of profiles, and the same to look at each frame alone."""
    profiles = (fitted, screened_profile(segmenter, fitted))
    return [(StreamingDefense(Defense(segmenter, profile)), Defense(segmenter, profile)) for profile in profiles]


@dataclass(frozen=True)
class Seen:
    """A frame of the past: its time, whether nothing was removed before its analysis, and what that called it."""

    stamp_ns: int
    untouched: bool
    attack: bool


def may_be_tracked(past: list[Seen], now_ns: int, interval_s: float) -> bool:
    """The rule, told backwards: since when the whole analysis is silent, and for how long it had seen an attack."""
    run: list[int] = []
    later_ns = now_ns
    for seen in reversed(past):
        if later_ns - seen.stamp_ns > LONGEST_GAP_S * 1e9 or (seen.untouched and not seen.attack):
            break
        if seen.untouched:
            run.append(seen.stamp_ns)
        later_ns = seen.stamp_ns
    return len(run) >= RECENT_ANALYSES and now_ns - run[0] < min(run[0] - run[-1], interval_s * 1e9)


@pytest.mark.parametrize("screened", [False, True])
@given(drive_moments=stretches)
@settings(max_examples=40, deadline=None)
def test_streaming_has_no_alarm_and_no_mask_that_the_whole_analysis_did_not_give_reason_for(
    defenses, screened, drive_moments
):
    streaming, full = defenses[screened]
    drive, past = Drive(streaming), []
    attack = full.threshold
    for index, moment in enumerate(drive_moments):
        image = street(*moment.boxes, index=index % 8)
        for defense in (streaming.defense, full):
            defense.precaution, defense.threshold = attack, attack if moment.alarming else 1e6
        try:
            result, _ = drive.see(image, moment.after_ms * 10**6)
            alone = full(full.segmenter.prepare(image))
        finally:
            full.threshold = attack
        # After a second patch next to a removed one, a keyframe is due at once.
        untouched = not result.tracked[0] and drive.state.keyframe_ns is not None
        if untouched:
            assert alone.flagged[0] or not result.flagged[0]
            assert alone.suspicious[0] or not result.suspicious[0]
            if result.fully_analyzed[0]:
                assert bool(result.flagged[0]) == bool(alone.flagged[0])
                assert bool(result.suspicious[0]) == bool(alone.suspicious[0])
            if not result.flagged[0]:
                assert drive.state.track is None
        else:
            assert may_be_tracked(past, drive.now_ns, streaming.keyframe_interval_s)
        past.append(Seen(drive.now_ns, untouched, bool(result.flagged[0])))
