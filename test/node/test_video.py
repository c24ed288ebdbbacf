"""Video through the running node. Its message packages are not ROS's own: a slow test builds them for the others."""

from __future__ import annotations

import array
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# One that is installed but broken is a failure.
pytest.importorskip("rclpy", reason="ROS 2 is not installed", exc_type=ModuleNotFoundError)

from support import ROOT
from support.node_processes import RELIABLE, Client, StartedNode, header, tiny_parameters
from support.tiny_network import clean_image
from video_encoding import Video, encode
from zmask_ros.io.images.codec import encode_compressed
from zmask_ros.io.images.video_stream.decoder import NO_KEY_FRAME
from zmask_ros.msg import AttackFlag
from zmask_ros.node.image_types import VIDEO_TRANSPORTS, image_type

NAMESPACE = "/video"
PACKAGES = {"ffmpeg": "ffmpeg_image_transport_msgs", "foxglove": "foxglove_msgs"}
INSTALLED = {name for name, package in PACKAGES.items() if importlib.util.find_spec(package) is not None}
DEFINITIONS = {
    "ffmpeg": "std_msgs/Header header\nint32 width\nint32 height\nstring encoding\nuint64 pts\nuint8 flags\n"
    "bool is_bigendian\nuint8[] data\n",
    "foxglove": "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n",
}
TYPES = {"ffmpeg": "FFMPEGPacket", "foxglove": "CompressedVideo"}
FRAMES, GROUP, LOST = 20, 5, 7
OPTIONS = {
    "ffmpeg": (
        "h265",
        "libx265",
        {"tune": "zerolatency", "preset": "fast", "x265-params": "log-level=none:scenecut=0"},
    ),
    "foxglove": ("h264", "libx264", {"tune": "zerolatency", "preset": "veryfast", "x264-params": "scenecut=0"}),
}

each_transport = pytest.mark.parametrize("transport", VIDEO_TRANSPORTS)


def recorded(transport: str) -> Video:
    codec, encoder, options = OPTIONS.get(transport, OPTIONS["foxglove"])
    return encode(codec, encoder, [clean_image(number) for number in range(FRAMES)], GROUP, options)


def message(transport: str, video: Video, place: int, number: int) -> Any:
    kind, data, stamped = image_type(transport), array.array("B", video.packets[place][1]), header(number)
    if transport == "compressed":
        return kind(header=stamped, format="h264", data=data)
    if transport == "ffmpeg":
        return kind(header=stamped, encoding="libx265;yuv420p;rgb8;rgb8", data=data)
    return kind(timestamp=stamped.stamp, frame_id=stamped.frame_id, format="h264", data=data)


def picture(number: int) -> Any:
    data = array.array("B", encode_compressed(clean_image(0)))
    return image_type("compressed")(header=header(number), format="jpeg", data=data)


@pytest.fixture(scope="module")
def parameters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return tiny_parameters(tmp_path_factory.mktemp("video"), f"{NAMESPACE}/") | {"timeout_s": 60.0}


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    client = Client(NAMESPACE)
    yield client
    client.close()


