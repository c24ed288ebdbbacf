"""Patches on disk, and `zmask attack`."""

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
from torch import Tensor

from support import tiny_network
from support.neighbourly import DESCRIPTION, RECIPE, generator
from support.neighbourly import frames as make_frames
from support.neighbourly import segmenter as make_segmenter
from support.profiles import with_changed
from zmask_ros.attacks import (
    EotRanges,
    PatchResult,
    Recipe,
    Step,
    load_patch,
    load_patches,
    load_recipe,
    paste_at_random,
    recipe_path,
    save_patch,
)
from zmask_ros.attacks import (
    patch_attack as optimise,
)
from zmask_ros.attacks.files import load_exact
from zmask_ros.cli.attack import command, state_path
from zmask_ros.cli.attack_options import GROUPS
from zmask_ros.cli.attack_sources import Sources
from zmask_ros.defense import load_profile
from zmask_ros.defense.evidence.head import untrained_head
from zmask_ros.errors import AttackError, ZmaskError
from zmask_ros.segmenters import Segmenter


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return make_segmenter()


def result_of(patch: Tensor) -> PatchResult:
    return PatchResult(patch[None], (Step(0, 1.5, 0.9),))


def test_a_saved_patch_comes_back_with_its_recipe(tmp_path: Path, segmenter: Segmenter) -> None:
    png = tmp_path / "patch.png"
    patch = torch.rand(3, 12, 14, generator=generator())
    save_patch(png, result_of(patch), RECIPE, segmenter, ("street 1",))
    np.testing.assert_array_equal(load_patch(png), (patch.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))
    assert load_recipe(png) == RECIPE
    assert sorted(p.name for p in tmp_path.iterdir()) == ["patch.json", "patch.png", "patch.safetensors"]
    recipe_path(png).write_text("{")
    with pytest.raises(AttackError, match="not a recipe of an attack"):
        load_recipe(png)


def test_bad_places_for_a_patch_are_refused(tmp_path: Path, segmenter: Segmenter) -> None:
    patch = result_of(torch.rand(3, 8, 8))
    with pytest.raises(AttackError, match=r"patch\.png"):
        save_patch(tmp_path / "patch.jpg", patch, RECIPE, segmenter, ())
    with pytest.raises(ZmaskError, match="does not exist"):
        save_patch(tmp_path / "no" / "patch.png", patch, RECIPE, segmenter, ())
    with pytest.raises(AttackError, match="no patch"):
        load_patch(tmp_path / "patch.png")
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(ZmaskError, match="not a readable image"):
        load_patch(tmp_path / "text.png")


def test_several_patches_of_a_shape_come_back_exactly(tmp_path: Path, segmenter: Segmenter) -> None:
    png = tmp_path / "patch.png"
    patches, shape = torch.rand(3, 3, 12, 14, generator=generator()), torch.zeros(12, 14)
    shape[:, :7] = 1
    save_patch(png, PatchResult(patches, (Step(0, 1.5, 0.9),), (0.5,), shape), RECIPE, segmenter, ())
    assert sorted(p.name for p in tmp_path.glob("*.png")) == ["patch.png", "patch_2.png", "patch_3.png"]
    exact, exact_shape = load_exact(png)
    assert torch.equal(exact, patches) and exact_shape is not None and torch.equal(exact_shape, shape)
    loaded = load_patches(png)
    assert loaded.shape == (3, 12, 14, 4)
    assert (cv2.imread(str(tmp_path / "patch_3.png"), cv2.IMREAD_UNCHANGED)[..., [2, 1, 0, 3]] == loaded[2]).all()
    _, mask = paste_at_random(np.zeros((90, 120, 3), np.uint8), loaded, EotRanges(scale=(1, 1)), generator(1))
    assert mask.sum() == pytest.approx(3 * 12 * 7, rel=0.2)


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

    monkeypatch.setattr(optimise, "SAVED_EVERY", 3)
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
    sources = Sources(None, (3,), work_folder / "images", (), None, frames=2)
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


@pytest.mark.parametrize(
    "entries",
    [
        {"size": [100]},
        {"size": [100, 100.5]},
        {"size": 100},
        {"steps": 2.5},
        {"steps": "9"},
        {"eot": [1]},
        {"eot": {"scale": [1]}},
        {"eot": {"scale": 1}},
        {"printable": [0.1]},
        [],
        3,
    ],
)
def test_a_recipe_that_is_none_is_refused_with_a_sentence(entries: object) -> None:
    with pytest.raises(AttackError, match="recipe"):
        Recipe.from_json(json.dumps(entries))


def test_a_kept_state_belongs_to_all_that_a_profile_does(tmp_path: Path) -> None:
    profile = load_profile(tiny_network.fit(tiny_network.describe(tmp_path)))
    head = untrained_head(profile.detector.shallow, 4, seed=0)
    threshold = profile.detector.threshold
    others = [
        with_changed(profile, growth=replace(profile.detector.growth, reach=0.5)),
        with_changed(profile, precaution=replace(threshold, value=threshold.value / 2)),
        with_changed(profile, head=head),
        with_changed(profile, head=replace(head, inner=head.inner + 1)),
    ]
    assert len({optimise._profile_digest(each) for each in (profile, *others)}) == 5
