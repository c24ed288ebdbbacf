"""The launch files, on a machine that has launch_ros: what they start, and with what."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

launch = pytest.importorskip("launch", reason="launch is not installed")
launch_ros = pytest.importorskip("launch_ros", reason="launch_ros is not installed")

FOLDER = Path(__file__).parent.parent / "launch"
EXPECTED = (
    "namespace params_file image_topic image_transport segmenter profile device use_sim_time autostart rviz log_level"
)


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.launch.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def started(name: str, **given: str) -> list[Any]:
    """The actions of the launch file's function, for these arguments."""
    module = load(name)
    context = launch.LaunchContext()
    for argument in module.arguments():
        context.launch_configurations[argument.name] = given.pop(
            argument.name, "".join(part.perform(context) for part in argument.default_value)
        )
    assert not given, "no such argument"
    return list((module.nodes if name == "defense" else module.actions)(context))


@pytest.mark.parametrize("name", ["defense", "demo"])
def test_every_argument_is_described(name: str) -> None:
    arguments = load(name).generate_launch_description().get_launch_arguments()
    assert arguments
    assert all(len(argument.description) > 10 for argument in arguments)


def test_defense_has_the_arguments_that_users_expect() -> None:
    arguments = load("defense").generate_launch_description().get_launch_arguments()
    assert [argument.name for argument in arguments] == EXPECTED.split()


def test_only_what_was_given_overrides_the_file() -> None:
    module = load("defense")
    defaults = {argument.name: "" for argument in module.arguments()}
    assert module.overrides({**defaults, "device": "cpu"}) == {"device": "cpu"}
    assert module.overrides(defaults) == {}


def test_camera_info_lies_beside_the_image() -> None:
    assert load("defense").input_remappings("/cam/left/image_rect") == [
        ("image_raw", "/cam/left/image_rect"),
        ("image_raw/compressed", "/cam/left/image_rect/compressed"),
        ("camera_info", "/cam/left/camera_info"),
    ]


def test_what_is_started() -> None:
    assert len(started("defense")) == 1
    assert len(started("defense", autostart="false")) == 0
    assert len(started("defense", rviz="true")) == 2
    assert len(started("demo")) == 3
    assert len(started("demo", bag="somewhere")) == 4


def test_everything_of_the_demo_shares_the_settings_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    def shared() -> str:
        return "".join(part.perform(launch.LaunchContext()) for part in load("demo").shared_memory().value)

    name = "FASTRTPS_DEFAULT_PROFILES_FILE"
    monkeypatch.setenv(name, "mine.xml")
    assert shared() == "mine.xml"
    monkeypatch.delenv(name)
    assert shared().endswith("config/fastdds.xml")
