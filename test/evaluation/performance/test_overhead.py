"""The benchmark: paired ratios, stages, flags, and the command's figures."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from support.profiles import with_changed
from support.tiny_network import clean_image, describe, fit
from zmask_ros.cli.bench import CASES, PERFORMANCE, attacked_frames, clean_frames, command, summary
from zmask_ros.defense import ActivationTaps, Defense, LayerStatistics, Moments, load_profile
from zmask_ros.defense.analyzer import LayerEvidence
from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation import PairedTimes, Quartiles, plain_labels, time_pairs
from zmask_ros.evaluation.performance.overhead import following
from zmask_ros.evaluation.performance.reference import DEMO_GRID, demo_branches, demo_evidence, naive_evidence
from zmask_ros.evaluation.performance.scaling import TORCHVISION, measure_cost, torchvision_segmenter
from zmask_ros.segmenters import Segmenter, load_segmenter

SLOWDOWN_S = 0.01


@pytest.fixture(scope="module")
def description(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return describe(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def profile(description: Path) -> Path:
    return fit(description)


@pytest.fixture
def defended(description: Path, profile: Path) -> tuple[Segmenter, Defense]:
    segmenter = load_segmenter(str(description), "cpu")
    return segmenter, Defense(segmenter, load_profile(profile))


def test_quartiles_and_ratios_by_hand() -> None:
    times = PairedTimes((10.0, 10.0, 20.0, 40.0, 10.0), (11.0, 12.0, 20.0, 52.0, 50.0), {"network": (1.0, 9.0, 2.0)}, 1)
    assert times.ratio == Quartiles(pytest.approx(1.1), pytest.approx(1.2), pytest.approx(1.3))
    assert times.stage_medians == {"network": 2.0}


def test_frames_that_are_masked_as_a_precaution_are_segmented_twice(defended: tuple[Segmenter, Defense]) -> None:
    segmenter, defense = defended
    defense.threshold, defense.precaution = float("inf"), -1.0
    times = time_pairs(segmenter, defense, [clean_image(index) for index in range(4)])
    assert (times.flagged, times.twice) == (0, 4)
    assert summary({"clean": times})["clean"]["segmented_once"] == 0


def test_only_flagged_frames_have_a_second_pass(defended: tuple[Segmenter, Defense]) -> None:
    segmenter, defense = defended
    images = [clean_image(index) for index in range(7)]
    for threshold, flagged in ((float("inf"), 0), (-1.0, 7)):
        defense.threshold = threshold
        times = time_pairs(segmenter, defense, images)
        assert len(times.plain) == len(times.defended) == 7
        assert times.flagged == flagged
        assert len(times.stages.get("second pass", ())) == flagged == times.twice
        assert {"prepare", "network", "analysis"} <= set(times.stages)
        for index, total in enumerate(times.defended):
            assert sum(values[index] for values in times.stages.values()) <= total


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


def test_each_goes_first_in_turn_and_sees_every_frame_once(
    defended: tuple[Segmenter, Defense], monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter, defense = defended
    defense.threshold = float("inf")
    order: list[str] = []
    forward = defense.forward
    monkeypatch.setattr(defense, "forward", lambda x: order.append("defended") or forward(x))
    monkeypatch.setattr(
        "zmask_ros.evaluation.performance.overhead.plain_labels",
        lambda s, image: order.append("plain") or plain_labels(s, image),
        lambda s, image: order.append("plain") or plain_labels(s, image),
    )
    advances: list[int] = []
    time_pairs(segmenter, defense, [clean_image(index) for index in range(4)], lambda: advances.append(1))
    assert order[-8:] == ["plain", "defended", "defended", "plain"] * 2
    assert len(advances) == 4


def test_plain_labels_are_the_undefended_ones(defended: tuple[Segmenter, Defense]) -> None:
    segmenter, defense = defended
    image = clean_image(3)
    plain: Tensor = plain_labels(segmenter, image)
    assert plain.dtype == torch.uint8
    assert torch.equal(plain, defense(segmenter.prepare(image)).first.labels)


def test_no_frames_are_refused(defended: tuple[Segmenter, Defense]) -> None:
    with pytest.raises(ZmaskError, match="no frames"):
        time_pairs(*defended, [])


def test_attacked_frames_differ_only_where_the_patch_is() -> None:
    clean = clean_frames(3, 96, 72)
    assert len(clean) == 3
    assert clean[0].shape == (72, 96, 3)
    attacked = attacked_frames(clean, np.full((40, 80, 3), 255, np.uint8))
    for before, after in zip(clean, attacked, strict=True):
        changed = (before != after).any(2).mean()
        assert 0.02 < changed < 0.3


def test_the_command_reports_overheads(description: Path, profile: Path, tmp_path: Path) -> None:
    patch = tmp_path / "patch.png"
    cv2.imwrite(str(patch), np.random.default_rng(0).integers(0, 256, (20, 40, 3), np.uint8))
    arguments = [
        "--segmenter",
        str(description),
        "--profile",
        str(profile),
        "--patch",
        str(patch),
        "--device",
        "cpu",
        "--frames",
        "4",
        "--size",
        "96x72",
    ]
    result = CliRunner().invoke(command, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert figures["overhead_clean"] > 0
    assert figures["overhead_two_pass"] > 0
    assert figures["overhead_tracked"] > 0
    assert figures["naive_passes"] > 0 and figures["naive_analysis"] > 0
    assert "naive_demo" not in figures
    assert figures["image_size"] == "96x72"
    assert figures["input_size"] == "64x48"
    low, median, high = figures["clean"]["overhead_quartiles"]
    assert low <= median <= high
    assert median == figures["overhead_clean"]
    assert figures["tracked"]["frames"] == 4
    table = CliRunner().invoke(command, arguments)
    assert table.exit_code == 0
    assert "clean: overhead" in table.stdout


def test_how_the_cost_grows_is_measured_and_drawn(description: Path, profile: Path, tmp_path: Path) -> None:
    patch, plot, docs = tmp_path / "patch.png", tmp_path / "cost.svg", tmp_path / "performance.md"
    cv2.imwrite(str(patch), np.random.default_rng(0).integers(0, 256, (20, 40, 3), np.uint8))
    docs.write_text(f"before\n{PERFORMANCE.begin}\n{PERFORMANCE.end}\nafter\n")
    arguments = [
        "--segmenter",
        str(description),
        "--profile",
        str(profile),
        "--patch",
        str(patch),
        "--device",
        "cpu",
        "--frames",
        "2",
        "--size",
        "96x72",
        "--plot",
        str(plot),
        "--json",
    ]
    refused = CliRunner().invoke(command, arguments)
    assert isinstance(refused.exception, ZmaskError)
    assert "add it, or leave --plot away" in str(refused.exception)
    result = CliRunner().invoke(command, [*arguments, "--sweep", "--docs", str(docs)])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert list(figures["input_sizes"]) == ["32x24", "64x48", "96x72", "128x96"]
    assert list(figures["layers"]) == ["1", "2"]
    assert all(cost["two_pass"] > cost["clean"] > 0 for cost in figures["layers"].values())
    assert plot.read_text().startswith("<svg")
    assert "| 96x72 |" in docs.read_text() and docs.read_text().endswith("after\n")


def test_networks_of_torchvision_can_be_timed() -> None:
    segmenter = torchvision_segmenter("lraspp_mobilenet_v3_large", (96, 128), "cpu")
    cost = measure_cost(segmenter, clean_frames(2, 128, 96), TORCHVISION["lraspp_mobilenet_v3_large"])
    assert cost.plain_ms > 0
    assert cost.two_pass > 1.2


def test_the_naive_analysis_says_the_same_where_nothing_is_resampled(defended: tuple[Segmenter, Defense]) -> None:
    """On a layer as large as the grid both pool the same pixels; the sigmas and the cascade are the same."""
    generator = torch.Generator().manual_seed(0)
    profile = with_changed(defended[1].profile, grid_fraction=1)
    detector = profile.detector
    taps = {name: torch.randn(1, *shape, generator=generator) for name, shape in profile.binding.shapes.items()}
    ours = LayerEvidence(detector.shallow, detector.deep, detector.statistics, profile.grid)(taps)
    naive = naive_evidence(profile, taps)
    torch.testing.assert_close(naive.shallow, ours.shallow, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(naive.deep, ours.deep, rtol=1e-3, atol=1e-4)


def test_a_pass_for_each_layer_says_the_same_inside_with_one_sigma_a_channel(
    defended: tuple[Segmenter, Defense],
) -> None:
    """The demo's poolings have no border and are stretched: only windows of one pixel stay where they are."""
    segmenter, defense = defended
    moments = {
        name: Moments(s.moments.count, s.moments.mean, s.moments.m2[:1].expand_as(s.moments.m2))
        for name, s in defense.profile.detector.statistics.items()
    }
    profile = with_changed(
        defense.profile,
        grid_fraction=1,
        statistics={name: LayerStatistics(own) for name, own in moments.items()},
        shallow=replace(defense.profile.detector.shallow, kernels=((1, 1), (1, 1))),
        deep=replace(defense.profile.detector.deep, kernels=((1, 1),)),
    )
    x = segmenter.prepare(clean_image(3))
    found = demo_evidence(segmenter, profile, (profile.detector.shallow, profile.detector.deep), profile.grid, x)
    with torch.inference_mode(), ActivationTaps(segmenter.network, profile.layers) as taps:
        segmenter.logits(x)
        expected = naive_evidence(profile, taps)
    torch.testing.assert_close(found.shallow, expected.shallow)
    torch.testing.assert_close(found.deep, expected.deep)


