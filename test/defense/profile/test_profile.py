"""Profiles: what is fitted, how they merge, and what is refused."""

import dataclasses
import json

import pytest
import torch

from support import tiny_network
from support.profiles import with_changed
from zmask_ros.defense import ProfileError, check_binding, load_profile, merge_profiles, save_profile
from zmask_ros.defense.defense import Defense
from zmask_ros.defense.profile.merging import NO_PRECAUTION
from zmask_ros.errors import ZmaskError
from zmask_ros.resources import shipped_profile
from zmask_ros.segmenters import load_segmenter
from zmask_ros.training.clean_fit import ProfileFit
from zmask_ros.training.plans import mean_z_plan
from zmask_ros.training.sources import CleanFrame
from zmask_ros.training.thresholds import clean_threshold, precaution_threshold


def fitted(segmenter, drives: dict[str, range], image=tiny_network.clean_image):
    fit = ProfileFit(segmenter, mean_z_plan(segmenter))
    for bag, indices in drives.items():
        fit.add_all(CleanFrame(bag, "/image_raw", place, image(index)) for place, index in enumerate(indices))
    return fit.finish(0.01)


@pytest.fixture(scope="module")
def profile(segmenter):
    return fitted(segmenter, {"first": range(40)})


def test_it_comes_back_as_it_was_saved(profile, tmp_path):
    path = tmp_path / "a.zmask.safetensors"
    save_profile(profile, path)
    again = load_profile(path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.zmask.safetensors"]
    assert with_changed(again, statistics={}, fusion=None) == with_changed(profile, statistics={}, fusion=None)
    torch.testing.assert_close(again.detector.fusion, profile.detector.fusion, rtol=0, atol=0)
    for key, statistics in profile.detector.statistics.items():
        torch.testing.assert_close(again.detector.statistics[key].moments.m2, statistics.moments.m2, rtol=0, atol=0)
    assert again.sources[0].frames == 32
    assert again.sources[0].held_out == again.detector.threshold.frames == 8


def test_merged_profiles_have_the_statistics_of_fitting_both_drives_at_once(segmenter):
    first, second = (fitted(segmenter, {name: r}) for name, r in (("a", range(40)), ("b", range(50, 97))))
    both = fitted(segmenter, {"a": range(40), "b": range(50, 97)})
    merged = merge_profiles(first, second)
    assert merged.frames == both.frames
    for key, statistics in both.detector.statistics.items():
        torch.testing.assert_close(merged.detector.statistics[key].mean, statistics.mean, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(
            merged.detector.statistics[key].deviations, statistics.deviations, rtol=1e-9, atol=1e-9
        )
    assert merged.detector.threshold.value == max(first.detector.threshold.value, second.detector.threshold.value)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(profile, tmp_path, share):
    path = tmp_path / "a.zmask.safetensors"
    save_profile(profile, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ProfileError, match="damaged"):
        load_profile(path)


def test_an_edited_file_is_refused(profile, tmp_path):
    path = tmp_path / "a.zmask.safetensors"
    save_profile(profile, path)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(ProfileError, match="changed after it was written"):
        load_profile(path)
    save_profile(profile, path)
    rate = json.dumps(profile.detector.threshold.false_alarm_rate).encode()
    path.write_bytes(path.read_bytes().replace(rate, b"0.02"))
    with pytest.raises(ProfileError, match="changed after it was written"):
        load_profile(path)


def test_what_is_no_profile_is_refused(tmp_path):
    with pytest.raises(ProfileError, match="There is no profile"):
        load_profile(tmp_path / "missing.zmask.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(ProfileError, match="damaged or no profile"):
        load_profile(tmp_path / "text.safetensors")


def test_no_profile_is_written_where_there_is_no_folder(profile, tmp_path):
    with pytest.raises(ZmaskError, match="cannot be written"):
        save_profile(profile, tmp_path / "missing" / "a.zmask.safetensors")


def changed(profile, **changes):
    return dataclasses.replace(profile, binding=dataclasses.replace(profile.binding, **changes))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"digest": "0" * 64}, "network"),
        ({"input_size": (96, 128)}, "input size"),
        ({"mean": (0.0, 0.0, 0.0)}, "mean"),
        ({"std": (1.0, 1.0, 1.0)}, "std"),
        ({"shapes": {"0": (6, 48, 64), "1": (8, 48, 64)}}, "layers"),
        ({"shapes": {"0": (6, 48, 64), "2": (9, 48, 64)}}, "shape of 2"),
    ],
)
def test_a_profile_of_something_else_is_refused_and_the_difference_named(segmenter, profile, changes, named):
    with pytest.raises(ProfileError, match=f"fitted on something else: .*{named} \\(profile: "):
        Defense(segmenter, changed(profile, **changes))


