"""`zmask evaluate` as a user calls it, and bad input tried on it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import cv2
import pytest

from support import evaluation_parts, tiny_network
from support.commands import refused, zmask
from zmask_ros.evaluation.report.result import TABLES


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny network, its profile, a plan, a patch and images."""
    folder = tmp_path_factory.mktemp("place")
    description = tiny_network.describe(folder)
    tiny_network.fit(description)
    plan = asdict(evaluation_parts.plan())
    plan |= {"attacks": plan["attacks"][:1], "hard_sets": ["glare"], "compared": ["LGS"], "attacked_frames": 2}
    (folder / "plan.json").write_text(json.dumps(plan))
    (folder / "images").mkdir()
    for index in range(20):
        cv2.imwrite(str(folder / "images" / f"{index:02}.png"), tiny_network.clean_image(index)[..., ::-1])
    cv2.imwrite(str(folder / "poster.png"), tiny_network.clean_image(99, 16, 16))
    return folder


def basics(place: Path) -> list[object]:
    profile = place / "tiny_0.zmask.safetensors"
    return [
        "evaluate",
        "--segmenter",
        place / "tiny_0.yaml",
        "--profile",
        f"mine={profile}",
        "--device",
        "cpu",
        "--plan",
        place / "plan.json",
    ]


def test_evaluates_a_folder_and_goes_on_from_there(
    capsys: pytest.CaptureFixture[str], place: Path, tmp_path: Path
) -> None:
    document, output = tmp_path / "doc.md", tmp_path / "out" / "evaluation"
    document.write_text(f"{TABLES.begin}\n{TABLES.end}\n")
    call = [*basics(place), "--images", place / "images", "-o", output]
    code, _, err = zmask(capsys, *call, "--dry-run")
    assert code == 0 and "pieces of work are left: about" in err
    assert not (output / "evaluation.json").exists()
    code, out, err = zmask(capsys, *call, "--patch", place / "poster.png", "--docs", document, "--json")
    assert code == 0, err
    assert "NaN" not in out, "not what other readers of JSON understand"
    printed = json.loads(out)
    assert [attack["name"] for attack in printed["summary"]["attacks"]] == ["big", "poster"]
    assert set(printed["aims"]) == {"mine"}
    assert json.loads((output / "evaluation.json").read_text())["frames"]["labelled"] is False
    assert "<h1>Evaluation of tiny_0" in (output / "report.html").read_text()
    assert "### Attacks against mine" in document.read_text()
    code, out, err = zmask(capsys, *call)
    assert code == 0 and "0 pieces of work are left" in err
    assert "report.html" in out


def test_bad_input_is_refused(capsys: pytest.CaptureFixture[str], place: Path, tmp_path: Path) -> None:
    call = [*basics(place), "-o", tmp_path / "out"]
    assert "one source" in refused(capsys, *call, "--images", place / "images", "--street", "8000")
    assert "--labels belong to --images" in refused(capsys, *call, "--labels", place / "images")
    assert "lacks the marks" in refused(capsys, *call, "--docs", place / "tiny_0.yaml")
    assert "cannot be read" in refused(capsys, *call, "--docs", place / "missing.md")
    assert "no images" in refused(capsys, *call, "--images", tmp_path)
    assert "published', 'quick' or" in refused(capsys, *call, "--plan", "missing.json")
    assert "'none' names something" in refused(
        capsys, *call, "--images", place / "images", "--profile", f"none={place / 'tiny_0.zmask.safetensors'}"
    )
    missing = [*call, "--images", place / "images", "--patch", tmp_path / "missing.png"]
    assert "missing.png" in refused(capsys, *missing)
    assert not (tmp_path / "out" / "evaluation.json").exists()
