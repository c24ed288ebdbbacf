"""The launch files, on a machine that has launch_ros: what they start, and with what."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from zmask_ros.launching.arguments import DEFENSE, DEMO, REPLAY, Argument

launch = pytest.importorskip("launch", reason="launch is not installed")
launch_ros = pytest.importorskip("launch_ros", reason="launch_ros is not installed")
actions = pytest.importorskip("zmask_ros.launching.actions")

FOLDER = Path(__file__).parent.parent / "launch"
TABLES = {"defense": DEFENSE, "demo": DEMO, "replay": REPLAY}
PROFILES_FILE = "FASTRTPS_DEFAULT_PROFILES_FILE"

each_file = pytest.mark.parametrize("name", TABLES)


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.launch.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def values(table: tuple[Argument, ...], **given: str) -> dict[str, str]:
    """What the launch file gets, for these arguments."""
    defaults = {argument.name: argument.default or "" for argument in table}
    assert given.keys() <= defaults.keys(), "no such argument"
    return defaults | given


def started(name: str, **given: str) -> list[Any]:
    """The actions of the launch file's function."""
    module = load(name)
    return list((module.nodes if name == "defense" else module.actions)(values(TABLES[name], **given)))


def parameters(**given: str) -> dict[str, Any]:
    """The parameters that the node gets over those of the file, with the types that ROS will see."""
    context = launch.LaunchContext()
    written = launch_ros.utilities.normalize_parameters([load("defense").parameters(values(DEFENSE, **given))])
    return dict(launch_ros.utilities.evaluate_parameters(context, written)[0])


@each_file
def test_the_declared_arguments_are_those_of_the_table(name: str) -> None:
    declared = load(name).generate_launch_description().get_launch_arguments()
    assert [one.name for one in declared] == [argument.name for argument in TABLES[name]]
    for one, argument in zip(declared, TABLES[name], strict=True):
        assert one.description.startswith(argument.description)
        assert tuple(one.choices or ()) == argument.choices
        assert (one.default_value is None) == (argument.default is None)
        if argument.default is not None:
            assert launch.utilities.perform_substitutions(launch.LaunchContext(), one.default_value) == argument.default


def test_only_what_was_given_overrides_the_file() -> None:
    assert parameters() == {}
    assert parameters(device="cpu", profile="1e5", autostart="false", use_sim_time="true") == {
        "device": "cpu",
        "profile": "1e5",
        "autostart": False,
        "use_sim_time": True,
    }


def test_several_cameras_share_a_node_and_may_have_their_own_topics_and_profiles() -> None:
    assert parameters(cameras="front, rear") == {"cameras": ("front", "rear")}
    assert parameters(cameras="front,rear", image_topic="/sensors/{camera}/image_rect", profile="/etc/{camera}.p") == {
        "cameras": ("front", "rear"),
        "front.image_topic": "/sensors/front/image_rect",
        "rear.image_topic": "/sensors/rear/image_rect",
        "front.profile": "/etc/front.p",
        "rear.profile": "/etc/rear.p",
    }
    assert parameters(cameras="front,rear", profile="/etc/both.p")["profile"] == "/etc/both.p"
    with pytest.raises(ValueError, match=r"^image_topic has to have \{camera\} in it"):
        parameters(cameras="front,rear", image_topic="/camera/image_raw")


def test_camera_info_lies_beside_the_image() -> None:
    assert actions.input_remappings("/cam/left/image_rect") == [
        ("image_raw", "/cam/left/image_rect"),
        ("image_raw/compressed", "/cam/left/image_rect/compressed"),
        ("camera_info", "/cam/left/camera_info"),
    ]


def test_what_is_started() -> None:
    assert len(started("defense")) == 1
    assert len(started("defense", rviz="true")) == 2
    assert len(started("defense", rviz="true", cameras="front,rear")) == 3
    assert len(started("demo")) == 3
    assert len(started("demo", bag="somewhere")) == 4
    assert len(started("replay", bag="somewhere")) == 3


def test_rviz_looks_at_the_camera() -> None:
    module = load("defense")
    value = values(DEFENSE, namespace="car", cameras="front,rear", image_topic="/{camera}/image_rect", rviz="true")
    context = launch.LaunchContext()
    windows = [one for one in module.nodes(value) if one.node_executable == "rviz2"]
    for window in windows:
        window._perform_substitutions(context)
    assert [window.expanded_node_namespace for window in windows] == ["/car/front", "/car/rear"]
    assert windows[1].expanded_remapping_rules == [("image_raw", "/rear/image_rect")]


def test_the_player_brings_its_time_and_leaves_out_what_a_defence_has_published() -> None:
    command = load("replay").player_command(values(REPLAY, bag="drive_7", rate="0.5"))
    assert command[:4] == ["ros2", "bag", "play", "drive_7"]
    assert command[command.index("--rate") + 1] == "0.5"
    assert "--clock" in command and "--loop" not in command
    assert command[command.index("--exclude-regex") + 1] == ".*/zmask/.*"
    assert "--loop" in load("replay").player_command(values(REPLAY, bag="drive_7", loop="true"))


def test_everything_shares_the_settings_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROFILES_FILE, "mine.xml")
    assert actions.shared_memory()[PROFILES_FILE] == "mine.xml"
    monkeypatch.delenv(PROFILES_FILE)
    assert all(path.endswith("config/fastdds.xml") for path in actions.shared_memory().values())
