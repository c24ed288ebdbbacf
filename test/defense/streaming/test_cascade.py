"""Streaming mode with a screen: what the screen is enough for, and what attackers make of it."""

import math

import pytest
import torch

from support.patched_street import ELSEWHERE, FAR, FRAME_NS, HERE, Drive, covered, follow, see_as_a_whole, street
from support.screened import screened_profile, set_screen_bias
from zmask_ros.defense import CameraState, Defense, StreamingDefense
from zmask_ros.defense.streaming.camera_state import ALERT_S


@pytest.fixture(scope="module")
def screened(segmenter, fitted):
    return screened_profile(segmenter, fitted)


@pytest.fixture
def drive(screened, segmenter):
    return Drive(StreamingDefense(Defense(segmenter, screened)))


def blind(drive):
    """Nothing is suspicious to the screen any more: what an attacker who knows it would like best."""
    set_screen_bias(drive.streaming, -50.0)


def whole(defended) -> bool:
    return defended.fully_analyzed[0]


def test_the_first_frame_is_fully_analyzed_and_the_next_ones_are_screened(drive):
    assert whole(drive.see(street())[0])
    defended, passes = drive.see(street(index=4))
    assert passes == 1
    assert not whole(defended)
    assert "screening" in defended.stages_ms
    assert not defended.flagged[0]
    assert not defended.mask.any()
    assert defended.analysis.score[0] <= defended.thresholds.masking


def test_a_patch_is_found_in_the_frame_in_which_it_comes(drive):
    drive.see(street())
    see_as_a_whole(drive)
    assert drive.state.sighting is not None


def test_after_an_attack_the_next_frame_is_fully_analyzed_until_it_is_followed(drive):
    blind(drive)
    assert all(whole(drive.see(street(HERE))[0]) for _ in range(3))
    assert drive.see(street(HERE))[0].tracked[0]


def test_next_to_a_known_patch_the_screen_is_enough_once_the_track_is_checked(drive):
    follow(drive, HERE)
    checked = drive.see(street(HERE, index=4))[0]
    assert checked.tracked[0]
    assert whole(checked)
    defended, passes = drive.see(street(HERE, index=5))
    assert passes == 1
    assert defended.tracked[0]
    assert defended.flagged[0]
    assert not whole(defended)


def test_a_second_patch_is_seen_by_the_screen(drive):
    near, far = ELSEWHERE, FAR
    follow(drive, near)
    for index in (4, 5):
        seen = drive.see(street(near, index=index))[0]
    assert not whole(seen)
    defended, passes = drive.see(street(near, far, index=4))
    assert passes == 2
    assert whole(defended)
    assert whole(drive.see(street(near, far, index=4))[0])


def test_a_patch_that_evades_the_screen_is_found_at_the_next_keyframe(drive):
    blind(drive)
    drive.see(street())
    frames = 0
    while not drive.see(street(HERE))[0].flagged[0]:
        frames += 1
        assert frames * FRAME_NS < drive.streaming.keyframe_interval_s * 1e9
    assert frames > 0
    assert [bool(drive.see(street(HERE))[0].tracked[0]) for _ in range(3)] == [False, False, True]


def test_after_an_attack_the_screen_is_not_enough_for_a_while(drive):
    blind(drive)
    drive.see(street(HERE))
    gone = drive.see(street(index=4))[0]
    assert whole(gone)
    assert not gone.flagged[0]
    assert drive.see(street(HERE))[0].flagged[0], "came back within the alert"
    for _ in range(2 + round(ALERT_S * 1e9 / FRAME_NS)):
        drive.see(street(index=4))
    assert not all(whole(drive.see(street(index=4))[0]) for _ in range(2)), "one of them is no keyframe"


