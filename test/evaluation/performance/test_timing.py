"""Two computations in turn, and the plain and the defended network: their order, times, ratios, stages and flags."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch
from torch import Tensor

from support.tiny_network import clean_image, describe, fit
from zmask_ros.defense import Defense, Profile, load_profile
from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.performance.timing import (
    PairedTimes,
    Quartiles,
    median_ratio,
    plain_labels,
    streaming_defend,
    time_pairs,
    timed_in_turn,
)
from zmask_ros.segmenters import Segmenter, load_segmenter

CPU = torch.device("cpu")
SLOWDOWN_S = 0.01


def test_each_goes_first_in_turn_and_sees_every_input_once() -> None:
    order: list[str] = []
    pairs = list(timed_in_turn(CPU, (lambda i: order.append(f"a{i}"), lambda i: order.append(f"b{i}")), range(4)))
    assert order == ["a0", "b0", "b1", "a1", "a2", "b2", "b3", "a3"]
    assert len(pairs) == 4 and all(one >= 0 and two >= 0 for one, two in pairs)


def test_the_ratio_is_of_the_second_to_the_first() -> None:
    assert median_ratio(CPU, lambda _: time.sleep(0.002), lambda _: time.sleep(0.01), range(3)) > 2


def test_quartiles_by_hand() -> None:
    assert Quartiles.of([5, 1, 2, 3, 4]) == Quartiles(2, pytest.approx(3), 4)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Segmenter, Profile]:
    description = describe(tmp_path_factory.mktemp("bench"))
    return load_segmenter(str(description), "cpu"), load_profile(fit(description))


@pytest.fixture
def defended(fitted: tuple[Segmenter, Profile]) -> tuple[Segmenter, Defense]:
    return fitted[0], Defense(*fitted)


def test_quartiles_and_ratios_by_hand() -> None:
    times = PairedTimes((10.0, 10.0, 20.0, 40.0, 10.0), (11.0, 12.0, 20.0, 52.0, 50.0), {"network": (1.0, 9.0, 2.0)}, 1)
    assert times.ratio == Quartiles(pytest.approx(1.1), pytest.approx(1.2), pytest.approx(1.3))
    assert times.stage_medians == {"network": 2.0}


def test_frames_that_are_masked_as_a_precaution_are_segmented_twice(defended: tuple[Segmenter, Defense]) -> None:
    segmenter, defense = defended
    defense.threshold, defense.precaution = float("inf"), -1.0
    times = time_pairs(segmenter, defense, [clean_image(index) for index in range(4)])
    assert (times.flagged, times.twice) == (0, 4)


def test_only_flagged_frames_have_a_second_pass(defended: tuple[Segmenter, Defense]) -> None:
    segmenter, defense = defended
    images = [clean_image(index) for index in range(7)]
    advances: list[int] = []
    for threshold, flagged in ((float("inf"), 0), (-1.0, 7)):
        defense.threshold = threshold
        times = time_pairs(segmenter, defense, images, lambda: advances.append(1))
        assert len(times.plain) == len(times.defended) == 7
        assert times.flagged == flagged
        assert len(times.stages.get("second pass", ())) == flagged == times.twice
        assert {"prepare", "network", "analysis"} <= set(times.stages)
        for index, total in enumerate(times.defended):
            assert sum(values[index] for values in times.stages.values()) <= total
    assert len(advances) == 2 * 7


def test_a_slow_analysis_shows_in_the_overhead_and_in_its_stage(
    defended: tuple[Segmenter, Defense], monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter, defense = defended
    defense.threshold = float("inf")
    forward = type(defense.analyzer).forward

    def slow(self: object, taps: object) -> object:
        end = time.perf_counter() + SLOWDOWN_S
        while time.perf_counter() < end:
            pass
        return forward(self, taps)

    monkeypatch.setattr(type(defense.analyzer), "forward", slow)
    times = time_pairs(segmenter, defense, [clean_image(index) for index in range(6)])
    extra = [d - p for d, p in zip(times.defended, times.plain, strict=True)]
    assert np.median(extra) > SLOWDOWN_S * 1e3 * 0.9
    assert times.stage_medians["analysis"] > SLOWDOWN_S * 1e3
    assert times.ratio.median > 1.5


def test_plain_labels_are_the_undefended_ones(defended: tuple[Segmenter, Defense]) -> None:
    segmenter, defense = defended
    image = clean_image(3)
    plain: Tensor = plain_labels(segmenter, image)
    assert plain.dtype == torch.uint8
    assert torch.equal(plain, defense(segmenter.prepare(image)).first.labels)


def test_no_frames_are_refused(defended: tuple[Segmenter, Defense]) -> None:
    with pytest.raises(ZmaskError, match="no frames"):
        time_pairs(*defended, [])


def test_a_patch_that_is_followed_is_segmented_once(defended: tuple[Segmenter, Defense]) -> None:
    segmenter, defense = defended
    image = clean_image(3)
    image[16:32, 24:40] = (255, 255, 0)
    times = time_pairs(segmenter, streaming_defend(defense, 30.0, math.inf), [image] * 6)
    assert (times.flagged, times.tracked) == (6, 5), "between two keyframes"
    assert len(times.stages["second pass"]) == 1
