"""The launch files as far as they can be checked without launch: their Python, and the tables of their arguments."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from support import ROOT
from support.bag_makers import write_drive, write_rosbag1, write_rosbag2
from zmask_ros.errors import ZmaskError
from zmask_ros.launching.arguments import DEFENSE, DEMO, REPLAY, USE_SIM_TIME, Argument, refuse_unknown
from zmask_ros.launching.defense import BOOLEAN_ARGUMENTS, PER_CAMERA, TEXT_ARGUMENTS
from zmask_ros.launching.demo import street_parameters
from zmask_ros.launching.replay import check_is_bag
from zmask_ros.node.parameters.defense_node import CameraParameters, DefenseParameters
from zmask_ros.node.parameters.spec import specs
from zmask_ros.node.parameters.street_camera import StreetCameraParameters

FILES = sorted((ROOT / "launch").glob("*.launch.py"))
TABLES = {"DEFENSE": DEFENSE, "DEMO": DEMO, "REPLAY": REPLAY}
# What users of other camera nodes look for.
EXPECTED = {
    "namespace",
    "params_file",
    "image_topic",
    "image_transport",
    "segmenter",
    "profile",
    "device",
    "use_sim_time",
    "autostart",
    "rviz",
    "log_level",
}

each_file = pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
each_table = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)


@each_file
def test_a_launch_file_is_python_that_takes_its_arguments_from_the_table(file: Path) -> None:
    tree = ast.parse(file.read_text())
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert "generate_launch_description" in functions
    assert file.name.removesuffix(".launch.py").upper() in used
    assert "DeclareLaunchArgument" not in called


@each_file
def test_no_argument_is_used_that_is_not_declared(file: Path) -> None:
    declared = {argument.name for argument in TABLES[file.name.removesuffix(".launch.py").upper()]}
    looked_up = {
        node.slice.value
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id == "value"
        and isinstance(node.slice, ast.Constant)
    }
    assert looked_up <= declared


@each_table
def test_every_argument_is_described_and_its_default_is_a_choice(table: tuple[Argument, ...]) -> None:
    assert len({argument.name for argument in table}) == len(table)
    for argument in table:
        assert len(argument.description) > 10
        assert argument.description.endswith(".")
        assert not argument.choices or argument.default in argument.choices
        # Said of those, and only of those, whose default is to say nothing.
        assert ("Empty:" in argument.description) == (argument.default == "" and argument.name != "namespace")


def test_what_a_launch_file_hands_on_is_a_parameter_of_the_node() -> None:
    assert {*TEXT_ARGUMENTS, *BOOLEAN_ARGUMENTS} - {"use_sim_time"} <= {spec.name for spec in specs(DefenseParameters)}
    assert set(PER_CAMERA) <= {spec.name for spec in specs(CameraParameters)}
    every = {argument.name: "1" for argument in DEMO}
    assert street_parameters(every).keys() <= {spec.name for spec in specs(StreetCameraParameters)}


def test_defense_has_the_arguments_that_users_expect() -> None:
    assert {argument.name for argument in DEFENSE} >= EXPECTED


def test_replay_has_what_the_bag_needs_and_takes_its_time() -> None:
    assert {"bag", "rate", "loop"} <= {argument.name for argument in REPLAY}
    assert {argument.name for argument in DEFENSE} - {argument.name for argument in REPLAY} == {"use_sim_time"}
    assert [argument.name for argument in REPLAY if argument.default is None] == ["bag"]


def test_what_there_is_no_argument_for_is_refused_with_what_was_meant() -> None:
    refuse_unknown({argument.name for argument in DEFENSE} | {"launch-prefix"}, DEFENSE)
    with pytest.raises(ZmaskError, match=r"^There is no argument camera: did you mean cameras\?$"):
        refuse_unknown({"camera", "namespace"}, DEFENSE)
    with pytest.raises(ZmaskError, match=r"^There is no argument nonsense: there are namespace, cameras, "):
        refuse_unknown({"nonsense"}, DEFENSE)


def test_a_choice_is_spelled_as_elsewhere_in_ros() -> None:
    for given, expected in {"True": "true", "true": "true", "False": "false", "": ""}.items():
        assert USE_SIM_TIME.checked(given) == expected
    with pytest.raises(ZmaskError, match=r"^The argument use_sim_time is one of true, false, not 'yes'\.$"):
        USE_SIM_TIME.checked("yes")
    (transport,) = (argument for argument in DEFENSE if argument.name == "image_transport")
    with pytest.raises(ZmaskError, match=r"one of raw, compressed, ffmpeg, foxglove, not 'theora'\.$"):
        transport.checked("theora")
    (level,) = (argument for argument in DEFENSE if argument.name == "log_level")
    assert level.checked("INFO") == "info"
    (topic,) = (argument for argument in DEFENSE if argument.name == "image_topic")
    assert topic.checked("True") == "True"


def test_what_looks_like_a_bag_of_ros_2_is_played(tmp_path: Path) -> None:
    mcap = write_drive(tmp_path / "drive.mcap", 2)
    packed = tmp_path / "some_name.zst"
    packed.write_bytes(zstandard.compress(mcap.read_bytes()))
    without_ending = tmp_path / "drive_7"
    without_ending.write_bytes(mcap.read_bytes())
    only_named = tmp_path / "damaged.MCAP"
    only_named.touch()
    sqlite = write_rosbag2(tmp_path / "b", 2, StoragePlugin.SQLITE3)
    files = write_rosbag2(tmp_path / "c", 2, StoragePlugin.SQLITE3, CompressionMode.FILE)
    lost = tmp_path / "lost"
    lost.mkdir()
    (lost / "metadata.yaml").touch()
    folder = write_drive(tmp_path / "drive", 2)
    for bag in (mcap, packed, without_ending, only_named, sqlite, sqlite / "b.db3", files, lost, folder):
        check_is_bag(bag)


def test_what_is_no_bag_of_ros_2_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no bag")
    for name in ("empty", "old"):
        (tmp_path / name).mkdir()
    old = write_rosbag1(tmp_path / "old" / "drive.bag", 2, None)
    for path in (text, tmp_path, tmp_path / "empty"):
        with pytest.raises(
            ZmaskError, match=r"is not a bag: expected a rosbag2 directory, an \.mcap or a \.db3 file\.$"
        ):
            check_is_bag(path)
    for path in (old, old.parent):
        with pytest.raises(ZmaskError, match=r"is a bag of ROS 1, which cannot be played: convert it, or use zmask"):
            check_is_bag(path)


def test_a_bag_is_looked_at_without_what_reads_bags() -> None:
    """Launch runs in the system's Python, which may have none of the packages."""
    block = "import sys; sys.modules.update(dict.fromkeys(['numpy', 'mcap', 'zstandard', 'lz4', 'rosbags', 'torch']))"
    command = f"{block}; import zmask_ros.launching.replay"
    subprocess.run([sys.executable, "-c", command], check=True, timeout=30)