@pytest.mark.parametrize("raised", [False, True])
def test_a_patch_that_cannot_be_followed_is_segmented_twice_in_every_frame(drive, monkeypatch, raised):
    """Also one that only a precaution masks, since the alarm's threshold is high."""
    blind(drive)
    monkeypatch.setattr(drive.streaming.tracker, "learn", lambda *_: None)
    if raised:
        drive.streaming.defense.precaution, drive.streaming.defense.threshold = drive.streaming.defense.threshold, 1e6
    seen = [drive.see(street(HERE, index=index))[0] for index in range(40)]
    assert all("second pass" in result.stages_ms for result in seen)
    # A precaution that makes no difference leaves no mask.
    assert [bool(result.mask.any()) for result in seen].count(True) >= (30 if raised else 40)


def test_a_track_that_leaves_a_patch_out_does_not_hide_it(drive, monkeypatch):
    """A decoy whose track is learned without the patch next to it: the patch is masked all the same."""
    blind(drive)
    decoy, patch = ELSEWHERE, FAR
    learn = drive.streaming.tracker.learn

    def of_the_decoy(features, region, score, heat):
        alone = region.clone()
        alone[..., 3:, :] = False
        return learn(features, alone, score, heat)

    monkeypatch.setattr(drive.streaming.tracker, "learn", of_the_decoy)
    for index in range(40):
        defended, _ = drive.see(street(decoy, patch, index=index))
        assert covered(defended, patch) > 0.7, index


def test_a_full_analysis_that_the_screen_asks_for_does_not_postpone_the_keyframe(drive):
    """A display shows something that alarms the screen alone, and the patch in between."""
    drive.see(street())
    interval_ns, flagged = drive.streaming.keyframe_interval_s * 1e9, []
    for index in range(40):
        alarming = index % 8 == 0
        set_screen_bias(drive.streaming, 50.0 if alarming else -50.0)
        flagged.append(bool(drive.see(street() if alarming else street(HERE))[0].flagged[0]))
    assert flagged.index(True) <= interval_ns / FRAME_NS


@pytest.mark.parametrize("blinded", ["screen", "analysis"])
def test_a_score_that_is_not_a_number_is_not_below_a_threshold(drive, blinded):
    drive.see(street())
    if blinded == "screen":
        set_screen_bias(drive.streaming, math.nan)
        assert whole(drive.see(street())[0])
    else:
        drive.streaming.defense.analyzer.fusion.register_forward_hook(lambda *_: torch.full((1, 1, 6, 8), math.nan))
        assert not drive.see(street(), round(drive.streaming.keyframe_interval_s * 1e9))[0].analysis.score.isfinite()
        assert drive.state.keyframe_ns == FRAME_NS, "a keyframe that says nothing is none"


def test_thresholds_that_are_lowered_lower_the_screens(drive):
    drive.see(street())
    drive.streaming.defense.threshold = -1.0
    assert whole(drive.see(street())[0])


def test_cameras_of_a_batch_do_not_touch_each_other(screened, segmenter):
    streaming = StreamingDefense(Defense(segmenter, screened))
    images = [[street(index=index), street(HERE, index=index)] for index in range(3, 8)]
    images += [[street(ELSEWHERE), street(index=6)]]
    apart, together = [Drive(streaming), Drive(streaming)], (CameraState(), CameraState())
    for index, pair in enumerate(images):
        alone = [drive.see(image)[0] for drive, image in zip(apart, pair, strict=True)]
        x = torch.cat([segmenter.prepare(image) for image in pair])
        both, together = streaming.step(x, together, [(index + 1) * FRAME_NS] * 2)
        for camera, one in enumerate(alone):
            assert torch.equal(both.labels[camera], one.labels[0])
            assert torch.equal(both.mask[camera], one.mask[0])
            assert both.flagged[camera] == one.flagged[0]
            assert both.tracked[camera] == one.tracked[0]
            assert both.fully_analyzed[camera] == one.fully_analyzed[0]
            assert torch.allclose(both.analysis.score[camera], one.analysis.score[0], atol=1e-5)