@pytest.mark.parametrize("transport", [*VIDEO_TRANSPORTS, "compressed"])
def test_every_packet_has_one_flag_and_none_is_clean_after_a_loss(
    parameters: dict[str, Any], client: Client, transport: str
) -> None:
    if transport in VIDEO_TRANSPORTS and transport not in INSTALLED:
        pytest.skip(f"{PACKAGES[transport]} is not installed")
    video = recorded(transport)
    with StartedNode("defense_node", {**parameters, "image_transport": transport}, NAMESPACE) as process:
        publisher = client.node.create_publisher(image_type(transport), f"image_raw/{transport}", RELIABLE)
        flags = client.collect(AttackFlag, "zmask/attack")
        client.until(
            lambda: publisher.get_subscription_count() and client.node.count_publishers("zmask/attack"), "the node"
        )
        sent, sent_at = 0, 0.0

        # Discovery is not symmetric, and what comes while the node subscribes anew is lost.
        def answered() -> bool:
            nonlocal sent, sent_at
            if flags and flags[-1].header == header(sent - 1):
                return True
            if time.monotonic() - sent_at > 0.5:
                publisher.publish(message(transport, video, 1, sent))
                sent, sent_at = sent + 1, time.monotonic()
            return False

        # Of compressed images it knows only by the first one that they are video, and subscribes anew.
        for which in ("first", "second")[: 1 + (transport == "compressed")]:
            flags.clear()
            client.until(answered, f"the {which} flag")
            assert {flag.state for flag in flags} == {AttackFlag.UNKNOWN}
            assert NO_KEY_FRAME[1:] in flags[-1].reason
        for place in range(FRAMES):
            if place == LOST:
                continue
            flags.clear()
            publisher.publish(message(transport, video, place, sent + place))
            client.until(lambda: flags, f"the flag of packet {place}")
            (flag,) = flags
            assert flag.header == header(sent + place)
            is_lost = LOST < place < LOST - LOST % GROUP + GROUP
            assert (flag.state == AttackFlag.UNKNOWN) == is_lost, (place, flag.reason)
            assert ("No key frame of the video has come since" in flag.reason) == is_lost
        if transport == "compressed":
            flags.clear()
            publisher.publish(picture(sent + FRAMES))
            client.until(lambda: flags, "the flag of a picture")
            assert (flags[0].state, flags[0].header) == (AttackFlag.CLEAN, header(sent + FRAMES))
            assert process.end()[0] == 0
            assert "is video: the last 100 messages are kept for it" in process.output


@each_transport
def test_a_package_that_is_missing_is_named_in_one_sentence(parameters: dict[str, Any], transport: str) -> None:
    if transport in INSTALLED:
        pytest.skip(f"{PACKAGES[transport]} is installed")
    with StartedNode("defense_node", {**parameters, "image_transport": transport}, NAMESPACE) as process:
        assert process.wait() == 2, process.output
        (line,) = process.output.strip().splitlines()
    assert f"needs the package {PACKAGES[transport]}" in line
    assert f"install ros-$ROS_DISTRO-{PACKAGES[transport].replace('_', '-')}" in line


def write_package(folder: Path, transport: str) -> None:
    """The sources of a package that has only the one message."""
    name, used = PACKAGES[transport], "std_msgs" if transport == "ffmpeg" else "builtin_interfaces"
    (folder / "msg").mkdir(parents=True)
    (folder / "msg" / f"{TYPES[transport]}.msg").write_text(DEFINITIONS[transport])
    (folder / "package.xml").write_text(
        f"""<?xml version="1.0"?>
<package format="3">
  <name>{name}</name><version>0.0.1</version><description>One message.</description>
  <maintainer email="nobody@example.invalid">nobody</maintainer><license>Apache-2.0</license>
  <buildtool_depend>ament_cmake</buildtool_depend><buildtool_depend>rosidl_default_generators</buildtool_depend>
  <depend>{used}</depend><exec_depend>rosidl_default_runtime</exec_depend>
  <member_of_group>rosidl_interface_packages</member_of_group>
  <export><build_type>ament_cmake</build_type></export>
</package>
"""
    )
    (folder / "CMakeLists.txt").write_text(
        f"""cmake_minimum_required(VERSION 3.16)
project({name})
find_package(ament_cmake REQUIRED)
find_package(rosidl_default_generators REQUIRED)
find_package({used} REQUIRED)
rosidl_generate_interfaces({name} "msg/{TYPES[transport]}.msg" DEPENDENCIES {used})
ament_package()
"""
    )


@pytest.mark.slow
def test_with_the_real_messages_built_here(tmp_path: Path) -> None:
    if set(VIDEO_TRANSPORTS) == INSTALLED:
        pytest.skip("the packages are installed: the other tests have run")
    for transport in VIDEO_TRANSPORTS:
        write_package(tmp_path / "src" / PACKAGES[transport], transport)
    test = f"{ROOT}/test/node/test_video.py::test_every_packet_has_one_flag_and_none_is_clean_after_a_loss"
    command = f"""
        colcon build --event-handlers console_cohesion- && . install/local_setup.bash && cd {ROOT} &&
        unset _ROS_WHEELS_BOOTSTRAP_COMPLETE && {sys.executable} -m pytest -q -rs {test}
    """
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "3 passed" in done.stdout, done.stdout[-4000:]