def test_a_network_without_the_profiles_layers_is_another_network(segmenter, profile):
    other = changed(profile, digest="0" * 64, shapes={"0": (6, 48, 64), "stem": (8, 48, 64)})
    with pytest.raises(ProfileError, match="fitted on something else: network \\(profile: "):
        check_binding(other.binding, segmenter, tuple(other.binding.shapes))


def test_a_profile_of_another_network_is_refused(profile, tmp_path):
    other = load_segmenter(str(tiny_network.describe(tmp_path, seed=1)), "cpu")
    with pytest.raises(ProfileError, match="network"):
        Defense(other, profile)


def test_statistics_that_are_not_finite_are_refused(segmenter, profile, tmp_path):
    handle = segmenter.network[0].register_forward_hook(lambda _m, _i, output: output * float("inf"))
    try:
        with pytest.raises(ProfileError, match="not finite"):
            fitted(segmenter, {"first": range(40)})
    finally:
        handle.remove()
    path = tmp_path / "nan.zmask.safetensors"
    save_profile(with_changed(profile, fusion=profile.detector.fusion * float("nan")), path)
    with pytest.raises(ProfileError, match="not finite"):
        load_profile(path)


def test_a_black_drive_is_refused(segmenter):
    def black(index):
        return tiny_network.clean_image(index) * 0

    with pytest.raises(ProfileError, match="was the camera covered"):
        fitted(segmenter, {"night": range(60)}, black)


def test_too_few_frames_are_refused(segmenter):
    with pytest.raises(ProfileError, match="too few"):
        fitted(segmenter, {"short": range(6)})
    with pytest.raises(ProfileError, match="too few"):
        fitted(segmenter, {})


def test_a_threshold_is_a_quantile_where_frames_suffice():
    scores = [i / 1000 for i in range(2000)]
    threshold = clean_threshold(scores, 0.01)
    assert sum(score > threshold.value for score in scores) == pytest.approx(20, abs=1)


def test_a_threshold_is_beyond_all_clean_scores_where_frames_do_not_suffice():
    generator = torch.Generator().manual_seed(0)
    seen = torch.empty(200).exponential_(generator=generator).tolist()
    threshold = clean_threshold(seen, 0.001)
    assert threshold.value >= max(seen)
    later = torch.empty(100_000).exponential_(generator=generator)
    assert (later > threshold.value).double().mean().item() < 0.01


def test_a_precaution_goes_by_the_frames_that_there_are_however_far_their_tail_reaches():
    scores = [i / 100 for i in range(95)] + [50.0] * 5
    precaution = precaution_threshold(scores, 0.1)
    assert sum(score > precaution.value for score in scores) == pytest.approx(10, abs=1)
    assert precaution.value < 1 < clean_threshold(scores, 0.001).value
    assert (precaution.false_alarm_rate, precaution.frames, precaution.highest_clean_score) == (0.1, 100, 50.0)


def test_merging_keeps_the_higher_precaution_and_says_where_one_is_lost(tmp_path):
    profile = load_profile(tiny_network.fit(tiny_network.describe(tmp_path)))
    low, high = (
        dataclasses.replace(profile.detector.threshold, value=value, false_alarm_rate=0.05) for value in (0.1, 0.2)
    )
    first, second = (with_changed(profile, precaution=each) for each in (low, high))
    both, one = merge_profiles(first, second), merge_profiles(first, profile)
    assert both.detector.precaution == high and NO_PRECAUTION not in both.notes
    assert one.detector.precaution is None and NO_PRECAUTION in one.notes
    # An alarm that one of them raised leaves the masks of both where they were.
    raised = dataclasses.replace(profile.detector.threshold, value=10 * profile.detector.threshold.value)
    detector = profile.detector.with_thresholds(raised, profile.detector.threshold)
    one = dataclasses.replace(profile, detector=detector)
    for merged in (merge_profiles(one, profile), merge_profiles(profile, one)):
        assert merged.detector.threshold.value == raised.value
        assert merged.detector.masking_threshold == profile.detector.threshold.value
        assert NO_PRECAUTION not in merged.notes


def test_the_shipped_profile_is_written_again_as_it_was_read(tmp_path):
    shipped = shipped_profile("lraspp_camvid")
    save_profile(load_profile(shipped), tmp_path / "again.safetensors")
    first, second = shipped.read_bytes(), (tmp_path / "again.safetensors").read_bytes()
    # safetensors writes the two entries of the metadata in any order; all else is the same byte for byte.
    length = 8 + int.from_bytes(first[:8], "little")
    assert first[:8] == second[:8] and first[length:] == second[length:]
    assert json.loads(first[8:length]) == json.loads(second[8:length])
