"""The alarm's threshold between clean frames and a patch that is tried, where a head is of other networks."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from support import tiny_network
from support.counting import CountedProgress
from zmask_ros.defense import Defense, load_profile, save_profile
from zmask_ros.segmenters import load_segmenter
from zmask_ros.training.adversarial import with_untrained_head
from zmask_ros.training.bag_fit import PartwiseFit, refit
from zmask_ros.training.clean_fit import CleanMeasurements, ProfileFit
from zmask_ros.training.margin import TRIAL_STEPS, UNTRIED, trial_score, with_margin
from zmask_ros.training.plans import mean_z_plan, plan_of, transfer_plan
from zmask_ros.training.sources import CleanFrame

RATE = 0.01
FRAMES = [CleanFrame("drive", "/image_raw", index, tiny_network.clean_image(index)) for index in range(60)]


def measure(segmenter, plan=transfer_plan) -> CleanMeasurements:
    fit = ProfileFit(segmenter, plan(segmenter), len(FRAMES))
    fit.add_all(FRAMES)
    return fit.measured()


@pytest.fixture(scope="module")
def measured(segmenter):
    return measure(segmenter)


def test_an_alarm_that_is_raised_leaves_the_masks_where_they_were(measured) -> None:
    alone, raised = measured.profile(RATE).detector, measured.profile(RATE, patched=100.0).detector
    assert raised.threshold.value == pytest.approx(math.sqrt(100.0 * alone.threshold.value))
    assert raised.masking_threshold == alone.threshold.value and alone.precaution is None
    assert raised.precaution.false_alarm_rate == raised.threshold.false_alarm_rate == RATE
    # A patch that scores like clean frames moves nothing.
    low = measured.profile(RATE, patched=0.5 * alone.threshold.value).detector
    assert low.precaution is None and low.threshold == alone.threshold


def test_a_patch_is_tried_where_the_head_is_of_other_networks(segmenter, measured, tmp_path) -> None:
    count = CountedProgress()
    profile = with_margin(segmenter, measured, RATE, count)
    assert count.done == {"Trying a patch": TRIAL_STEPS}
    alone, patched = measured.profile(RATE), profile.detector.patched
    assert patched == trial_score(segmenter, alone, [frame.image for frame in measured.held_out])
    assert profile.detector.threshold == measured.profile(RATE, patched=patched).detector.threshold
    # It is kept with the profile, and those of before no patch was tried keep their digest.
    for own in (profile, alone):
        save_profile(own, tmp_path / "a.zmask.safetensors")
        read = load_profile(tmp_path / "a.zmask.safetensors").detector
        assert (read.threshold, read.patched) == (own.detector.threshold, own.detector.patched)
    assert '"patched"' not in str(Path(tmp_path / "a.zmask.safetensors").read_bytes())


def test_no_patch_is_tried_for_mean_z_scores_or_a_head_of_this_very_network(segmenter) -> None:
    frames = [frame.image for frame in FRAMES[:24]]
    plain = measure(segmenter, mean_z_plan)
    learned = plan_of(segmenter, with_untrained_head(segmenter, plain.profile(RATE), ("0", "2"), frames))
    count = CountedProgress()
    assert with_margin(segmenter, plain, RATE, count).detector.patched is None
    assert not learned.head_transfers and transfer_plan(segmenter).head_transfers
    assert not count.done


@pytest.mark.parametrize("odd", ["WithoutGradient", "RefusingGradient"])
def test_a_network_that_cannot_be_attacked_is_fitted_on_clean_frames_alone(tmp_path, odd) -> None:
    path = tiny_network.describe_with(tmp_path, builder=f"support.odd_networks:{odd}", arguments="", layers="")
    segmenter = load_segmenter(path, "cpu")
    profile = with_margin(segmenter, measure(segmenter), RATE)
    assert profile.detector.patched is None and profile.detector.precaution is None
    (note,) = (note for note in profile.notes if note.startswith(UNTRIED))
    assert "). So the alarm's threshold is set by clean frames alone" in note and "\n" not in note
    # Neither lost nor told twice when it is brought to another camera.
    other = refit(segmenter, profile, FRAMES, len(FRAMES), RATE)
    assert [note for note in other.notes if note.startswith(UNTRIED)] == [note]


def test_a_camera_it_is_brought_to_has_alarm_and_masks_no_lower(segmenter, measured) -> None:
    raised = measured.profile(RATE, patched=100.0)
    assert plan_of(segmenter, raised).precaution_rate is None
    fit = PartwiseFit(segmenter, "ours", raised, len(FRAMES))
    fit.merge(fit.observing.observe(segmenter, FRAMES))
    other = fit.finish(RATE, trial=False)
    own = other.detector
    assert own.threshold.value >= raised.detector.threshold.value
    assert raised.detector.masking_threshold <= own.masking_threshold < own.threshold.value
    assert Defense(segmenter, other).thresholds.masking == own.masking_threshold


def test_an_alarm_above_what_patches_score_on_the_new_footage_is_not_kept(segmenter, measured) -> None:
    tried = with_margin(segmenter, measured, RATE).detector
    assert tried.patched < 100.0
    other = refit(segmenter, measured.profile(RATE, patched=1e6), FRAMES, len(FRAMES), RATE).detector
    assert other.threshold.value < 100.0 and other.threshold.value >= other.masking.value


def test_whoever_wants_none_gets_the_thresholds_of_clean_frames(segmenter, measured) -> None:
    fit = PartwiseFit(segmenter, "ours", total=len(FRAMES))
    fit.merge(fit.observing.observe(segmenter, FRAMES))
    without = fit.finish(RATE, trial=False).detector
    assert without.patched is None and without.precaution is None
    assert fit.finish(RATE).detector.patched is not None
