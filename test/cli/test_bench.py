"""`zmask bench` as a user calls it: figures, tables, a plot, and bad input."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

import support
from support.tiny_network import describe, fit
from zmask_ros.cli.bench import MODES, PERFORMANCE, command
from zmask_ros.defense import load_profile
from zmask_ros.defense.engine import export_graphs
from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.performance.benchmark import CASES
from zmask_ros.evaluation.performance.modes import EAGER
from zmask_ros.segmenters import load_segmenter
from zmask_ros.segmenters.engine.graphs import write_graphs


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny network, its profile, a patch and a document."""
    folder = tmp_path_factory.mktemp("bench")
    fit(describe(folder))
    cv2.imwrite(str(folder / "patch.png"), np.random.default_rng(0).integers(0, 256, (20, 40, 3), np.uint8))
    (folder / "performance.md").write_text(f"before\n{PERFORMANCE.begin}\n{PERFORMANCE.end}\nafter\n")
    return folder


def basics(place: Path, frames: int, starts: int = 0) -> list[str]:
    given = {
        "--starts": starts,
        "--segmenter": place / "tiny_0.yaml",
        "--profile": place / "tiny_0.zmask.safetensors",
        "--patch": place / "patch.png",
        "--device": "cpu",
        "--frames": frames,
    }
    return [str(word) for pair in given.items() for word in pair]


def test_the_command_reports_overheads(place: Path) -> None:
    arguments = [*basics(place, 4), "--size", "96x72"]
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
    assert "clean: defended on the engine" in table.stdout


def test_an_engine_is_measured_beside_torch_and_busy_neighbours(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The processes that are started build the network as well.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(support.__file__).parents[1]), *sys.path]))
    result = CliRunner().invoke(command, [*basics(place, 4, starts=1), "--json", "--neighbours", "1"])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    engine = figures["engine"]
    assert engine.pop("name") == "ONNX Runtime (CPU)"
    assert list(engine) == ["plain", "clean_streaming", "clean_full", "tracked", "two_pass"]
    assert all(ratio > 0 for ratio in engine.values())
    assert figures["neighbours"] == 1
    for case in CASES:
        assert figures[case]["engine_flagged"] == figures[case]["flagged"]
        for times in ("plain", "defended", "engine_plain", "engine_defended"):
            assert figures[case][f"{times}_ms_p99"] >= figures[case][f"{times}_ms_quartiles"][1]
    assert list(figures["footprints"]) == ["torch", "ONNX Runtime (CPU)"]
    for footprint in figures["footprints"].values():
        assert footprint["start_s"] > 0
        assert footprint["peak_mib"] > 50
    alone = CliRunner().invoke(command, [*basics(place, 2), "--json", "--runtime", "torch"])
    assert "engine" not in json.loads(alone.stdout)


def test_graphs_that_are_there_are_not_exported_again(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The processes that are started build the network as well.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(support.__file__).parents[1]), *sys.path]))
    description, profile = place / "tiny_0.yaml", place / "tiny_0.zmask.safetensors"
    write_graphs(export_graphs(load_segmenter(str(description), "cpu"), load_profile(profile)), tmp_path)
    for module in ("zmask_ros.cli.bench", "zmask_ros.defense.engine"):
        monkeypatch.setattr(f"{module}.export_graphs", None)
    result = CliRunner().invoke(command, [*basics(place, 2, starts=1), "--json", "--graphs", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert list(json.loads(result.stdout)["footprints"]) == ["torch", "ONNX Runtime (CPU)"]


def test_a_sweep_is_measured_drawn_and_written_into_a_document(place: Path, tmp_path: Path) -> None:
    plot, document = tmp_path / "cost.svg", place / "performance.md"
    arguments = [*basics(place, 2), "--size", "96x72", "--plot", str(plot), "--docs", str(document), "--json"]
    refused = CliRunner().invoke(command, arguments)
    assert isinstance(refused.exception, ZmaskError)
    assert "add it, or leave --plot away" in str(refused.exception)
    result = CliRunner().invoke(command, [*arguments, "--sweep"])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert set(figures["batch_gain"]) == {"2", "4"}
    assert list(figures["input_sizes"]) == ["32x24", "64x48", "96x72", "128x96"]
    assert list(figures["layers"]) == ["1", "2"]
    # Which of the two is dearer is no matter for a test: the machine may be busy.
    assert all(min(cost["two_pass"], cost["clean"]) > 0 for cost in figures["layers"].values())
    assert list(figures["sizes"]) == ["96x72", "480x360", "640x480", "1280x720"]
    assert plot.read_text().startswith("<svg")
    text = document.read_text()
    assert text.startswith("before") and text.endswith("after\n")
    for size in figures["sizes"]:
        # In torch, and on the engine.
        assert [text.count(f"| {size} | {case} |") for case in CASES.values()] == [2] * len(CASES)


def test_modes_are_measured_and_written_into_a_document(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Compiling takes minutes, and the large network seconds for each frame.
    monkeypatch.setattr("zmask_ros.evaluation.performance.modes.MODES", [EAGER])
    monkeypatch.setattr("zmask_ros.evaluation.performance.modes.NETWORKS", ["lraspp_mobilenet_v3_large"])
    document = tmp_path / "modes.md"
    document.write_text(f"before\n{MODES.begin}\n{MODES.end}\nafter\n")
    settings = ["--modes", "--device", "cpu", "--size", "128x96", "--frames", "1", "--patch", str(place / "patch.png")]
    result = CliRunner().invoke(command, [*settings, "--docs", str(document), "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)["modes"]
    (own,) = told
    assert own["mode"] == "eager, float32"
    assert list(own["cases"]) == list(CASES)
    assert document.read_text().count(f"| {own['network']} | 128x96 | {own['mode']} | ") == len(CASES) + 1
    refused = CliRunner().invoke(command, [*settings, "--sweep"])
    assert isinstance(refused.exception, ZmaskError)
    assert "leave --sweep away" in str(refused.exception)


def test_the_command_refuses_bad_input(place: Path) -> None:
    assert "WIDTHxHEIGHT" in CliRunner().invoke(command, [*basics(place, 2), "--size", "large"]).output
    missing = CliRunner().invoke(command, [*basics(place, 2), "--patch", "nowhere.png"])
    assert isinstance(missing.exception, ZmaskError)
    assert "nowhere.png" in str(missing.exception)
