"""The distance from clean stretches: against the slow obvious computation, and what must not change it."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zmask_ros.defense.drift import reference
from zmask_ros.defense.drift.observation import STRETCH_FRAMES, DriftState
from zmask_ros.defense.drift.reference import DriftMeter, LayerDistance, drift_reference
from zmask_ros.defense.evidence.statistics import LayerStatistics, Moments


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def statistics_of(cells: torch.Tensor) -> LayerStatistics:
    """Of cells [N, C], as those of two kernels."""
    return LayerStatistics(Moments.of(cells.T.expand(3, -1, -1)))


@given(st.integers(2, 12), st.integers(1, 20), st.integers(0, 1000))
def test_the_distance_is_that_of_the_formula(stretches, channels, seed):
    clean, seen = drawn(seed, stretches, channels), drawn(seed + 1, 4, channels)
    covariance = torch.cov(clean.T, correction=0).reshape(channels, channels)
    ridge = max(reference.RIDGE * float(covariance.trace()) / channels, reference.LEAST_RIDGE)
    inverse = torch.linalg.inv(covariance + ridge * torch.eye(channels))
    slow = [min(float((x - own) @ inverse @ (x - own)) / channels for own in clean) ** 0.5 for x in seen]
    np.testing.assert_allclose(LayerDistance(clean)(seen), slow, rtol=1e-6)
    np.testing.assert_allclose(LayerDistance(clean)(clean), 0.0, atol=1e-5)


@pytest.fixture
def layers():
    """Two layers: statistics, and 24 stretches of two drives."""
    statistics = {"a": statistics_of(drawn(1, 500, 6)), "b": statistics_of(3 + 2 * drawn(2, 500, 9))}
    stretches = {"a": 0.2 * drawn(3, 24, 6).float(), "b": (3 + 0.4 * drawn(4, 24, 9)).float()}
    return statistics, stretches


def observed(means, frames: int = STRETCH_FRAMES) -> DriftState:
    state = DriftState()
    for _ in range(frames):
        state = state.observed(means)
    return state


def test_held_out_stretches_lie_at_about_one_and_what_no_clean_drive_does_beyond(layers):
    statistics, stretches = layers
    meter = DriftMeter(drift_reference(stretches, (14, 10), statistics), statistics)
    alike = {"a": 0.2 * drawn(5, 6).float(), "b": (3 + 0.4 * drawn(6, 9)).float()}
    other = {name: means + 1.5 for name, means in alike.items()}
    assert meter.layers == ("a", "b")
    assert meter(observed(alike)).distance < 1.3
    far = meter(observed(other))
    assert far.distance > 2
    assert far.distance**2 == pytest.approx(sum(own**2 for own in far.layers.values()) / 2)


def test_units_of_a_layer_do_not_change_the_distance(layers):
    statistics, stretches = layers
    seen = {"a": drawn(7, 6).float(), "b": drawn(8, 9).float()}
    before = DriftMeter(drift_reference(stretches, (24,), statistics), statistics)(observed(seen))
    larger = statistics | {"a": statistics_of(8 * drawn(1, 500, 6))}
    scaled = stretches | {"a": 8 * stretches["a"]}
    after = DriftMeter(drift_reference(scaled, (24,), larger), larger)(observed(seen | {"a": 8 * seen["a"]}))
    assert after.distance == pytest.approx(before.distance, rel=1e-4)


def test_a_channel_that_never_varies_has_no_say(layers):
    statistics, stretches = layers
    dead = {"a": statistics_of(torch.cat([drawn(1, 500, 6), torch.ones(500, 1)], 1))}
    wider = {"a": torch.cat([stretches["a"], torch.ones(24, 1)], 1)}
    state = observed({"a": torch.cat([drawn(9, 6).float(), torch.tensor([5.0])])})
    plain = observed({"a": drawn(9, 6).float()})
    one = DriftMeter(drift_reference(wider, (24,), dead), dead)(state)
    only = {"a": statistics["a"]}
    other = DriftMeter(drift_reference({"a": stretches["a"]}, (24,), only), only)(plain)
    assert one.distance == pytest.approx(other.distance)


def test_merged_references_are_that_of_all_drives(layers):
    statistics, stretches = layers
    parts = [{name: means[where] for name, means in stretches.items()} for where in (slice(14), slice(14, None))]
    first, second = (drift_reference(part, (count,), statistics) for part, count in zip(parts, (14, 10), strict=True))
    whole = drift_reference(stretches, (14, 10), statistics)
    merged = first.merge(second, statistics)
    assert (merged.drives, merged.scales) == (whole.drives, pytest.approx(whole.scales))


def test_without_a_reference_or_enough_frames_it_is_unknown_and_says_why(layers):
    statistics, stretches = layers
    assert drift_reference({name: means[:4] for name, means in stretches.items()}, (4,), statistics) is None
    assert "zmask fit" in DriftMeter(None, statistics)(observed({})).reason
    meter = DriftMeter(drift_reference(stretches, (24,), statistics), statistics)
    seen = {name: means[0] for name, means in stretches.items()}
    early = meter(observed(seen, STRETCH_FRAMES - 1))
    assert np.isnan(early.distance) and str(STRETCH_FRAMES) in early.reason
    assert not np.isnan(meter(observed(seen)).distance)


def test_a_nan_is_found(layers):
    statistics, stretches = layers
    own = drift_reference(stretches, (24,), statistics)
    assert own.finite
    assert not dataclasses.replace(own, scales=own.scales | {"a": float("nan")}).finite
