"""Learning a patch's channels from one frame, and finding it again by them."""

from __future__ import annotations

import pytest
import torch

from support.patched_street import ELSEWHERE, HERE, MOVED, street
from zmask_ros.defense import ActivationTaps, Profile
from zmask_ros.defense.streaming.tracking import LEAST_LEVEL, PatchTrack, Tracker, attention_map
from zmask_ros.segmenters import Segmenter

FRAME_S = 0.033


@pytest.fixture
def tracker(fitted: Profile) -> Tracker:
    return Tracker(fitted)


def features(segmenter: Segmenter, tracker: Tracker, *boxes: tuple[int, int, int]) -> list[torch.Tensor]:
    with torch.inference_mode(), ActivationTaps(segmenter.network, [tracker.layer]) as taps:
        segmenter.logits(segmenter.prepare(street(*boxes)))
        return tracker.features(taps[tracker.layer])


def cells(tracker: Tracker, box: tuple[int, int, int]) -> torch.Tensor:
    """The region of a square on the grid, whose cells are 8 pixels wide."""
    region = torch.zeros(1, 1, *tracker.grid, dtype=torch.bool)
    top, left, side = (length // 8 for length in box)
    region[..., top : top + side, left : left + side] = True
    return region


@pytest.fixture
def track(segmenter: Segmenter, tracker: Tracker) -> PatchTrack:
    learned = tracker.learn(features(segmenter, tracker, HERE), cells(tracker, HERE), score=2.0, heat=1.0)
    assert learned is not None
    return learned


def test_the_attention_is_one_on_the_patch_and_zero_on_the_street(segmenter, tracker, track) -> None:
    attention = attention_map(track, features(segmenter, tracker, HERE))
    inside = cells(tracker, HERE)
    assert float(attention[inside].mean()) == pytest.approx(1, abs=1e-3)
    assert float(attention[~inside].mean()) == pytest.approx(0, abs=1e-3)


def test_a_patch_is_found_where_it_has_moved_to(segmenter, tracker, track) -> None:
    found = tracker.find(features(segmenter, tracker, MOVED), track, FRAME_S)
    assert found is not None
    assert torch.equal(found.region, cells(tracker, MOVED))
    assert LEAST_LEVEL * track.score <= found.score <= track.score


def test_a_patch_that_is_gone_or_out_of_reach_is_not_found(segmenter, tracker, track) -> None:
    assert tracker.find(features(segmenter, tracker), track, FRAME_S) is None
    assert tracker.find(features(segmenter, tracker, ELSEWHERE), track, 0.0) is None
    assert tracker.find(features(segmenter, tracker, ELSEWHERE), track, 1.0) is not None


def test_what_nothing_tells_from_the_street_has_no_track(segmenter, tracker) -> None:
    assert tracker.learn(features(segmenter, tracker), cells(tracker, HERE), score=2.0, heat=1.0) is None
