"""The flags of the node and those of `zmask replay` over the same bag are the same, field for field."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# One that is installed but broken is a failure.
pytest.importorskip("rclpy", reason="ROS 2 is not installed", exc_type=ModuleNotFoundError)

from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image

from support import TESTS
from support.flag_bags import read_flags
from support.node_processes import Camera, Client, StartedNode, tiny_parameters
from support.patched_street import attacked_image
from support.screened import screened_profile
from support.tiny_network import clean_image
from zmask_ros.defense import Profile, save_profile
from zmask_ros.io.bags.opening import open_bag
from zmask_ros.io.bags.writer import IMAGE, BagWriter, header_message, message_class
from zmask_ros.msg import AttackFlag
from zmask_ros.segmenters import Segmenter

NAMESPACE = "/agree"
TOPIC = f"{NAMESPACE}/image_raw"
# Later than all that the connection is proven with.
FIRST_NS = 1_000_000_000_000
FRAME_NS = 66_666_667
TIMINGS = ("latency_ms", "stages_ms")
COUNTS = ("sequence", "received", "processed", "dropped", "failed")
# "." is a clean frame, "a" one with a patch, "x" one that cannot be decoded; after the bar time begins anew.
DRIVE = "...aax.a......|.a.x..."
SLOW_FRAME_NS = 1_000_000_000


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory, segmenter: Segmenter, fitted: Profile) -> dict[str, Any]:
    """Parameters for the tiny network, with a profile that has a screening."""
    folder = tmp_path_factory.mktemp("tiny")
    profile = folder / "screened.zmask.safetensors"
    save_profile(screened_profile(segmenter, fitted), profile)
    # However slow the machine is, the alarm is not given up and no flag says that nothing comes.
    return {**tiny_parameters(folder, f"{NAMESPACE}/"), "profile": str(profile), "timeout_s": 1000.0}


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bag that both are given; its first frame cannot be decoded, so that it changes nothing but the counts."""
    path = tmp_path_factory.mktemp("bags") / "drive"
    received_ns = FIRST_NS
    with BagWriter(path) as bag:
        write_broken(bag, FIRST_NS - FRAME_NS, received_ns)
        for part in DRIVE.split("|"):
            for index, kind in enumerate(part):
                received_ns += FRAME_NS
                stamp_ns = FIRST_NS + index * FRAME_NS
                if kind == "x":
                    write_broken(bag, stamp_ns, received_ns)
                else:
                    image = attacked_image(index) if kind == "a" else clean_image(index)
                    bag.write_image(TOPIC, image, "rgb8", stamp_ns, "camera", received_ns)
    return path


def write_broken(bag: BagWriter, stamp_ns: int, received_ns: int) -> None:
    fields = {
        "height": 48,
        "width": 64,
        "encoding": "rgb8",
        "is_bigendian": 0,
        "step": 7,
        "data": np.zeros(9, np.uint8),
    }
    message = message_class(IMAGE)(header=header_message(stamp_ns, "camera"), **fields)
    bag.write_message(TOPIC, IMAGE, message, received_ns)


def flags_of_node(tiny: dict[str, Any], drive: Path, mode: str, client: Client) -> list[AttackFlag]:
    """One frame at a time: the next one is sent when the flag of the last one has come."""
    opened = open_bag(drive)
    try:
        (recording,) = opened.recordings
        messages = [deserialize_message(bytes(raw.data), Image) for raw in recording.messages([TOPIC])]
    finally:
        opened.close()
    with StartedNode("defense_node", {**tiny, "mode": mode}, NAMESPACE) as process:
        camera = Camera(client)
        flags = [camera.ask(message) for message in messages]
        assert process.end()[0] == 0
        return flags


def flags_of_played(tiny: dict[str, Any], drive: Path, mode: str, client: Client) -> list[AttackFlag]:
    """The bag played slowly enough for every machine."""
    # Who misses the first announcements of a node waits 3 s for the next one.
    played = {"path": str(drive), "rate": FRAME_NS / SLOW_FRAME_NS, "delay_s": 6.0}
    with StartedNode("defense_node", {**tiny, "mode": mode}, NAMESPACE) as process:
        camera = Camera(client)
        with StartedNode("player", played) as player:
            client.until(lambda: len(camera.flags) == 1 + len(DRIVE.replace("|", "")), "a flag of each frame")
            assert player.wait() == 0
        assert process.end()[0] == 0
        return camera.flags


def flags_of_replay(tiny: dict[str, Any], drive: Path, mode: str, output: Path) -> list[Any]:
    """In a process of its own, with as many threads as the node has."""
    arguments = ["replay", drive, "--segmenter", tiny["segmenter"], "--profile", tiny["profile"], "-o", output]
    arguments += ["--device", "cpu", *(["--streaming"] if mode == "streaming" else [])]
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    subprocess.run(
        [sys.executable, "-c", "from zmask_ros.cli.main import main; main()", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        check=True,
        timeout=300,
    )
    return read_flags(output, f"{NAMESPACE}/zmask/attack")


def plain(value: Any) -> Any:
    """A message's field as plain values, whichever library made it; NaN equals itself."""
    if hasattr(value, "get_fields_and_field_types"):
        return {name: plain(getattr(value, name)) for name in value.get_fields_and_field_types()}
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__ if name[0] != "_"}
    if isinstance(value, (str, int)):
        return value
    if isinstance(value, (float, np.floating)):
        return "NaN" if math.isnan(value) else float(value)
    return [plain(entry) for entry in value]


def compared(flags: list[Any]) -> list[dict[str, Any]]:
    """All fields but the timings; what is counted, since the first frame: the node has had others before it."""
    rows = []
    for flag in flags:
        row = {name: plain(getattr(flag, name)) for name in AttackFlag.get_fields_and_field_types()}
        counts = {name: row[name] - getattr(flags[0], name) for name in COUNTS}
        assert len(row["stages"]) == len(row["stages_ms"])
        rows.append({name: value for name, value in row.items() if name not in TIMINGS} | counts)
    return rows


FlagsOf = Callable[[dict[str, Any], Path, str, Client], list[AttackFlag]]


@pytest.mark.parametrize(
    ("mode", "flags_of"), [("full", flags_of_node), ("streaming", flags_of_node), ("streaming", flags_of_played)]
)
def test_the_node_and_a_replay_flag_a_bag_alike(
    tiny: dict[str, Any], drive: Path, client: Client, tmp_path: Path, mode: str, flags_of: FlagsOf
) -> None:
    replayed = compared(flags_of_replay(tiny, drive, mode, tmp_path / "out"))
    published = compared(flags_of(tiny, drive, mode, client))
    assert len(published) == len(replayed) == 1 + len(DRIVE.replace("|", ""))
    for index, (one, other) in enumerate(zip(published, replayed, strict=True)):
        assert one == other, f"frame {index}"
    states = {row["state"] for row in published}
    assert states == {AttackFlag.UNKNOWN, AttackFlag.CLEAN, AttackFlag.ATTACK}
    screened_only = [row for row in published if "screening" in row["stages"] and "analysis" not in row["stages"]]
    assert bool(screened_only) == (mode == "streaming")
    assert published[-1]["failed"] == DRIVE.count("x")
    assert published[-1]["processed"] == published[-1]["received"] - DRIVE.count("x")
