"""The launch files as far as they can be checked without launch: their Python, and the tables of their arguments."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from support import ROOT
from zmask_ros.errors import ZmaskError
from zmask_ros.launching.arguments import DEFENSE, DEMO, REPLAY, USE_SIM_TIME, Argument, refuse_unknown
from zmask_ros.launching.defense import BOOLEAN_ARGUMENTS, PER_CAMERA, TEXT_ARGUMENTS
from zmask_ros.launching.demo import street_parameters
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
