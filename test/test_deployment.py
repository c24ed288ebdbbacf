"""The files that are installed on a vehicle as they are: Fast DDS profile, units, container file, layouts."""

from __future__ import annotations

import configparser
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import click
import pytest
import yaml

from support import ROOT
from zmask_ros.cli.main import zmask
from zmask_ros.flags.topics import ATTACK_TOPIC
from zmask_ros.launching.arguments import DEFENSE
from zmask_ros.resources import fast_dds_profile
from zmask_ros.runtime.picture_topics import PICTURE_TOPICS

FAST_DDS = ROOT / "config" / "fastdds.xml"
LAYOUT = ROOT / "config" / "foxglove" / "defense.json"
ANALYZER = ROOT / "config" / "diagnostics_analyzer.yaml"
RVIZ = ROOT / "rviz" / "defense.rviz"
POLICY = ROOT / "deploy" / "sros2" / "policy.xml"
UNITS = sorted((ROOT / "deploy").glob("*.service"))
DROP_INS = sorted((ROOT / "deploy").glob("*.service.d/sros2.conf"))
DOCUMENTS = "".join((ROOT / "docs" / name).read_text() for name in ("deployment.md", "vehicle.md"))
SEEN = {"image_raw", ATTACK_TOPIC, *(topic.name for topic in PICTURE_TOPICS)}
NAMESPACE = "{http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles}"
KNOWN_KEYS = {
    "profiles",
    "transport_descriptors",
    "transport_descriptor",
    "transport_id",
    "type",
    "segment_size",
    "participant",
    "rtps",
    "userTransports",
    "useBuiltinTransports",
}

each_drop_in = pytest.mark.parametrize("drop_in", DROP_INS, ids=lambda path: path.parent.name)
# What RViz and Foxglove (by its open fork Lichtblick, but for the title) read in their files.
# Neither runs in a test, and both pass over without a word what they do not know.
RVIZ_IMAGE = {"Class", "Name", "Enabled", "Value", "Topic", "Normalize Range", "Min Value", "Max Value"}
RVIZ_POLICIES = {
    "History Policy": {"Keep Last", "Keep All", "System Default"},
    "Reliability Policy": {"Best Effort", "Reliable", "System Default"},
    "Durability Policy": {"Volatile", "Transient Local", "System Default"},
}
FOXGLOVE_PATH = {"value", "enabled", "label", "color", "timestampMethod", "showLine", "lineSize"}
FOXGLOVE_LEGEND = {"showLegend", "legendDisplay", "showPlotValuesInLegend"}
FOXGLOVE_AXES = {"showXAxisLabels", "showYAxisLabels", "xAxisVal", "followingViewWidth"}
FOXGLOVE_SETTINGS = {
    "Image": {"imageMode"},
    "Plot": {"foxglovePanelTitle", "paths", "isSynced"} | FOXGLOVE_LEGEND | FOXGLOVE_AXES,
    "StateTransitions": {"isSynced", "paths", "showPoints"},
    "RawMessages": {"topicPath", "diffEnabled", "diffMethod", "diffTopicPath", "showFullMessageForDiff", "expansion"},
    "DiagnosticSummary": {"minLevel", "pinnedIds", "topicToRender", "hardwareIdFilter", "sortByLevel"},
}

each_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)


def test_fast_dds_gets_a_segment_that_images_fit_into() -> None:
    root = ElementTree.parse(FAST_DDS).getroot()
    assert {element.tag.removeprefix(NAMESPACE) for element in root.iter()} <= KNOWN_KEYS
    sizes = {
        one.findtext(f"{NAMESPACE}type"): one.findtext(f"{NAMESPACE}segment_size")
        for one in root.iter(f"{NAMESPACE}transport_descriptor")
    }
    assert sizes == {"SHM": str(32 * 2**20), "UDPv4": None}
    named = {one.text for one in root.iter(f"{NAMESPACE}transport_id")}
    used = {one.text for transports in root.iter(f"{NAMESPACE}userTransports") for one in transports}
    assert used == named


