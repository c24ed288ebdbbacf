"""Scenes that `zmask attack --scene` takes its frames from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zmask_ros.attacks import load_patch
from zmask_ros.attacks.scenes import LEAST_SHARE
from zmask_ros.cli.attack_sources import AttackSources, load_scene
from zmask_ros.cli.main import zmask
from zmask_ros.errors import ZmaskError

SEED = 5


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """A scene of a street drive, as `zmask world export` writes it."""
    drive = [str(SEED), "--frames", "10", "--rate", "1", "--size", "320x240"]
    zmask.main(["world", "export", *drive, "-o", str(tmp_path / "set")], standalone_mode=False)
    return tmp_path / "set" / "billboard01"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("street:five", "no street scene"),
        ("street:5:balloon", "no street scene"),
        ("nowhere", "no folder leftImg8bit"),
    ],
)
def test_scenes_that_are_none_are_refused(name: str, sentence: str) -> None:
    with pytest.raises(ZmaskError, match=sentence):
        load_scene(name, frames=3)


def test_the_command_attacks_an_exported_scene(exported: Path, tmp_path: Path) -> None:
    classes = ", ".join(f"class_{index}: [{index}, 0, 0]" for index in range(11))
    description = tmp_path / "eleven.yaml"
    description.write_text(
        "builder: support.tiny_network:build\narguments: {seed: 0, classes: 11}\ninput_size: [48, 64]\n"
        "mean: [0.5, 0.5, 0.5]\n"
        f"std: [0.5, 0.5, 0.5]\nclasses: {{{classes}}}\nlayers: {{shallow: [], deep: []}}\n"
    )

    def attack(*arguments: str) -> None:
        fixed = ["--segmenter", str(description), "--device", "cpu", "--steps", "2", "--size", "20x40", "--frames", "3"]
        zmask.main(["attack", *fixed, *arguments, "-o", str(tmp_path / "patch.png")], standalone_mode=False)

    attack("--scene", str(exported))
    assert load_patch(tmp_path / "patch.png").shape == (20, 40, 3)
    assert json.loads((tmp_path / "patch.json").read_text())["sources"] == [f"scene {exported}"]
    attack("--scene", str(exported), "--scene", str(exported))
    assert json.loads((tmp_path / "patch.json").read_text())["sources"] == [f"scene {exported}"] * 2
    with pytest.raises(ZmaskError, match="either --scene or other sources"):
        attack("--scene", str(exported), "--street", "1")


def test_frames_of_several_scenes_keep_their_views(exported: Path) -> None:
    taken, placement = AttackSources(None, (), None, (), None, 2, (str(exported), str(exported))).load()
    alone = load_scene(str(exported), 2)
    assert placement is not None
    assert [image.tobytes() for image, _ in taken] == [image.tobytes() for image, _ in alone.frames] * 2
    assert [view.pose.tobytes() for view in placement.views] == [view.pose.tobytes() for view in alone.views] * 2


@pytest.mark.slow
@pytest.mark.parametrize("carrier", ["billboard", "truck"])
def test_a_street_scene_is_named_by_its_seed(carrier: str) -> None:
    scene = load_scene(f"street:{SEED}:{carrier}", 2)
    assert 1 <= len(scene.frames) == len(scene.views) <= 2
    visible = [view.visible for view in scene.views]
    assert all(mask is not None and mask.mean() >= LEAST_SHARE for mask in visible)
