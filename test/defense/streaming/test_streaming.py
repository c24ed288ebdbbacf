"""Streaming mode: every transition of its state, on the tiny network."""

import math
from dataclasses import replace

import pytest
import torch

from support.patched_street import (
    ELSEWHERE,
    FAR,
    FRAME_NS,
    HERE,
    MOVED,
    Drive,
    covered,
    follow,
    see_as_a_whole,
    street,
)
from zmask_ros.defense import CameraState, Defense, StreamingDefense
from zmask_ros.defense.defense import Thresholds
from zmask_ros.defense.streaming.sighting import CLEAR_EXCESS

SECOND = 10**9


@pytest.fixture(scope="module")
def streaming(segmenter, fitted):
    return StreamingDefense(Defense(segmenter, fitted))


@pytest.fixture
def drive(streaming):
    return Drive(streaming)


@pytest.fixture
def tracking(drive):
    follow(drive, HERE)
    return drive


def test_clean_frames_take_one_pass_and_leave_no_track(drive):
    defended, passes = drive.see(street())
    assert passes == 1
    assert not defended.flagged[0]
    assert not defended.tracked[0]
    assert drive.state.track is None


def test_the_first_attacked_frame_is_what_the_whole_analysis_says(drive):
    defended = see_as_a_whole(drive)
    assert not defended.tracked[0]
    assert drive.state.sighting is not None
    assert drive.state.track is None, "it was seen once only"


def test_a_patch_is_trusted_for_as_long_as_it_was_seen(drive):
    """Segmented twice: three frames, then those after twice the time each, and then one in a keyframe interval."""
    twice = [index for index in range(80) if drive.see(street(HERE))[1] == 2]
    interval = math.ceil(drive.streaming.keyframe_interval_s * 1e9 / FRAME_NS)
    assert twice == [0, 1, 2, 4, 8, 16, *range(16 + interval, 80, interval)]


def test_what_is_masked_as_a_precaution_only_is_not_followed(segmenter, fitted):
    streaming = StreamingDefense(Defense(segmenter, fitted))
    streaming.defense.precaution, streaming.defense.threshold = streaming.defense.threshold, 1e6
    drive = Drive(streaming)
    for _ in range(20):
        defended, passes = drive.see(street(HERE))
        assert passes == 2
        assert not defended.tracked[0]
        assert not defended.flagged[0]


def test_an_attack_that_might_soon_score_too_little_is_not_followed(segmenter, fitted):
    streaming = StreamingDefense(Defense(segmenter, fitted))
    drive = Drive(streaming)
    score = float(drive.see(street(HERE))[0].analysis.score)
    streaming.defense.threshold = 1.1 * score / CLEAR_EXCESS
    assert all(drive.see(street(HERE))[1] == 2 for _ in range(20))
    streaming.defense.threshold = 0.9 * score / CLEAR_EXCESS
    assert drive.see(street(HERE))[1] == 2
    assert drive.see(street(HERE))[1] == 1


def test_under_an_alarm_that_was_raised_an_attack_is_followed_as_before(segmenter, fitted):
    score = float(Drive(StreamingDefense(Defense(segmenter, fitted))).see(street(HERE))[0].analysis.score)
    clean = replace(fitted.detector.threshold, value=0.9 * score / CLEAR_EXCESS)
    for ratio, followed in ((0.45, True), (0.55, False)):
        detector = fitted.detector.with_thresholds(replace(clean, value=ratio * score), clean)
        streaming = StreamingDefense(Defense(segmenter, replace(fitted, detector=detector)))
        assert streaming.defense.thresholds == Thresholds(ratio * score, clean.value, clean.value)
        drive = Drive(streaming)
        assert [drive.see(street(HERE))[1] for _ in range(4)] == [2, 2, 2, 1 if followed else 2]
        # What somebody has set by hand is no margin.
        streaming.defense.threshold = 0.9 * score
        assert streaming.defense.thresholds == Thresholds(0.9 * score, clean.value, 0.9 * score)


def test_a_keyframe_that_is_not_called_an_attack_ends_the_track(tracking):
    streaming = tracking.streaming
    threshold = streaming.defense.threshold
    try:
        streaming.defense.threshold = 1e6
        defended, _ = tracking.see(street(HERE))
    finally:
        streaming.defense.threshold = threshold
    assert not defended.flagged[0]
    assert not defended.tracked[0]
    assert (tracking.state.sighting, tracking.state.track) == (None, None)
    assert not tracking.see(street(HERE))[0].tracked[0]


@pytest.mark.parametrize("box", [HERE, MOVED])
def test_a_known_patch_takes_one_pass(tracking, box):
    defended, passes = tracking.see(street(box, index=4))
    assert passes == 1
    assert defended.tracked[0]
    assert defended.flagged[0]
    assert defended.analysis.score[0] > defended.thresholds.attack
    assert covered(defended, box) > 0.7
    assert defended.mask[0].float().mean() < 0.25