@pytest.mark.parametrize(
    ("package", "variable"),
    [("fastrtps", "FASTRTPS_DEFAULT_PROFILES_FILE"), ("fastdds", "FASTDDS_DEFAULT_PROFILES_FILE")],
)
def test_shell_and_python_name_the_variable_of_the_fast_dds_that_is_there(
    package: str, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ros/share" / package).mkdir(parents=True)
    monkeypatch.setenv("AMENT_PREFIX_PATH", os.pathsep.join([str(tmp_path / "workspace"), str(tmp_path / "ros")]))
    assert fast_dds_profile() == {variable: str(FAST_DDS)}
    script = f". {ROOT}/scripts/common.sh; fast_dds_variable"
    done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == variable


def test_a_distribution_that_is_not_known_is_refused() -> None:
    given = {**os.environ, "ROS": "melodic"}
    done = subprocess.run([ROOT / "scripts/run.sh", "true"], env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ROS=melodic is not known" in done.stderr and len(done.stderr.splitlines()) == 1


def complaints_of_fast_dds(profile: Path) -> str:
    """What Fast DDS itself says when a participant is made with the profile."""
    pytest.importorskip("rclpy", reason="ROS 2 is not installed", exc_type=ModuleNotFoundError)
    (variable,) = fast_dds_profile()
    script = "import rclpy; rclpy.init(); rclpy.create_node('reads_the_profile').destroy_node(); rclpy.shutdown()"
    command = ["env", f"{variable}={profile}", sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return "\n".join(line for line in (done.stdout + done.stderr).splitlines() if "XML" in line)


def test_fast_dds_understands_its_profile(tmp_path: Path) -> None:
    assert complaints_of_fast_dds(FAST_DDS) == ""
    (tmp_path / "wrong.xml").write_text(FAST_DDS.read_text().replace("segment_size", "segment_length"))
    assert "segment_length" in complaints_of_fast_dds(tmp_path / "wrong.xml"), "it would not say so"


def unit_of(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(path.read_text())
    return parser


@each_unit
def test_a_unit_restarts_what_it_runs_and_ends_it_as_ctrl_c_does(unit: Path) -> None:
    parsed = unit_of(unit)
    assert parsed.sections() == ["Unit", "Service", "Install"]
    service = parsed["Service"]
    assert (service["Restart"], service["KillSignal"], service["KillMode"]) == ("always", "SIGINT", "mixed")
    assert re.fullmatch(r"\d+(-\d+)?( \d+(-\d+)?)*", service["CPUAffinity"])
    assert service["User"] != "root"
    # Either would take the GPU or the shared memory away.
    assert "PrivateDevices" not in service and "PrivateIPC" not in service


@each_unit
@pytest.mark.parametrize("entry", ["ExecStart", "ExecReload"])
def test_a_unit_calls_what_there_is(unit: Path, entry: str) -> None:
    call = unit_of(unit)["Service"].get(entry)
    if call is None:
        assert entry == "ExecReload" and "record" in unit.name, "only the node has something to read again"
        return
    shell = re.fullmatch(r"/bin/bash -c '([^']*)'", call)
    assert shell is not None
    launched = re.search(r"ros2 launch zmask_ros (\S+) (.*)", shell[1])
    if launched is not None:
        assert (ROOT / "launch" / launched[1]).is_file()
        given = {word.split(":=")[0] for word in launched[2].split()}
        assert given <= {argument.name for argument in DEFENSE}
        return
    _, _, words = shell[1].partition('exec "$(ros2 pkg prefix zmask_ros)/lib/zmask_ros/zmask" ')
    # Not `ros2 run`, which would be the main process, gets the signal alone and does not pass it on.
    command, *arguments = words.replace("%i", "front").split()
    subcommand = zmask.get_command(click.Context(zmask), command)
    assert subcommand is not None
    subcommand.make_context(command, arguments)


@each_unit
def test_a_unit_reads_the_environment_that_is_shipped(unit: Path) -> None:
    variables = dict(environment())
    assert "ZMASK_WORKSPACE" in variables
    assert unit_of(unit)["Service"]["EnvironmentFile"] == "/etc/zmask/zmask.env"
    assert set(re.findall(r"\$(\w+)", unit.read_text())) <= set(variables)


def environment() -> Iterator[tuple[str, str]]:
    for line in (ROOT / "deploy" / "zmask.env").read_text().splitlines():
        if line and not line.startswith("#"):
            name, equals, value = line.partition("=")
            assert equals and re.fullmatch(r"[A-Z_]+", name), line
            yield name, value


def test_the_container_takes_nothing_along_that_it_makes_anew() -> None:
    ignored = {line.strip("/") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] != "#"}
    made = {line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()}
    assert {".git"} | {name for name in made if "*" not in name} <= {name.removeprefix("**/") for name in ignored}
    container = (ROOT / "deploy" / "Containerfile").read_text().splitlines()
    words = [line.split()[0] for line in container if line[:1].isalpha()]
    assert words[0] == "FROM" and set(words) <= {"FROM", "RUN", "WORKDIR", "COPY", "ENV", "ENTRYPOINT", "CMD"}


def test_the_policy_has_the_form_of_sros2() -> None:
    root = ElementTree.parse(POLICY).getroot()
    assert (root.tag, root.attrib) == ("policy", {"version": "0.2.0"})
    for enclave in root.iterfind("enclaves/enclave"):
        for profile in enclave.iterfind("profiles/profile"):
            assert enclave.attrib["path"] == f"{profile.attrib['ns']}/{profile.attrib['node']}"
            for group in profile:
                assert group.tag in {"topics", "services"}
                ((kind, allowed),) = group.attrib.items()
                assert (kind, allowed) in {("publish", "ALLOW"), ("subscribe", "ALLOW"), ("reply", "ALLOW")}
                names = [one.text for one in group.iterfind(group.tag.removesuffix("s"))]
                assert len(names) == len(group) == len(set(names))


def security(drop_in: Path) -> dict[str, str]:
    """The environment that a drop-in gives to the unit of camera /front."""
    lines = drop_in.read_text().replace("%i", "front").splitlines()
    settings = [line.removeprefix("Environment=") for line in lines if line.startswith("Environment=")]
    return dict(setting.split("=", 1) for setting in settings)


def test_every_unit_has_its_enclave_of_the_policy() -> None:
    enclaves = {one.attrib["path"] for one in ElementTree.parse(POLICY).iter("enclave")}
    assert [path.parent.name for path in DROP_INS] == [f"{unit.name}.d" for unit in UNITS]
    assert {security(path)["ROS_SECURITY_ENCLAVE_OVERRIDE"] for path in DROP_INS} == enclaves
    for path in DROP_INS:
        assert security(path)["ROS_SECURITY_ENABLE"] == "true"
        assert security(path)["ROS_SECURITY_STRATEGY"] == "Enforce"
        # What is in EnvironmentFile would win.
        assert not security(path).keys() & dict(environment()).keys()
    assert all(enclave in DOCUMENTS for enclave in enclaves)


def test_with_security_the_node_runs_without_a_launch() -> None:
    (drop_in,) = (path for path in DROP_INS if "ExecStart" in path.read_text())
    first, second = (line for line in drop_in.read_text().splitlines() if line.startswith("ExecStart="))
    assert (drop_in.parent.name, first) == ("zmask-defense@.service.d", "ExecStart=")
    assert "ros2 launch" not in second
    (unit,) = (unit for unit in UNITS if f"{unit.name}.d" == drop_in.parent.name)
    given = dict(word.split(":=") for word in unit_of(unit)["Service"]["ExecStart"].strip("'").split() if ":=" in word)
    assert f"-r __ns:=/{given['namespace']} --params-file {given['params_file']}'" in second


@each_drop_in
def test_a_node_asks_for_the_enclave_of_its_drop_in(drop_in: Path, tmp_path: Path) -> None:
    pytest.importorskip("rclpy", reason="ROS 2 is not installed", exc_type=ModuleNotFoundError)
    given = {**os.environ, **security(drop_in), "ROS_SECURITY_KEYSTORE": str(tmp_path)}
    script = "import sys; from zmask_ros.node.main import run; sys.exit(run('no:node'))"
    done = subprocess.run(
        [sys.executable, "-c", script], env=given, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert f"{tmp_path}/enclaves{security(drop_in)['ROS_SECURITY_ENCLAVE_OVERRIDE']}" in done.stderr


@pytest.mark.parametrize(
    "task",
    [
        "front input",
        "front inference",
        "front attack",
        "front device",
        "front rear device",
        "front profile",
        "front rear profile",
    ],
)
def test_the_analyzer_has_each_task_in_one_group(task: str) -> None:
    analyzers = yaml.safe_load(ANALYZER.read_text())["analyzers"]["ros__parameters"]["zmask"]["analyzers"]
    groups = {
        name: group
        for name, group in analyzers.items()
        if any(re.fullmatch(pattern, f"car/defense_node: {task}") for pattern in group["regex"])
    }
    assert len(groups) == 1


def rviz_topics() -> list[str]:
    displays = yaml.safe_load(RVIZ.read_text())["Visualization Manager"]["Displays"]
    return [display["Topic"]["Value"] for display in displays]


def test_rviz_follows_its_namespace() -> None:
    assert rviz_topics()
    assert set(rviz_topics()) <= SEEN


def test_rviz_finds_every_class_and_property_that_its_file_names() -> None:
    file = yaml.safe_load(RVIZ.read_text())
    manager = file["Visualization Manager"]
    assert {panel["Class"] for panel in file["Panels"]} == {"rviz_common/Displays"}
    assert manager["Global Options"].keys() <= {"Background Color", "Fixed Frame", "Frame Rate"}
    assert manager["Views"]["Current"]["Class"] == "rviz_default_plugins/Orbit"
    for display in manager["Displays"]:
        assert display["Class"] == "rviz_default_plugins/Image"
        assert display.keys() <= RVIZ_IMAGE
        for name, known in RVIZ_POLICIES.items():
            assert display["Topic"][name] in known
        assert display["Topic"].keys() <= {"Value", "Depth", *RVIZ_POLICIES}


def panels_of(place: Any) -> list[str]:
    return [place] if isinstance(place, str) else [*panels_of(place["first"]), *panels_of(place["second"])]


def test_foxglove_shows_each_of_its_panels_once() -> None:
    layout = json.loads(LAYOUT.read_text())
    assert sorted(panels_of(layout["layout"])) == sorted(layout["configById"])
    kinds = {name.split("!")[0] for name in layout["configById"]}
    assert kinds == {"Image", "Plot", "StateTransitions", "RawMessages", "DiagnosticSummary"}


def test_foxglove_finds_every_setting_that_the_layout_has() -> None:
    for name, settings in json.loads(LAYOUT.read_text())["configById"].items():
        kind = name.partition("!")[0]
        assert settings.keys() <= FOXGLOVE_SETTINGS[kind], f"no such setting of a panel {kind}"
        for path in settings.get("paths", []):
            assert path.keys() <= FOXGLOVE_PATH and path["timestampMethod"] in ("receiveTime", "headerStamp")
        assert settings.get("imageMode", {}).keys() <= {"imageTopic", "calibrationTopic"}
        assert settings.get("xAxisVal", "timestamp") in ("timestamp", "index", "custom", "currentCustom")
        assert settings.get("legendDisplay", "none") in ("floating", "top", "left", "none")


def test_foxglove_shows_what_is_published() -> None:
    fields = {line.split()[1] for line in (ROOT / "msg" / "AttackFlag.msg").read_text().splitlines() if "#" in line[1:]}
    topics = set(re.findall(r'"(/[^"]*)"', LAYOUT.read_text())) - {"/diagnostics"}
    assert topics
    for topic in topics:
        name, _, field = topic.removeprefix("/front/").partition(".")
        assert topic.startswith("/front/") and name in SEEN
        assert not field or field in fields


@pytest.mark.parametrize("name", [path.name for path in sorted((ROOT / "deploy").rglob("*")) if path.is_file()])
def test_every_file_of_a_deployment_is_documented(name: str) -> None:
    assert name in DOCUMENTS
