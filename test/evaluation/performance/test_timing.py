"""Two computations in turn: their order, results and times."""

from __future__ import annotations

import time

import pytest
import torch

from zmask_ros.evaluation.performance.timing import Quartiles, median_ratio, timed_in_turn

CPU = torch.device("cpu")


def test_each_goes_first_in_turn_and_sees_every_input_once() -> None:
    order: list[str] = []
    pairs = list(
        timed_in_turn(CPU, lambda i: order.append(f"a{i}") or i, lambda i: order.append(f"b{i}") or 2 * i, range(4))
    )
    assert order == ["a0", "b0", "b1", "a1", "a2", "b2", "b3", "a3"]
    assert [(one.result, two.result) for one, two in pairs] == [(0, 0), (1, 2), (2, 4), (3, 6)]
    assert all(one.milliseconds >= 0 and two.milliseconds >= 0 for one, two in pairs)


def test_the_ratio_is_of_the_second_to_the_first() -> None:
    assert median_ratio(CPU, lambda _: time.sleep(0.002), lambda _: time.sleep(0.01), range(3)) > 2


def test_quartiles_by_hand() -> None:
    assert Quartiles.of([5, 1, 2, 3, 4]) == Quartiles(2, pytest.approx(3), 4)