def test_what_is_published_of_a_known_patch_does_not_depend_on_it(tracking, segmenter):
    """Outside of the region and what touches it, the segmentation is the one of the same street without the patch."""
    defended, _ = tracking.see(street(HERE, index=4))
    clean = segmenter.logits(segmenter.prepare(street(index=4))).argmax(1)
    far = torch.nn.functional.max_pool2d(defended.mask[:, None].float(), 9, 1, 4)[:, 0] == 0
    assert torch.equal(defended.labels[far].long(), clean[far])


def test_a_patch_that_leaves_is_released_at_once(tracking):
    defended, passes = tracking.see(street(index=4))
    assert passes == 1
    assert not defended.flagged[0]
    assert not defended.mask.any()
    assert tracking.state.track is None


def test_a_keyframe_comes_by_time(tracking):
    interval_ns = round(tracking.streaming.keyframe_interval_s * 1e9)
    assert tracking.see(street(HERE), interval_ns - 1)[1] == 1
    defended, passes = tracking.see(street(HERE), 1)
    assert passes == 2
    assert not defended.tracked[0]
    assert tracking.state.keyframe_ns == tracking.now_ns


@pytest.mark.parametrize("jump_ns", [-FRAME_NS, 2_000_000_000])
def test_a_jump_in_time_is_a_keyframe(segmenter, streaming, jump_ns):
    long = StreamingDefense(streaming.defense, keyframe_interval_s=60.0)
    drive = Drive(long)
    drive.see(street(HERE))
    drive.see(street(HERE))
    drive.see(street(HERE), SECOND)
    assert drive.see(street(HERE))[1] == 1
    assert drive.see(street(HERE), jump_ns)[1] == 2


def test_a_patch_that_grows_is_fully_analyzed(tracking):
    large = (8, 16, 32)
    defended, passes = tracking.see(street(large))
    assert passes == 2
    assert not defended.tracked[0]


def test_a_second_patch_is_seen_between_keyframes(drive):
    near, far = ELSEWHERE, FAR
    follow(drive, near)
    defended, passes = drive.see(street(near, far))
    assert passes == 2
    assert covered(defended, near) > 0.7
    assert covered(defended, far) > 0.7
    assert drive.state.track is None
    defended, passes = drive.see(street(near, far))
    assert passes == 2
    assert not defended.tracked[0]
    assert drive.see(street(near, far))[1] == 1, "both are known now"


def test_a_second_patch_within_reach_is_masked_with_the_first(tracking):
    neighbor = (16, 8, 16)
    defended, _ = tracking.see(street(HERE, neighbor))
    assert covered(defended, HERE) > 0.7
    assert covered(defended, neighbor) > 0.7


def test_without_time_between_keyframes_it_is_the_whole_analysis_of_each_frame(streaming):
    drive = Drive(StreamingDefense(streaming.defense, keyframe_interval_s=0.0))
    for image in (street(), street(HERE), street(MOVED), street(HERE, ELSEWHERE), street()):
        defended, _ = drive.see(image)
        alone = streaming.defense(streaming.defense.segmenter.prepare(image))
        assert torch.equal(defended.labels, alone.labels)
        assert torch.equal(defended.mask, alone.mask)
        assert torch.equal(defended.analysis.score, alone.analysis.score)
        assert not defended.tracked.any()


def test_cameras_of_a_batch_do_not_touch_each_other(streaming, segmenter):
    frames = [[street(HERE), street(), street(ELSEWHERE)]] * 3
    frames += [[street(HERE), street(HERE), street(ELSEWHERE)], [street(MOVED), street(HERE), street()]]
    states = [CameraState()] * 3
    alone, tracked = [Drive(streaming) for _ in range(3)], []
    for number, images in enumerate(frames, 1):
        x = torch.cat([segmenter.prepare(image) for image in images])
        together, states = streaming.step(x, states, [number * FRAME_NS] * 3)
        for index, (image, drive) in enumerate(zip(images, alone, strict=True)):
            single, _ = drive.see(image)
            assert torch.equal(together.labels[index], single.labels[0])
            assert torch.equal(together.mask[index], single.mask[0])
            assert together.tracked[index] == single.tracked[0]
            torch.testing.assert_close(together.analysis.score[index], single.analysis.score[0])
        tracked.append(together.tracked.tolist())
    assert tracked[3] == [True, False, True]


def test_no_hook_is_left_behind(tracking, segmenter):
    with pytest.raises(RuntimeError):
        tracking.streaming.step(torch.zeros(1, 5, 48, 64), [tracking.state], [tracking.now_ns])
    assert not any(module._forward_hooks for module in segmenter.network.modules())
