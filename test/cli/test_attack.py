"""`zmask attack`: patches, recipes, sources, and what it refuses."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from support import tiny_network
from support.neighbourly import DESCRIPTION
from support.neighbourly import frames as make_frames
from support.neighbourly import segmenter as make_segmenter
from zmask_ros.attacks import (
    EotRanges,
    Recipe,
    Step,
    load_patch,
    load_patches,
    load_recipe,
    patch_attack,
    recipe_path,
)
from zmask_ros.attacks.files import load_exact
from zmask_ros.cli.attack import command, state_path
from zmask_ros.cli.attack_options import GROUPS
from zmask_ros.cli.attack_sources import AttackSources
from zmask_ros.errors import AttackError, ZmaskError
from zmask_ros.segmenters import Segmenter


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return make_segmenter()


@pytest.fixture
def work_folder(tmp_path: Path) -> Path:
    (tmp_path / "neighbourly.yaml").write_text(DESCRIPTION)
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), make_frames()[0][0][..., ::-1])
    return tmp_path


def attack(work_folder: Path, *arguments: str) -> Result:
    description, patch = work_folder / "neighbourly.yaml", work_folder / "patch.png"
    fixed = ["--segmenter", str(description), "-o", str(patch), "--device", "cpu"]
    return CliRunner().invoke(command, [*fixed, *arguments])


def test_the_command_makes_a_patch_that_its_recipe_makes_again(work_folder: Path) -> None:
    images = ["--images", str(work_folder / "images"), "--json"]
    first = attack(
        work_folder, *images, "--steps", "3", "--batch", "2", "--size", "16x20", "--scale", "0.5", "1.5", "--seed", "6"
    )
    assert first.exit_code == 0, first.output
    outcome = json.loads(first.stdout)
    assert outcome["steps"] == 3
    assert outcome["segmenter"] == "neighbourly"
    patch = load_patch(work_folder / "patch.png")
    assert patch.shape == (16, 20, 3)
    recipe = load_recipe(work_folder / "patch.png")
    assert recipe == replace(Recipe(size=(16, 20), steps=3, batch=2, seed=6), eot=EotRanges(scale=(0.5, 1.5)))

    (work_folder / "patch.json").rename(work_folder / "again.json")
    again = attack(work_folder, *images, "--recipe", str(work_folder / "again.json"))
    assert again.exit_code == 0, again.output
    np.testing.assert_array_equal(load_patch(work_folder / "patch.png"), patch)


def test_every_option_of_a_recipe_reaches_it(work_folder: Path) -> None:
    cv2.imwrite(str(work_folder / "shape.png"), np.full((9, 9), 255, np.uint8))
    given = {
        "objective": "hiding",
        "target": "blue",
        "gamma": 0.5,
        "auxiliary": 0.1,
        "patches": 2,
        "smoothness": 0.2,
        "non_printability": 0.3,
        "shape": str(work_folder / "shape.png"),
        "restarts": 2,
        "steps": 2,
        "batch": 1,
        "lr": 0.2,
        "seed": 3,
    }
    options = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    ranges = ["--eot", "pitch_deg", "-20", "20", "--eot", "jpeg", "40", "95", "--scale", "0.5", "0.9"]
    result = attack(work_folder, "--images", str(work_folder / "images"), "--size", "8x10", *options, *ranges, "--json")
    assert result.exit_code == 0, result.output
    eot = EotRanges(scale=(0.5, 0.9), pitch_deg=(-20, 20), jpeg=(40, 95))
    assert load_recipe(work_folder / "patch.png") == Recipe(size=(8, 10), eot=eot, **given)  # type: ignore[arg-type]
    assert load_patches(work_folder / "patch.png").shape == (2, 8, 10, 4)
    assert len(json.loads(result.stdout)["share_won"]) == 2
    curves = cv2.imread(str(work_folder / "patch_curves.png"))
    assert curves.std() > 5, "something is drawn"
    assert not list(work_folder.glob("*state*"))


def test_what_an_attack_takes_to_be_fast_and_strong_reaches_its_recipe(work_folder: Path) -> None:
    given = {"optimizer": "apgd", "loss": "margin", "lengths_every": 2, "steps": 2, "batch": 1}
    options = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    result = attack(work_folder, "--images", str(work_folder / "images"), "--size", "8x10", *options, "--folded")
    assert result.exit_code == 0, result.output
    assert load_recipe(work_folder / "patch.png") == Recipe(size=(8, 10), folded=True, **given)  # type: ignore[arg-type]


def test_a_strong_attack_tries_several_attackers_and_tells_how_they_went(work_folder: Path) -> None:
    arguments = ["--images", str(work_folder / "images"), "--steps", "2", "--size", "8x8", "--strength", "standard"]
    result = attack(work_folder, *arguments, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)["attackers"]
    assert [line.partition(":")[0] for line in told] == ["grouped", "apgd margin"]
    assert all("2 steps: " in line and line.endswith("converged") for line in told)
    assert not list(work_folder.glob("*.rungs"))
    assert json.loads(recipe_path(work_folder / "patch.png").read_text())["sources"][-1] in told
    refused = attack(work_folder, *arguments[2:], "--scene", "street:1")
    assert refused.exit_code != 0 and "leave --strength out" in str(refused.exception)


def test_a_patch_for_each_image(work_folder: Path) -> None:
    cv2.imwrite(str(work_folder / "images" / "b.png"), np.full((60, 80, 3), 90, np.uint8))
    arguments = ["--images", str(work_folder / "images"), "--steps", "2", "--size", "8x8", "--per-image", "--json"]
    result = attack(work_folder, *arguments)
    assert result.exit_code == 0, result.output
    first, second = (load_patch(work_folder / f"patch_frame000{n}.png") for n in (0, 1))
    assert (first != second).any()
    written = json.loads(recipe_path(work_folder / "patch_frame0001.png").read_text())
    assert written["sources"][-1] == "frame 1"
    # What is done already is not done again.
    (work_folder / "patch_frame0001.png").unlink()
    again = json.loads(attack(work_folder, *arguments, "--resume").stdout)
    assert [Path(outcome["patch"]).name for outcome in again["patches"]] == ["patch_frame0001.png"]
    np.testing.assert_array_equal(load_patch(work_folder / "patch_frame0001.png"), second)


def test_an_interrupted_command_goes_on(work_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["--images", str(work_folder / "images"), "--steps", "6", "--size", "8x8", "--json"]
    whole = attack(work_folder, *arguments)
    assert whole.exit_code == 0, whole.output
    expected, _ = load_exact(work_folder / "patch.png")
    (work_folder / "patch.png").unlink()

    def interrupting(step: Step) -> str:
        if step.index == 4:
            raise KeyboardInterrupt
        return ""

    monkeypatch.setattr(patch_attack, "SAVED_EVERY", 3)
    with monkeypatch.context() as patched:
        patched.setattr("zmask_ros.cli.attack.note", interrupting)
        assert attack(work_folder, *arguments).exit_code != 0
    assert not (work_folder / "patch.png").exists()
    assert state_path(work_folder / "patch.png").exists()
    resumed = attack(work_folder, *arguments, "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert torch.equal(load_exact(work_folder / "patch.png")[0], expected)
    assert not state_path(work_folder / "patch.png").exists()


def test_the_command_attacks_the_defence_of_a_profile(tmp_path: Path) -> None:
    description = tiny_network.describe(tmp_path)
    profile = tiny_network.fit(description)
    cv2.imwrite(str(tmp_path / "a.png"), tiny_network.clean_image(1))
    fixed = [
        "--segmenter",
        str(description),
        "--images",
        str(tmp_path),
        "-o",
        str(tmp_path / "patch.png"),
        "--device",
        "cpu",
        "--json",
        "--steps",
        "2",
        "--size",
        "16x16",
        "--adaptive",
        "both",
        "--beta",
        "0.8",
    ]
    result = CliRunner().invoke(command, [*fixed, "--profile", str(profile)])
    assert result.exit_code == 0, result.output
    assert {"score_at_last", "masked_at_last"} <= set(json.loads(result.stdout))
    without = CliRunner().invoke(command, fixed)
    assert isinstance(without.exception, AttackError) and "--profile" in str(without.exception)


def test_the_help_lists_every_option_under_a_heading() -> None:
    text = CliRunner().invoke(command, ["--help"]).output
    for heading in GROUPS:
        assert f"\n{heading}:\n" in text
    left = re.findall(r"^  (--?[a-z-]+)", text.partition("\nOptions:\n")[2], flags=re.MULTILINE)
    assert set(left) <= {"-h", "--help"}


def test_the_command_mixes_sources_and_counts_frames(work_folder: Path) -> None:
    sources = AttackSources(None, (3,), work_folder / "images", (), None, frames=2)
    taken = list(sources)
    assert len(taken) == 2 + 1
    assert [truth is None for _, truth in taken] == [False] * 2 + [True]
    assert len(sources.describe()) == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "at least one source"),
        (["--images", "nowhere"], "no images"),
        (["--images", "nowhere", "--recipe", "nowhere.json"], "cannot be read"),
        (["--images", "nowhere", "--steps", "0"], "steps"),
        (["--camvid", "nowhere"], "no CamVid images"),
        (["--bag", "nowhere"], "nowhere"),
        (["--images", "nowhere", "--resume"], "leave --resume out"),
        (["--images", "nowhere", "--profile", "nowhere"], "no profile"),
        (["--images", "nowhere", "--objective", "hiding"], "target"),
    ],
)
def test_the_command_refuses_bad_input_with_a_sentence(work_folder: Path, arguments: list[str], sentence: str) -> None:
    result = attack(work_folder, *arguments)
    assert isinstance(result.exception, ZmaskError)
    assert sentence in str(result.exception)
    assert not (work_folder / "patch.png").exists()
