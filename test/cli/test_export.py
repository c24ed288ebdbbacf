"""`zmask export` as a user calls it, and what the commands do with its graphs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support import tiny_network
from support.commands import record, refused, zmask
from zmask_ros.defense.engine import Differences

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


def test_graphs_are_compared_on_frames_of_ones_own(
    capsys: pytest.CaptureFixture[str],
    tiny: Path,
    profile: Path,
    drive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = (tiny, "--profile", profile, "--bag", drive)
    code, out, _ = zmask(capsys, "export", *arguments, "-o", tmp_path / "graphs", "--json")
    assert code == 0
    compared = json.loads(out)["compared"]
    assert compared["frames"] == 5
    assert compared["labels_equal"] > 0.9999
    assert 0 < compared["score_difference"] < 1e-3
    assert f"of {drive}" in compared["worst_frame"]["name"]
    code, out, _ = zmask(capsys, "export", *arguments, "-o", tmp_path / "graphs", "--frames", "2")
    assert code == 0 and "3 frames" in out, "each second one of five"
    # As on frames of which one shows that the engine strays.
    found = [Differences(0.0, 0.0), Differences(0.5, 0.0)]
    monkeypatch.setattr("zmask_ros.cli.export.compare_images", lambda *_: iter(found))
    sentence = refused(capsys, "export", *arguments, "-o", tmp_path / "others")
    assert "strays from torch: labels of 25.00% of the pixels" in sentence
    assert not (tmp_path / "others").exists()


def test_bad_input_is_refused(capsys: pytest.CaptureFixture[str], tiny: Path, profile: Path, tmp_path: Path) -> None:
    assert "no profile" in refused(
        capsys, "export", tiny, "--profile", tmp_path / "none.safetensors", "-o", tmp_path / "graphs"
    )
    assert "no_bag" in refused(
        capsys, "export", tiny, "--profile", profile, "-o", tmp_path / "graphs", "--bag", tmp_path / "no_bag"
    )
    assert "There is no segmenter" in refused(capsys, "export", "nowhere", "-o", tmp_path / "graphs")
    assert not (tmp_path / "graphs").exists()
