"""Torch's modes: every case takes the way that it is named for, waits are counted, and what cannot run says why."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.autograd import DeviceType

from zmask_ros.evaluation.performance import modes
from zmask_ros.evaluation.performance.benchmark import CASES
from zmask_ros.evaluation.performance.benchmark_report import modes_markdown
from zmask_ros.evaluation.performance.modes import (
    EAGER,
    FRAME,
    MODES,
    Mode,
    ModeSubject,
    Waits,
    count_waits,
    in_mode,
    own_times,
)
from zmask_ros.evaluation.performance.scaling import torchvision_segmenter

FRAMES = 3
PATCH = np.random.default_rng(0).integers(0, 256, (20, 40, 3), np.uint8)


@pytest.fixture(scope="module")
def subject() -> ModeSubject:
    torch.manual_seed(0)
    return ModeSubject.of(torchvision_segmenter("lraspp_mobilenet_v3_large", (96, 128), "cpu"), FRAMES, PATCH)


def event(name: str, start: float, end: float, device: DeviceType = DeviceType.CPU) -> SimpleNamespace:
    return SimpleNamespace(name=name, time_range=SimpleNamespace(start=start, end=end), device_type=device)


def test_waits_are_counted_within_frames_alone() -> None:
    events = [
        event(FRAME, 0, 10),
        event(FRAME, 20, 30),
        # The same range as the device saw it.
        event(FRAME, 5, 40, DeviceType.CUDA),
        event("cudaLaunchKernel", 1, 2),
        event("cudaStreamSynchronize", 2, 8),
        event("cudaDeviceSynchronize", 9, 12),
        event("cudaStreamSynchronize", 21, 22),
        event("Memcpy DtoH (Device -> Pageable)", 3, 4, DeviceType.CUDA),
        event("Memcpy HtoD (Pageable -> Device)", 3, 4, DeviceType.CUDA),
        # Between the frames, and where the profiler ends.
        event("cudaDeviceSynchronize", 15, 16),
        event("cudaDeviceSynchronize", 35, 45),
    ]
    assert count_waits(events) == Waits(synchronizations=1.5, copies=0.5)


# CPUs that have no instructions for bfloat16 take most of a minute.
@pytest.mark.parametrize("mode", [EAGER, pytest.param(Mode("bfloat16", graphs=False), marks=pytest.mark.slow)])
def test_every_case_goes_its_way(subject: ModeSubject, mode: Mode) -> None:
    measured = subject.measure(mode)
    assert measured.reason == ""
    assert list(measured.cases) == list(CASES)
    own = {case: own_times(times) for case, times in measured.cases.items()}
    assert {case: times.twice for case, times in own.items()} == {
        "clean": 0,
        "full": 0,
        "two_pass": FRAMES,
        "tracked": 0,
    }
    assert {case: times.tracked for case, times in own.items()} == {"clean": 0, "full": 0, "two_pass": 0, "tracked": 3}
    assert (own["clean"].analyzed, own["full"].analyzed, own["tracked"].analyzed) == (0, FRAMES, 0)
    # Nothing waits for a CPU.
    assert set(measured.waits.values()) == {Waits(0, 0)}
    assert measured.batch is not None and min(vars(measured.batch).values()) > 0
    told = measured.to_json()
    assert told["cases"]["tracked"]["tracked"] == FRAMES
    assert told["cases"]["two_pass"]["over_eager_plain"] > 1
    if mode == EAGER:
        assert told["cases"]["two_pass"]["over_eager_plain"] == told["cases"]["two_pass"]["ratio"]


def test_a_mode_that_cannot_run_says_why(subject: ModeSubject, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no compiler\nhere")

    monkeypatch.setattr(modes, "compile_blocks", fail)
    measured = subject.measure(MODES[-1])
    assert measured.reason == "RuntimeError: no compiler here"
    assert "| compiled, CUDA graphs, bfloat16 | not measured: RuntimeError: no compiler here |" in modes_markdown(
        [measured], "here"
    )
    assert measured.to_json()["reason"] == measured.reason


@pytest.mark.slow
def test_the_compiled_network_says_the_same(subject: ModeSubject) -> None:
    image = subject.images["two_pass"][0]
    own = in_mode(subject.segmenter, Mode("float32", graphs=True))
    with torch.inference_mode():
        expected, found = (each.scores(each.prepare(image)) for each in (subject.segmenter, own))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
