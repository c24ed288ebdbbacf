"""What was observed of drives merges: the same comes out wherever it was observed, and however it got there."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from support.tiny_network import clean_image
from zmask_ros.segmenters import Segmenter
from zmask_ros.training.bag_fit import Observing, PartwiseFit
from zmask_ros.training.clean_fit import ProfileFit
from zmask_ros.training.observations import Observations, Sample, pack, packed_remarks, priority_of, unpack
from zmask_ros.training.plans import mean_z_plan
from zmask_ros.training.sources import CleanFrame

priorities = st.lists(st.integers(0, 30), max_size=60)


def sample_of(own: list[int], capacity: int, **arguments: int) -> Sample[int]:
    sample = Sample[int](capacity, **arguments)
    for index, priority in enumerate(own):
        sample.add(index, priority)
    return sample


@given(st.lists(priorities, max_size=5), st.integers(1, 20))
def test_samples_that_are_merged_are_the_sample_of_all(parts: list[list[int]], capacity: int) -> None:
    together, whole, number = Sample[tuple[int, int]](capacity), [], 0
    for part in parts:
        own = Sample[tuple[int, int]](capacity, ceiling=together.ceiling)
        for priority in part:
            own.add((number, priority), priority)
            whole.append((priority, number))
            number += 1
        together.merge(own)
    assert together.seen == number
    expected = sorted(number for _, number in sorted(whole)[:capacity])
    assert [item for item, _ in together.items] == expected


@given(priorities, st.integers(1, 20))
def test_what_is_above_the_ceiling_would_not_be_taken(own: list[int], capacity: int) -> None:
    sample = sample_of(own, capacity)
    before = sample.items
    sample.add(-1, sample.ceiling + 1) if len(own) >= capacity else None
    assert sample.items == before


def test_a_sample_stays_small_and_takes_from_everywhere() -> None:
    sample = Sample[int](capacity=50)
    image = np.zeros((4, 4, 3), np.uint8)
    for index in range(5000):
        sample.add(index, priority_of(image, index))
    kept = np.array(sample.items)
    assert len(kept) == 50
    assert 1500 < kept.mean() < 3500
    assert (np.diff(kept) > 0).all()


def test_a_priority_is_that_of_a_picture_and_its_place() -> None:
    image = clean_image(1)
    assert priority_of(image, 3) == priority_of(np.asfortranarray(image), 3)
    assert len({priority_of(image, 3), priority_of(image, 4), priority_of(clean_image(2), 3)}) == 3


def drive(name: str, frames: int, first: int = 0) -> list[CleanFrame]:
    return [CleanFrame(name, "/image_raw", index, clean_image(first + index)) for index in range(frames)]


def observed(segmenter: Segmenter, frames: list[CleanFrame]) -> Observations:
    return Observing((mean_z_plan(segmenter),), 0, 3).observe(segmenter, frames)[0]


def assert_equal(one: Observations, other: Observations) -> None:
    assert (one.drives, one.used, one.held_out, one.blank) == (other.drives, other.used, other.held_out, other.blank)
    assert one.moments.keys() == other.moments.keys()
    for group, by_key in one.moments.items():
        for key, moments in by_key.items():
            own = other.moments[group][key]
            assert moments.count == own.count
            torch.testing.assert_close(moments.mean, own.mean, rtol=1e-9, atol=1e-12)
            torch.testing.assert_close(moments.m2, own.m2, rtol=1e-9, atol=1e-12)
    assert [(s.priority, s.place, s.item.group) for s in one.sample.sampled] == [
        (s.priority, s.place, s.item.group) for s in other.sample.sampled
    ]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(one.sample.items, other.sample.items, strict=True))
    for (drive_one, means), (drive_other, others) in zip(one.stretches.finished, other.stretches.finished, strict=True):
        assert drive_one == drive_other
        assert all(torch.equal(means[layer], others[layer]) for layer in others)


def test_what_is_written_is_read_again(segmenter: Segmenter, tmp_path: Path) -> None:
    own = observed(segmenter, drive("a", 45))
    place = tmp_path / "part"
    place.write_bytes(pack([own, Observations()], {"frames": 45}))
    again, empty = unpack(place)
    assert_equal(own, again)
    assert again.sample.seen == own.sample.seen
    assert empty.frames == 0
    assert packed_remarks(place) == {"frames": 45}


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(0, 4), max_size=3, unique=True), st.randoms())
def test_drives_that_are_observed_in_any_order_and_merged_in_theirs_are_as_one_pass(
    segmenter: Segmenter, empty: list[int], order: random.Random
) -> None:
    drives = [drive(f"drive {n}", 0 if n in empty else 12 + n, 100 * n) for n in range(5)]
    whole = ProfileFit(segmenter, mean_z_plan(segmenter), drives=5)
    whole.add_all(frame for own in drives for frame in own)
    numbers = list(range(5))
    order.shuffle(numbers)
    parts = {number: observed(segmenter, drives[number]) for number in numbers}
    merged = Observations()
    for number in range(5):
        merged.merge(parts[number])
    assert_equal(whole.observations, merged)


def test_more_drives_than_are_kept_apart_are_all_counted(segmenter: Segmenter) -> None:
    fit = PartwiseFit(segmenter, "mean-z", drives=20)
    for number in range(20):
        fit.merge(fit.observing.observe(segmenter, drive(f"drive {number}", 10, 10 * number), fit.ceilings))
    profile = fit.finish(0.01)
    assert len(profile.sources) == 20 and profile.frames == 160
