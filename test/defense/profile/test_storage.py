"""What of a profile comes back from its file, and from files that were written before."""

import dataclasses

import pytest
import torch

from support import tiny_network
from support.profiles import with_changed
from zmask_ros.defense import load_profile, save_profile
from zmask_ros.defense.profile import storage
from zmask_ros.defense.profile.detector import RateInterval
from zmask_ros.defense.profile.profile import PAPER, ProfileError
from zmask_ros.defense.profile.storage import profile_digest
from zmask_ros.flags.alarm import VoteRule
from zmask_ros.flags.flag import profile_identity
from zmask_ros.segmenters import load_segmenter
from zmask_ros.training.adversarial import with_untrained_head


def test_profiles_from_before_votes_and_intervals_load(fitted, tmp_path, monkeypatch):
    describe = storage._describe

    def as_it_was(described):
        entries = describe(described)
        del entries["vote"], entries["variant"], entries["precaution"], entries["threshold"]["interval"]
        return entries

    monkeypatch.setattr(storage, "_describe", as_it_was)
    old = tmp_path / "old.zmask.safetensors"
    save_profile(fitted, old)
    loaded = load_profile(old)
    assert (loaded.variant, loaded.vote, loaded.detector.threshold.interval) == ("ours", VoteRule(1, 1), None)
    assert loaded.detector.threshold.value == fitted.detector.threshold.value


def test_interval_variant_vote_and_precaution_come_back_as_they_were_saved(fitted, tmp_path):
    interval = RateInterval(0.001, 0.02, 0.95, 1, 120)
    threshold = dataclasses.replace(fitted.detector.threshold, interval=interval)
    precaution = dataclasses.replace(threshold, value=threshold.value / 2, false_alarm_rate=0.05)
    saved = dataclasses.replace(fitted, vote=VoteRule(3, 5), variant=PAPER)
    saved = with_changed(saved, threshold=threshold, precaution=precaution)
    path = tmp_path / "a.zmask.safetensors"
    save_profile(saved, path)
    again = load_profile(path)
    assert (again.detector.threshold.interval, again.vote, again.variant) == (interval, VoteRule(3, 5), PAPER)
    assert again.detector.precaution == precaution


def test_a_profile_has_one_file_and_one_name_however_often_it_is_saved(fitted, tmp_path):
    path = tmp_path / "a.zmask.safetensors"
    names = set()
    for _ in range(12):
        save_profile(fitted, path)
        names.add(profile_identity(path))
        assert profile_digest(load_profile(path)) == profile_digest(fitted)
    assert len(names) == 1


def test_the_reference_of_drift_comes_back_and_profiles_from_before_it_load(tmp_path, monkeypatch):
    saved = load_profile(tiny_network.fit_long(tiny_network.describe(tmp_path)))
    path = tmp_path / "a.zmask.safetensors"
    save_profile(saved, path)
    again = load_profile(path)
    assert (again.drift.drives, again.drift.scales) == (saved.drift.drives, saved.drift.scales)
    assert all(torch.equal(again.drift.stretches[name], own) for name, own in saved.drift.stretches.items())
    describe = storage._describe
    monkeypatch.setattr(storage, "_describe", lambda own: {k: v for k, v in describe(own).items() if k != "drift"})
    save_profile(saved, path)
    assert load_profile(path).drift is None


def test_a_head_of_a_newer_version_is_refused_with_a_sentence(tmp_path, monkeypatch):
    segmenter = load_segmenter(str(tiny_network.describe(tmp_path)), "cpu")
    frames = [tiny_network.clean_image(index) for index in range(4)]
    profile = load_profile(tiny_network.fit(tiny_network.describe(tmp_path)))
    path = tmp_path / "new.zmask.safetensors"
    with_head = with_untrained_head(segmenter, profile, ("0",), frames)
    save_profile(with_head, path)
    assert load_profile(path).detector.head.kind is with_head.detector.head.kind
    describe = storage._describe

    def newer(described):
        entries = describe(described)
        entries["head"]["kind"] = "smells"
        return entries

    monkeypatch.setattr(storage, "_describe", newer)
    save_profile(with_head, path)
    with pytest.raises(ProfileError, match="sees smells, which is unknown here"):
        load_profile(path)
