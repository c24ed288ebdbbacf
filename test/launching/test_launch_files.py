"""The launch files, on a machine that has launch_ros: what they start, and with what."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from support import ROOT
from zmask_ros.errors import ZmaskError
from zmask_ros.launching.arguments import DEFENSE, DEMO, REPLAY, Argument
from zmask_ros.launching.demo import street_parameters
from zmask_ros.launching.replay import FASTEST, SLOWEST, player_parameters, ros2_bag_words
from zmask_ros.node.parameters.player import PlayerParameters
from zmask_ros.node.parameters.spec import specs
from zmask_ros.resources import fast_dds_profile

launch = pytest.importorskip("launch", reason="launch is not installed")
launch_ros = pytest.importorskip("launch_ros", reason="launch_ros is not installed")
actions = pytest.importorskip("zmask_ros.launching.actions")

FOLDER = ROOT / "launch"
TABLES = {"defense": DEFENSE, "demo": DEMO, "replay": REPLAY}

RUN = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
service = LaunchService()
source = PythonLaunchDescriptionSource('{file}')
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(source, launch_arguments={given}.items())])
)
sys.exit(service.run())
"""

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
    return list(load(name).actions(values(TABLES[name], **given)))


def typed_parameters(parameters: dict[str, Any]) -> dict[str, Any]:
    """Parameters with the types that ROS will see."""
    context = launch.LaunchContext()
    written = launch_ros.utilities.normalize_parameters([actions.typed_parameters(parameters)])
    return dict(launch_ros.utilities.evaluate_parameters(context, written)[0])


def windows(**given: str) -> list[Any]:
    """RViz for each camera, as it would be started."""
    context = launch.LaunchContext()
    found = [one for one in started("defense", rviz="true", **given) if one.node_executable == "rviz2"]
    for window in found:
        window._perform_substitutions(context)
    return found


@each_file
def test_the_declared_arguments_are_those_of_the_table(name: str) -> None:
    declared = load(name).generate_launch_description().get_launch_arguments()
    assert [one.name for one in declared] == [argument.name for argument in TABLES[name]]
    for one, argument in zip(declared, TABLES[name], strict=True):
        assert one.description == argument.help
        assert one.choices is None
        assert (one.default_value is None) == (argument.default is None)
        if argument.default is not None:
            assert launch.utilities.perform_substitutions(launch.LaunchContext(), one.default_value) == argument.default


def test_text_stays_text_whatever_it_looks_like() -> None:
    given = {"profile": "1e5", "autostart": False, "cameras": ["on", "rear"], "seed": 3, "path": "12"}
    assert typed_parameters(given) == given
    assert typed_parameters(street_parameters(values(DEMO, picture="12", seed="7"))) == {
        "picture": "12",
        "seed": 7,
        "loop": False,
        "min_subscribers": 2,
    }


def test_what_the_demo_starts_gets_text_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("12").touch()
    context = launch.LaunchContext()
    found: dict[str, Any] = {}
    for node in started("demo", picture="12", bag="1e3", pace="lockstep"):
        for given in launch_ros.utilities.evaluate_parameters(context, getattr(node, "_Node__parameters", [])):
            found |= given
    assert (found["picture"], found["path"], found["pace"]) == ("12", "1e3", "lockstep")


def test_the_defense_gets_no_file_where_none_is_named(tmp_path: Path) -> None:
    """SetParameter of an including launch file comes before the node's own parameters, and a file would hide it."""
    file = tmp_path / "mine.yaml"
    file.write_text("{}")
    for given, expected in (({}, 1), ({"params_file": str(file)}, 2)):
        (node,) = started("defense", **given)
        assert len(node._Node__parameters) == expected


def test_the_file_says_which_cameras_there_are(tmp_path: Path) -> None:
    file = tmp_path / "cameras.yaml"
    file.write_text("/**:\n  ros__parameters: {cameras: [front, rear], use_sim_time: true}\n")
    given = {"params_file": str(file), "image_topic": "/{camera}/image_rect", "namespace": "car"}
    (node,) = started("defense", **given)
    assert node._Node__remappings == []
    found = windows(**given)
    assert [window.expanded_node_namespace for window in found] == ["/car/front", "/car/rear"]
    assert found[1].expanded_remapping_rules == [("image_raw", "/rear/image_rect")]
    (clock,) = launch_ros.utilities.evaluate_parameters(launch.LaunchContext(), found[0]._Node__parameters)
    assert clock == {"use_sim_time": True}
    with pytest.raises(ZmaskError, match=r"has to have \{camera\} in it"):
        started("defense", params_file=str(file), image_topic="/camera/image_raw")


