"""The frames of the benchmark, and its figures."""

from __future__ import annotations

import numpy as np
import torch

from support.tiny_network import clean_image
from zmask_ros.defense import Defense
from zmask_ros.evaluation.performance.benchmark import (
    Benchmark,
    BenchSubject,
    attacked_frames,
    batch_gain,
    clean_frames,
    tracked_frames,
)
from zmask_ros.evaluation.performance.benchmark_report import markdown
from zmask_ros.evaluation.performance.footprint import Footprint
from zmask_ros.evaluation.performance.timing import PairedTimes
from zmask_ros.segmenters import Segmenter

TIMES = PairedTimes((10.0, 10.0), (11.0, 12.0), {"network": (1.0, 9.0), "second pass": (4.0,)}, 1, analyzed=2)


def test_attacked_frames_differ_only_where_the_patch_is() -> None:
    clean = clean_frames(3, 96, 72)
    assert len(clean) == 3
    assert clean[0].shape == (72, 96, 3)
    attacked = attacked_frames(clean, np.full((40, 80, 3), 255, np.uint8))
    for before, after in zip(clean, attacked, strict=True):
        changed = (before != after).any(2).mean()
        assert 0.02 < changed < 0.3


def test_a_tracked_patch_sways() -> None:
    first, last = tracked_frames(20, 96, 72, np.full((40, 40, 3), 255, np.uint8))[::19]
    white = [np.flatnonzero((image[36] == 255).all(-1)) for image in (first, last)]
    assert len(white[0]) == len(white[1]) == 25
    assert white[0][0] < white[1][0]


def test_figures_by_hand() -> None:
    subject = BenchSubject("tiny", "96x72", "64x48", "cpu", 1, "2")
    benchmark = Benchmark(subject, {"96x72": {"two_pass": TIMES}}, {"naive_analysis": 5.0})
    figures = benchmark.to_json()
    assert list(figures) == [
        *("segmenter", "image_size", "input_size", "device", "threads", "torch", "neighbours"),
        *("overhead_two_pass", "two_pass", "naive_analysis"),
    ]
    assert figures["overhead_two_pass"] == 1.15
    assert figures["two_pass"] == {
        "frames": 2,
        "flagged": 1,
        "analysed_as_a_whole": 2,
        "segmented_once": 1,
        "overhead_mean": 1.15,
        "overhead_quartiles": [1.125, 1.15, 1.175],
        "plain_ms_quartiles": [10.0, 10.0, 10.0],
        "defended_ms_quartiles": [11.25, 11.5, 11.75],
        "plain_ms_p99": 10.0,
        "defended_ms_p99": 11.99,
        "stages_ms": {"network": 5.0, "second pass": 4.0},
    }
    footprints = {"torch": Footprint(4.25, 800.4)}
    text = markdown(Benchmark(subject, {"96x72": {"clean": TIMES, "two_pass": TIMES}}, {}, footprints=footprints))
    assert "| 96x72 | an attacked frame, segmented twice | 10.0 / 10.0 ms | 11.5 / 12.0 ms |" in text
    assert "| torch | 4.2 s | 800 MiB |" in text


def test_a_batch_is_compared_with_its_images_one_by_one(defended: tuple[Segmenter, Defense]) -> None:
    segmenter, defense = defended
    assert batch_gain(defense, torch.cat([segmenter.prepare(clean_image(i)) for i in range(4)]), 3) > 0
