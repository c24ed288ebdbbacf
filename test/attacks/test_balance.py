"""One backward pass for all terms of an attack, and the multiplier of a constraint."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support.neighbourly import RECIPE, Frame
from zmask_ros.attacks import train_patch
from zmask_ros.attacks.balance import LEAST_MULTIPLIER, MOST_MULTIPLIER, Balance, EachMeasured, OnePass
from zmask_ros.segmenters import Segmenter


def test_one_pass_gives_the_sum_of_the_measured_gradients() -> None:
    patch = torch.rand(1, 3, 8, 8, requires_grad=True, generator=torch.Generator().manual_seed(0))
    terms = {"large": (0.3, 1e4 * patch.square().sum()), "small": (0.7, 1e-6 * (3 * patch).cos().sum())}
    each, one = EachMeasured(), OnePass({})
    expected = sum(weight * each.of(name, loss, patch) for name, (weight, loss) in terms.items())
    combined = sum(weight * one.of(name, loss, patch) for name, (weight, loss) in terms.items())
    torch.testing.assert_close(one.total(combined, patch), expected, rtol=1e-4, atol=1e-6)


def test_a_term_without_a_slope_counts_nothing() -> None:
    patch = torch.rand(1, 3, 8, 8, requires_grad=True)
    one = OnePass({})
    assert not one.total(one.of("flat", torch.zeros((), requires_grad=True) * 1.0, patch), patch).any()
    assert not one.lengths


@given(st.lists(st.floats(0, 1), max_size=200))
def test_the_multiplier_stays_within_its_limits(shares: list[float]) -> None:
    balance = Balance()
    for share in shares:
        balance.observe(share)
    assert LEAST_MULTIPLIER <= balance.multiplier <= MOST_MULTIPLIER


def test_the_multiplier_grows_while_images_are_above_the_limit_and_falls_while_none_is() -> None:
    balance = Balance()
    for _ in range(30):
        balance.observe(1.0)
    grown = balance.multiplier
    assert grown > 10 * Balance().multiplier
    for _ in range(300):
        balance.observe(0.0)
    assert balance.multiplier < grown / 2


@pytest.mark.parametrize("every", [2, 10])
def test_lengths_measured_now_and_then_give_nearly_the_same_attack(
    segmenter: Segmenter, frames: list[Frame], every: int
) -> None:
    exact = train_patch(segmenter, frames, RECIPE)
    fast = train_patch(segmenter, frames, replace(RECIPE, lengths_every=every))
    assert fast.history[-1].pixel_accuracy == pytest.approx(exact.history[-1].pixel_accuracy, abs=0.05)
