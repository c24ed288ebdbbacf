"""`zmask export` as a user calls it, and what the commands do with its graphs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support import tiny_network
from support.commands import record, refused, zmask

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The description of the tiny network."""
    return tiny_network.describe(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def profile(tiny: Path) -> Path:
    return tiny_network.fit(tiny)


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("bags") / "clean.mcap", map(tiny_network.clean_image, range(5)))


def test_a_replay_runs_on_the_graphs_that_were_exported(
    capsys: pytest.CaptureFixture[str], tiny: Path, profile: Path, drive: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "graphs"
    code, out, _ = zmask(capsys, "export", tiny, "--profile", profile, "-o", folder, "--json")
    assert code == 0
    written = [Path(path) for path in json.loads(out)["graphs"]]
    assert written and sorted(written) == sorted(folder.glob("*.onnx"))
    told = {}
    for runtime in ("torch", "onnx"):
        arguments = ("--segmenter", tiny, "--profile", profile, "--runtime", runtime, "--graphs", folder)
        code, out, _ = zmask(capsys, "replay", drive, *arguments, "--json")
        assert code == 0
        told[runtime] = json.loads(out)
    assert told["torch"]["engine"] == "torch"
    assert told["onnx"]["engine"] == "ONNX Runtime (CPU)"
    assert told["onnx"]["score_p99"] == pytest.approx(told["torch"]["score_p99"], rel=1e-3)


def test_a_description_names_its_runtime_and_its_graphs(
    capsys: pytest.CaptureFixture[str], profile: Path, drive: Path, tmp_path: Path
) -> None:
    described = tiny_network.describe(tmp_path)
    assert zmask(capsys, "export", described, "--profile", profile, "-o", tmp_path / "graphs")[0] == 0
    described.write_text(described.read_text() + "runtime: onnx\ngraphs: graphs\n")
    code, out, _ = zmask(capsys, "replay", drive, "--segmenter", described, "--profile", profile, "--json")
    assert code == 0
    assert json.loads(out)["engine"] == "ONNX Runtime (CPU)"
    (tmp_path / "graphs" / "0.onnx").unlink()
    assert "holds no graphs" in refused(capsys, "replay", drive, "--segmenter", described, "--profile", profile)


def test_auto_says_why_it_is_torch(
    capsys: pytest.CaptureFixture[str], tiny: Path, profile: Path, drive: Path, tmp_path: Path
) -> None:
    arguments = ("--segmenter", tiny, "--profile", profile, "--graphs", tmp_path)
    code, out, err = zmask(capsys, "replay", drive, *arguments, "--runtime", "auto", "--json")
    assert code == 0
    assert json.loads(out)["engine"] == "torch"
    assert "the network runs in torch" in err and "holds no graphs" in err
    assert "holds no graphs" in refused(capsys, "replay", drive, *arguments, "--runtime", "onnx")


def test_bad_input_is_refused(capsys: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path) -> None:
    assert "no profile" in refused(
        capsys, "export", tiny, "--profile", tmp_path / "none.safetensors", "-o", tmp_path / "graphs"
    )
    assert "There is no segmenter" in refused(capsys, "export", "nowhere", "-o", tmp_path / "graphs")
    assert not (tmp_path / "graphs").exists()
