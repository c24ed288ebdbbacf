"""What the arguments of defense.launch.py and its file of parameters come to; the file against ROS's own reading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support import ROOT
from zmask_ros.errors import ZmaskError
from zmask_ros.launching.arguments import DEFENSE
from zmask_ros.launching.defense import PUSHED_NAMESPACE, DefenseLaunch
from zmask_ros.launching.demo import refuse_several_cameras
from zmask_ros.launching.parameter_file import read_parameters

SHIPPED = ROOT / "config" / "defense.yaml"
CAMERAS = "{cameras: [front, rear], front: {image_topic: sensors/front}, rear.image_topic: /rear/image}"
# Files, and which of their values a node /front/defense_node gets: the last one that its name fits.
FILES = {
    "/**: {ros__parameters: {a: 1}}": 1,
    "/front/defense_node: {ros__parameters: {a: 1}}": 1,
    "front: {defense_node: {ros__parameters: {a: 1}}}": 1,
    "/*/defense_node: {ros__parameters: {a: 1}}": 1,
    "/**/defense_node: {ros__parameters: {a: 1}}": 1,
    "/front/*: {ros__parameters: {a: 1}}": 1,
    "/front/**: {ros__parameters: {a: 1}}": 1,
    "/*: {ros__parameters: {a: 1}}": None,
    "defense_node: {ros__parameters: {a: 1}}": None,
    "/rear/defense_node: {ros__parameters: {a: 1}}": None,
    "/front/defense_node: {ros__parameters: {a: 1}}\n/**: {ros__parameters: {a: 2}}": 2,
    "/**: {ros__parameters: {a: 1, b: 3}}\n/front/defense_node: {ros__parameters: {a: 2}}": 2,
}


def defense(file: Path = SHIPPED, **given: str) -> DefenseLaunch:
    defaults = {argument.name: argument.default or "" for argument in DEFENSE}
    assert given.keys() <= {*defaults, PUSHED_NAMESPACE}, "no such argument"
    return DefenseLaunch(defaults | given, file)


@pytest.fixture
def cameras(tmp_path: Path) -> Path:
    path = tmp_path / "cameras.yaml"
    path.write_text(f"/**:\n  ros__parameters: {CAMERAS}\n")
    return path


@pytest.mark.parametrize(("content", "expected"), FILES.items())
def test_a_file_is_read_as_ros_does(tmp_path: Path, content: str, expected: int | None) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(content)
    assert read_parameters(path, "/front/defense_node").get("a") == expected
    rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed", exc_type=ModuleNotFoundError)
    context = rclpy.Context()
    context.init(["--ros-args", "--params-file", str(path)])
    node = rclpy.create_node(
        "defense_node", namespace="/front", context=context, automatically_declare_parameters_from_overrides=True
    )
    try:
        assert node.get_parameter_or("a", rclpy.Parameter("a")).value == expected
    finally:
        node.destroy_node()
        context.shutdown()


@pytest.mark.parametrize("content", ["a: [", "12", "- /**"])
def test_what_is_no_file_of_parameters_is_one_sentence(tmp_path: Path, content: str) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(content)
    with pytest.raises(ZmaskError, match=r"^params_file .*file\.yaml .*$"):
        defense(path)
    with pytest.raises(ZmaskError, match=r"^params_file .* cannot be read: .*No such file"):
        defense(tmp_path / "none.yaml")


def test_only_what_was_given_overrides_the_file() -> None:
    assert defense().parameters == {}
    assert defense(device="cpu", profile="1e5", autostart="false", use_sim_time="true").parameters == {
        "device": "cpu",
        "profile": "1e5",
        "autostart": False,
        "use_sim_time": True,
    }


def test_each_of_several_cameras_gets_what_was_given() -> None:
    assert defense(cameras="front, rear").parameters == {"cameras": ["front", "rear"]}
    given = {"image_topic": "/sensors/{camera}/image_rect", "profile": "/etc/{camera}.p", "image_transport": "raw"}
    assert defense(cameras="front,rear", **given).parameters == {
        "cameras": ["front", "rear"],
        "front.image_topic": "/sensors/front/image_rect",
        "rear.image_topic": "/sensors/rear/image_rect",
        "front.profile": "/etc/front.p",
        "rear.profile": "/etc/rear.p",
        "front.image_transport": "raw",
        "rear.image_transport": "raw",
    }


def test_cameras_of_the_file_are_as_good_as_those_of_the_argument(cameras: Path) -> None:
    both = defense(cameras, image_topic="/{camera}/image", profile="/etc/both.p")
    assert both.cameras == ["front", "rear"]
    expected = {"front.image_topic": "/front/image", "rear.image_topic": "/rear/image"}
    expected |= {"front.profile": "/etc/both.p", "rear.profile": "/etc/both.p"}
    assert both.parameters == expected
    other: dict[str, Any] = defense(cameras, cameras="left", image_topic="/image").parameters
    assert other == {"cameras": ["left"], "left.image_topic": "/image"}


def test_what_does_not_fit_the_cameras_is_refused(cameras: Path) -> None:
    with pytest.raises(ZmaskError, match=r"^image_topic has to have \{camera\} in it.*: front, rear\.$"):
        defense(cameras, image_topic="/camera/image_raw")
    with pytest.raises(ZmaskError, match=r"^profile has \{camera\} in it, but neither .* names any camera\.$"):
        defense(profile="/etc/{camera}.p")


def test_rviz_sees_the_topics_of_the_node(cameras: Path) -> None:
    written = defense(cameras, namespace="car", **{PUSHED_NAMESPACE: "/robot"})
    assert written.logger == "robot.car.defense_node"
    assert written.image_topic("front") == "/robot/car/sensors/front"
    assert written.image_topic("rear") == "/rear/image"
    assert defense(cameras, image_topic="/other/{camera}").image_topic("rear") == "/other/rear"
    assert defense(cameras, namespace="/car", **{PUSHED_NAMESPACE: "/robot"}).namespace == "/car"
    assert defense().image_topic("") == ""


def test_time_is_that_of_the_argument_or_else_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "simulated.yaml"
    path.write_text("/**:\n  ros__parameters:\n    use_sim_time: true\n")
    assert defense(path).use_sim_time
    assert defense(path, use_sim_time="false").use_sim_time is False
    assert defense(SHIPPED).use_sim_time is None


def test_the_demo_refuses_cameras_that_the_street_does_not_have(cameras: Path) -> None:
    refuse_several_cameras(defense(SHIPPED).cameras)
    with pytest.raises(ZmaskError, match=r"^The demo has one camera, but params_file names front, rear: "):
        refuse_several_cameras(defense(cameras).cameras)