def test_a_namespace_that_was_pushed_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("one").touch()
    file = tmp_path / "cameras.yaml"
    file.write_text("/robot/car/defense_node:\n  ros__parameters: {cameras: [front, rear]}\n")
    found: list[set[str]] = []
    context = launch.LaunchContext()
    context.launch_configurations.update(values(DEFENSE, params_file=str(file), namespace="car", profile="one"))
    for pushed in ("", "/robot"):
        context.launch_configurations["ros_namespace"] = pushed
        entities = load("defense").generate_launch_description().entities
        (function,) = [one for one in entities if isinstance(one, launch.actions.OpaqueFunction)]
        (node,) = function.execute(context)
        given = launch_ros.utilities.evaluate_parameters(context, node._Node__parameters)
        found.append(set(given[-1]))
    assert found == [{"profile"}, {"front.profile", "rear.profile"}]


def test_camera_info_lies_beside_the_image() -> None:
    assert actions.input_remappings("/cam/left/image_rect") == [
        ("image_raw", "/cam/left/image_rect"),
        ("image_raw/compressed", "/cam/left/image_rect/compressed"),
        ("image_raw/ffmpeg", "/cam/left/image_rect/ffmpeg"),
        ("image_raw/foxglove", "/cam/left/image_rect/foxglove"),
        ("camera_info", "/cam/left/camera_info"),
    ]


def test_what_is_started() -> None:
    assert len(started("defense")) == 1
    assert len(started("defense", rviz="true")) == 2
    assert len(started("defense", rviz="true", cameras="front,rear")) == 3
    assert len(started("demo")) == 5
    assert len(started("demo", bag="somewhere")) == 7


def test_rviz_looks_at_the_camera() -> None:
    found = windows(namespace="car", cameras="front,rear", image_topic="/{camera}/image_rect")
    assert [window.expanded_node_namespace for window in found] == ["/car/front", "/car/rear"]
    assert found[1].expanded_remapping_rules == [("image_raw", "/rear/image_rect")]


def test_what_is_started_for_a_bag(tmp_path: Path) -> None:
    (tmp_path / "drive.mcap").touch()
    assert len(started("replay", bag=str(tmp_path))) == 4


def test_a_rate_is_one_that_our_player_has() -> None:
    (rate,) = (spec for spec in specs(PlayerParameters) if spec.name == "rate")
    assert (rate.minimum, rate.maximum) == (SLOWEST, FASTEST)


def test_both_players_bring_their_time_and_leave_out_what_a_defence_has_published() -> None:
    given = values(REPLAY, bag="drive_7", rate="0.5")
    words, parameters = ros2_bag_words(given), player_parameters(given)
    assert words[:4] == ["ros2", "bag", "play", "drive_7"] and parameters["path"] == "drive_7"
    for option, name in {"--rate": "rate", "--clock": "clock_hz", "--delay": "delay_s"}.items():
        assert float(words[words.index(option) + 1]) == parameters[name] > 0
    assert words[words.index("--exclude-regex") + 1] == parameters["exclude_regex"] == ".*/zmask/.*"
    assert parameters["rate"] == 0.5
    for loop in ("true", "false"):
        given = values(REPLAY, bag="drive_7", loop=loop)
        assert ("--loop" in ros2_bag_words(given)) == player_parameters(given)["loop"] == (loop == "true")
    assert player_parameters(given).keys() <= {spec.name for spec in specs(PlayerParameters)}


def test_everything_shares_the_settings_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    (variable,) = fast_dds_profile()
    monkeypatch.setenv(variable, "mine.xml")
    assert actions.shared_memory() == {variable: "mine.xml"}
    monkeypatch.delenv(variable)
    assert actions.shared_memory() == fast_dds_profile()


def test_a_demo_whose_defense_does_not_start_ends_with_an_error(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(f"/**:\n  ros__parameters: {{profile: {tmp_path}/none.zmask.safetensors}}\n")
    script = RUN.format(file=FOLDER / "demo.launch.py", given={"params_file": str(file), "rviz": "false"})
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240, check=False)
    assert "There is no profile" in done.stdout, done.stdout + done.stderr
    assert "street_camera" in done.stdout
    assert "defense_node-1 has ended with exit code 2: see what it said." in done.stderr + done.stdout
    assert done.returncode == 1