def test_the_demos_way_has_its_grid_and_looks_at_shallow_layers_twice(defended: tuple[Segmenter, Defense]) -> None:
    segmenter, defense = defended
    shallow, deep = demo_branches(defense.profile)
    assert (shallow.layers, deep.layers) == (("0",), ("2", "0"))
    assert (len(shallow.kernels), deep.kernels) == (4, shallow.kernels[:2])
    few = replace(shallow, kernels=shallow.kernels[2:]), replace(deep, kernels=shallow.kernels[3:])
    heat = demo_evidence(segmenter, defense.profile, few, DEMO_GRID, segmenter.prepare(clean_image(3)))
    assert heat.shallow.shape == heat.deep.shape == (1, 1, *DEMO_GRID)


def test_a_patch_that_is_followed_is_segmented_once(defended: tuple[Segmenter, Defense]) -> None:
    segmenter, defense = defended
    image = clean_image(3)
    image[16:32, 24:40] = (255, 255, 0)
    times = time_pairs(segmenter, following(defense, 30.0, math.inf), [image] * 6)
    assert times.flagged == times.tracked == 6
    assert "second pass" not in times.stages


def test_the_command_writes_its_figures_into_a_document(description: Path, profile: Path, tmp_path: Path) -> None:
    patch, document = tmp_path / "patch.png", tmp_path / "performance.md"
    cv2.imwrite(str(patch), np.random.default_rng(0).integers(0, 256, (20, 40, 3), np.uint8))
    document.write_text(f"before\n{PERFORMANCE.begin}\n{PERFORMANCE.end}\nafter\n")
    arguments = [
        "--segmenter",
        str(description),
        "--profile",
        str(profile),
        "--patch",
        str(patch),
        "--device",
        "cpu",
        "--frames",
        "2",
        "--sweep",
        "--docs",
        str(document),
        "--json",
    ]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert set(figures["batch_gain"]) == {"2", "4"}
    text = document.read_text()
    assert text.startswith("before") and text.endswith("after\n")
    for size in ("64x48", "640x480", "1280x720"):
        assert [text.count(f"| {size} | {case} |") for case in CASES.values()] == [1] * len(CASES)


def test_the_command_refuses_bad_input(description: Path, profile: Path) -> None:
    arguments = ["--segmenter", str(description), "--device", "cpu"]
    assert "WIDTHxHEIGHT" in CliRunner().invoke(command, [*arguments, "--size", "large"]).output
    missing = CliRunner().invoke(command, [*arguments, "--profile", str(profile), "--patch", "nowhere.png"])
    assert isinstance(missing.exception, ZmaskError)
    assert "nowhere.png" in str(missing.exception)
