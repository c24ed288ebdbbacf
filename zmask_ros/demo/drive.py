"""Record a defended drive: street_camera -> defense_node -> recorder, each a process, and DDS between them."""

from __future__ import annotations

import json
import math
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zmask_ros.demo.processes import DemoError, NodeProcess, executable
from zmask_ros.demo.scenario import DemoSettings, Scenario
from zmask_ros.inference import Runtime

NAMESPACE = "/camera"
PICTURES = ("segmentation", "mask", "overlay")
# A machine that is busy takes long to import torch, and long for the first frame.
START_LIMIT_S = 180.0
STALL_LIMIT_S = 60.0
FLAG_LIMIT_S = 30.0
END_LIMIT_S = 30.0
RECEIVE_S = 0.25
"""How long to wait for flags before the processes are checked again."""
RUNTIME: Runtime = "auto"
"""What the network runs in: on a CPU, the engine decides whether the drive runs in real time."""
# More than are ever under way in lockstep: nothing is overwritten before the recorder has it.
DEPTH = 10


@dataclass(frozen=True)
class DriveCounts:
    """What the camera counted: frames that it sent, and those that no flag came for."""

    frames_sent: int
    flags_missing: int


def record_drive(settings: DemoSettings, picture: Path, on_flag: Callable[[Any], None]) -> DriveCounts:
    """Drive through the scenario and record it; a bag of an earlier drive is replaced when the new one is whole.

    Args:
        settings: of the demo; the profile has been made.
        picture: what the carrier shows.
        on_flag: called for each AttackFlag that arrives here.

    Raises:
        NodeFailedError: a node did not start, crashed, or did not end.
        DemoError: ROS 2 is not there, or no flag came for a long time.
    """
    try:
        from zmask_ros.node.flag_watch import follow_flags
    except ImportError as error:
        raise DemoError(
            f"The demo needs ROS 2 and this package's messages ({error}): run 'make demo', which sets up both."
        ) from error
    bag = settings.drive
    with ExitStack() as stack:
        # In the same folder as the bag, so that putting it in its place is a rename.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".drive.", dir=settings.folder)))
        receive = stack.enter_context(follow_flags(NAMESPACE))

        def start(name: str, parameters: dict[str, Any]) -> NodeProcess:
            return stack.enter_context(NodeProcess(executable(name), parameters, NAMESPACE, folder))

        topics = ["image_raw", "camera_info", "zmask/attack", *(f"zmask/{name}" for name in PICTURES)]
        node = start("defense_node", _node_parameters(settings))
        recorder = start("recorder", {"path": str(folder / bag.name), "topics": topics})
        camera = start("street_camera", _camera_parameters(settings.scenario, picture, folder / "counts.json"))
        _follow(camera, (node, recorder), receive, on_flag)
        camera.expect_end(END_LIMIT_S)
        # First the node, which publishes what it still has; then the recorder, which writes it.
        node.stop(signal.SIGTERM, END_LIMIT_S)
        recorder.stop(signal.SIGINT, END_LIMIT_S)
        counts = json.loads((folder / "counts.json").read_bytes())
        if bag.exists():
            shutil.rmtree(bag)
        (folder / bag.name).rename(bag)
    return DriveCounts(counts["frames_sent"], counts["flags_missing"])


def _node_parameters(settings: DemoSettings) -> dict[str, Any]:
    overrides: dict[str, Any] = {f"{NAMESPACE}/zmask/{name}": {"publisher": {"depth": DEPTH}} for name in PICTURES}
    # A vehicle lives with a frame that is lost on the way; here every one is to be counted.
    overrides[f"{NAMESPACE}/image_raw"] = {"subscription": {"reliability": "reliable"}}
    return {
        "segmenter": settings.segmenter,
        "profile": str(settings.profile.absolute()),
        "device": settings.device,
        "runtime": RUNTIME,
        "num_threads": settings.threads,
        "qos_overrides": overrides,
    }


def _camera_parameters(scenario: Scenario, picture: Path, summary: Path) -> dict[str, Any]:
    parameters = asdict(scenario)
    duration_s = parameters.pop("seconds")
    return {
        **parameters,
        "duration_s": duration_s,
        "picture": str(picture.absolute()),
        "picture_until_s": min(scenario.picture_until_s, float(math.ceil(duration_s))),
        "pace": "lockstep",
        "drawn_first": True,
        # The node and the recorder.
        "min_subscribers": 2,
        "flag_timeout_s": FLAG_LIMIT_S,
        "frame_id": NAMESPACE.strip("/"),
        "summary": str(summary.absolute()),
    }


def _follow(
    camera: NodeProcess,
    others: tuple[NodeProcess, ...],
    receive: Callable[[float], list[Any]],
    on_flag: Callable[[Any], None],
) -> None:
    """Receive flags until the camera has ended."""
    deadline = time.monotonic() + START_LIMIT_S
    while camera.running:
        for process in others:
            process.expect_running()
        flags = receive(RECEIVE_S)
        for flag in flags:
            on_flag(flag)
        if flags:
            deadline = time.monotonic() + STALL_LIMIT_S
        elif time.monotonic() > deadline:
            raise DemoError(
                "No attack flag came for a long time, so the drive was given up: is the machine overloaded?"
            )
