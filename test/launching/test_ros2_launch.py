"""Real `ros2 launch`, where it is installed: what it cannot start is said in one sentence, and no process is left."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

pytest.importorskip("launch_ros", reason="launch_ros is not installed")
if shutil.which("ros2") is None:
    pytest.skip("ros2 is not installed", allow_module_level=True)

from support.bag_makers import stamp_ns
from support.launched import Launched
from support.node_processes import RELIABLE, Client, tiny_parameters
from support.tiny_network import clean_image
from zmask_ros.flags.flag import FrameState
from zmask_ros.io.bags.writer import BagWriter
from zmask_ros.launching import actions
from zmask_ros.msg import AttackFlag

RVIZ_IS_THERE = shutil.which("rviz2") is not None
# Another node is started first, as the camera driver is on a vehicle.
INCLUDING = """
from launch import LaunchDescription
from launch.actions import ExecuteProcess, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import SetParameter
from launch_ros.substitutions import FindPackageShare


def generate_launch_description():
    source = PythonLaunchDescriptionSource([FindPackageShare("zmask_ros"), "/launch/defense.launch.py"])
    return LaunchDescription([
        ExecuteProcess(cmd=["sleep", "600"]),
        *[SetParameter(name, value) for name, value in {parameters}.items()],
        IncludeLaunchDescription(source, launch_arguments={given}.items()),
    ])
"""


def refused(words: Sequence[str], sentence: str) -> None:
    """The launch ends with an error and this sentence, and nothing of it runs."""
    launched = Launched(*words)
    try:
        code, output = launched.end()
        assert code == 1, output
        assert sentence in output
        assert "Traceback" not in output
        assert "defense_node" not in output
        assert launched.processes() == []
    finally:
        launched.kill()


@pytest.mark.skipif(RVIZ_IS_THERE, reason="rviz2 is installed")
@pytest.mark.parametrize(
    "words",
    [["demo.launch.py"], ["defense.launch.py", "rviz:=True"], ["replay.launch.py", "bag:=drive.mcap", "rviz:=true"]],
)
def test_without_rviz_nothing_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("drive.mcap").touch()
    refused(["zmask_ros", *words], "rviz2 is not installed, and nothing is started without it: install it, or say rviz")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["defense.launch.py", "camera:=front"], "There is no argument camera: did you mean cameras?"),
        (["demo.launch.py", "rviz:=false", "nonsense:=1"], "There is no argument nonsense: there are namespace, "),
        (["defense.launch.py", "use_sim_time:=yes"], "The argument use_sim_time is one of true, false, not 'yes'."),
        (["replay.launch.py", "bag:=/nowhere/drive_7"], "There is no bag /nowhere/drive_7."),
        (["defense.launch.py", "profile:=/nowhere/7"], "There is no profile /nowhere/7."),
        (
            ["defense.launch.py", "cameras:=front,rear", "profile:=/nowhere/{camera}"],
            "There is no profile /nowhere/front.",
        ),
        (["replay.launch.py", "bag:=/"], "/ is not a bag: expected a rosbag2 directory, an .mcap or a .db3 file."),
        (["replay.launch.py", f"bag:={__file__}"], "test_ros2_launch.py is not a bag: expected a rosbag2 directory, "),
        (["replay.launch.py", "bag:=/", "rate:=fast"], "The argument rate is a number from 0.001 to 1000, not 'fast'."),
        (["demo.launch.py", "rviz:=false", "picture:=/nowhere/patch.png"], "There is no picture /nowhere/patch.png."),
        (["demo.launch.py", "rviz:=false", "bag:=/"], "The bag / is there already: remove it, or name another."),
        (["demo.launch.py", "rviz:=false", "seed:=-3"], "The argument seed is an integer of at least 0, not '-3'."),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_started(words: list[str], sentence: str) -> None:
    refused(["zmask_ros", *words], sentence)


@pytest.mark.skipif(RVIZ_IS_THERE, reason="rviz2 is installed")
@pytest.mark.parametrize(
    ("given", "sentence"),
    [({"rviz": "true"}, "rviz2 is not installed"), ({"camera": "front"}, "There is no argument camera: did you mean")],
)
def test_a_launch_file_that_has_started_others_ends_them(tmp_path: Path, given: dict[str, str], sentence: str) -> None:
    file = tmp_path / "vehicle.launch.py"
    file.write_text(INCLUDING.format(given=given, parameters={}))
    refused([str(file), "vehicle:=7"], sentence)


def test_what_set_parameter_says_reaches_the_node(tmp_path: Path) -> None:
    parameters = {"use_sim_time": True, "threshold": 0.321, **tiny_parameters(tmp_path)}
    file = tmp_path / "vehicle.launch.py"
    file.write_text(INCLUDING.format(given={}, parameters=parameters))
    launched = Launched(str(file))
    try:
        assert "threshold 0.321" in launched.until("defends /image_raw")
        launched.interrupt()
        code, output = launched.end()
        assert code == 0, output
        assert launched.processes() == []
    finally:
        launched.kill()


@pytest.mark.parametrize("moment", ["loading torch", "loading the network of", "defends /image_raw"])
def test_ctrl_c_ends_everything_cleanly_also_during_the_start(tmp_path: Path, moment: str) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump({"/**": {"ros__parameters": tiny_parameters(tmp_path)}}))
    launched = Launched("zmask_ros", "defense.launch.py", f"params_file:={file}")
    try:
        launched.until(moment)
        launched.interrupt_all()
        code, output = launched.end()
        assert code == 0, output
        assert "process has finished cleanly" in output and "exit code" not in output and "Traceback" not in output
        assert launched.processes() == []
    finally:
        launched.kill()


def test_what_turns_out_to_be_no_bag_ends_everything_with_an_error(tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump({"/**": {"ros__parameters": tiny_parameters(tmp_path)}}))
    bag = tmp_path / "drive.mcap"
    bag.write_text("no bag")
    launched = Launched("zmask_ros", "replay.launch.py", f"bag:={bag}", f"params_file:={file}")
    try:
        code, output = launched.end()
        assert code == 1, output
        assert re.search(r"-2 has ended with exit code \d+: see what it said\.", output), output
        assert launched.processes() == []
    finally:
        launched.kill()


@pytest.mark.skipif(actions.has_ros2_bag(), reason="ros2 bag is installed, and plays it")
def test_a_bag_is_played_without_ros2_bag(tmp_path: Path) -> None:
    count = 8
    with BagWriter(tmp_path / "drive") as bag:
        for index in range(count):
            bag.write_image("/played/image_raw", clean_image(index), "rgb8", stamp_ns(index), "front")
    parameters = {**tiny_parameters(tmp_path, "/played/"), "timeout_s": 1000.0}
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
    client = Client("/played")
    flags = client.collect(AttackFlag, "zmask/attack", RELIABLE)
    given = [f"bag:={tmp_path}/drive", "rate:=0.2", "namespace:=played", f"params_file:={file}"]
    launched = Launched("zmask_ros", "replay.launch.py", *given)
    try:
        client.until(lambda: len(flags) == count, "a flag of each frame of the bag")
        code, output = launched.end()
        assert code == 0, output
        assert f"played {count} messages" in output
        assert [flag.state for flag in flags] == [FrameState.CLEAN] * count
        assert launched.processes() == []
    finally:
        launched.kill()
        client.close()
