"""The diagnostics tasks of `defense_node`, in whatever state it is."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from zmask_ros.node.camera_channel import CameraChannel
from zmask_ros.node.diagnostics.health import (
    Assessment,
    Level,
    assess_attack,
    assess_inference,
    assess_input,
    assess_profile_fit,
)
from zmask_ros.node.diagnostics.network import assess_device, assess_profile
from zmask_ros.node.diagnostics.publisher import Task, Tasks
from zmask_ros.node.lifecycle import ACTIVE
from zmask_ros.node.parameters.defense_node import DefenseParameters
from zmask_ros.node.worker import Worker

if TYPE_CHECKING:
    from rclpy.node import Node

    from zmask_ros.node.network_host import NetworkHost

CAMERA_TASKS = ("input", "inference", "attack", "profile fit")
NODE_TASKS = ("device", "profile")


def diagnostic_tasks(
    node: Node,
    state: str,
    cameras: list[str],
    channels: dict[str, CameraChannel],
    network: NetworkHost | None,
    worker: Worker | None,
    settings: DefenseParameters,
) -> Tasks:
    """All tasks by their names, the same in every state.

    Args:
        state: label of the lifecycle state.
        cameras: all names.
        channels: of the cameras that are configured.
        network: once it is loaded.
        worker: while there is one.
        settings: of the node, as they are now.
    """
    found: Tasks = {}
    for camera in cameras:
        if state == ACTIVE and network is not None and camera in channels:
            trouble = worker.trouble(settings.stuck_after_s) if worker is not None else ""
            found |= _camera_tasks(node, channels[camera], network, trouble, settings)
        else:
            found |= {f"{camera} {name}": _inactive(f"{camera} {name}", state) for name in CAMERA_TASKS}
    # Of the nodes on a vehicle there may be several, with a task each: which, the cameras say.
    together = " ".join(cameras)
    if network is None:
        return found | {f"{together} {name}": _inactive(f"{together} {name}", state) for name in NODE_TASKS}
    name, device = f"{together} device", network.segmenter.device
    found |= {name: partial(assess_device, name, device, network.threads)}
    found |= dict(_profile_tasks(cameras, network))
    return found if state == ACTIVE else {name: _inactive(name, state) for name in found}


def _camera_tasks(
    node: Node, channel: CameraChannel, network: NetworkHost, trouble: str, settings: DefenseParameters
) -> Tasks:
    name, topic, now = channel.name, channel.topic, channel.health.snapshot()
    device, precaution_rate = str(network.segmenter.device), network.defended(name).defense.precaution_rate
    disabled = Assessment(f"{name} attack", Level.WARN, "disabled by ~/enable: every frame is unknown")
    return {
        f"{name} input": lambda: assess_input(name, topic, node.count_publishers(topic), settings.timeout_s, now),
        f"{name} inference": partial(assess_inference, name, device, now, trouble, settings.least_verdict_share),
        f"{name} attack": lambda: assess_attack(name, now) if channel.enabled else disabled,
        f"{name} profile fit": lambda: assess_profile_fit(
            name, channel.drift, channel.drift_levels, now, precaution_rate
        ),
    }


def _profile_tasks(cameras: list[str], network: NetworkHost) -> Iterator[tuple[str, Task]]:
    """One task where all cameras share a profile, one a camera otherwise."""
    shared = len({network.profile_path(camera) for camera in cameras}) == 1
    for camera in cameras[:1] if shared else cameras:
        name = f"{' '.join(cameras) if shared else camera} profile"
        yield name, partial(assess_profile, name, network.defended(camera), network.profile_identity(camera))


def _inactive(name: str, state: str) -> Task:
    return lambda: Assessment(name, Level.WARN, f"{state}: no frame is processed")
