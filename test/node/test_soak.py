"""`defense_node` for long, with two cameras and a fault every second: nothing is lost, nothing grows."""

from __future__ import annotations

import array
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

# One that is installed but broken is a failure.
pytest.importorskip("rclpy", reason="ROS 2 is not installed", exc_type=ModuleNotFoundError)

from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import Trigger

from support.faulty_network import Faults
from support.node_processes import Camera, Client, StartedNode, header, image_message, tiny_parameters
from support.reliability_report import report
from support.tiny_network import clean_image
from zmask_ros.io.images.codec import encode_compressed
from zmask_ros.msg import AttackFlag

pytestmark = pytest.mark.slow

NAMESPACE = "/soak"
SECONDS = float(os.environ.get("ZMASK_SOAK_S", "60"))
WARM_UP_S = min(60.0, SECONDS / 3)
RATE_HZ = 15.0
FAULT_EVERY_S = 2.0
MOST_GROWTH_MIB = 20.0
# Longer than the node takes for being stuck.
HANG_S = 2.0
NETWORK_FAULTS = (("memory",), ("memory", "memory"), ("device",), ("bug",), ("nan",), ("hang",))
PICTURES = 20


@dataclass(frozen=True)
class Usage:
    """What the process holds: resident memory in MiB, threads, open files."""

    memory_mib: float
    threads: int
    files: int


def usage(pid: int) -> Usage:
    place = Path(f"/proc/{pid}")
    pages = int((place / "statm").read_text().split()[1])
    threads, files = len(list((place / "task").iterdir())), len(list((place / "fd").iterdir()))
    return Usage(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, threads, files)


class Sender:
    """A camera that sends good frames, and garbage when it is told."""

    def __init__(self, client: Client, name: str, compressed: bool) -> None:
        kind, suffix = (CompressedImage, "/compressed") if compressed else (Image, "")
        self.camera = Camera(client, kind, f"{name}/image_raw{suffix}", f"{name}/zmask/attack")
        self._compressed = compressed
        self._pictures = [clean_image(index, 120, 160) for index in range(PICTURES)]
        self._jpegs = [encode_compressed(picture) for picture in self._pictures]
        self.sent = 0

    def send(self, garbage: bool = False) -> None:
        self.camera.send(self._garbage() if garbage else self.good())
        self.sent += 1

    def good(self) -> Any:
        if not self._compressed:
            return image_message(self.sent, self._pictures[self.sent % PICTURES])
        data = array.array("B", self._jpegs[self.sent % PICTURES])
        return CompressedImage(header=header(self.sent), format="jpeg", data=data)

    def _garbage(self) -> Any:
        if not self._compressed:
            return Image(header=header(0), height=9, width=9, encoding="rgb8", step=1)
        return CompressedImage(header=header(0), format="jpeg", data=array.array("B", self._jpegs[0][:50]))


@pytest.fixture
def faults(tmp_path: Path) -> Faults:
    return Faults(tmp_path)


@pytest.fixture
def node(tmp_path: Path, faults: Faults) -> Iterator[StartedNode]:
    parameters = tiny_parameters(tmp_path, f"{NAMESPACE}/front/", f"{NAMESPACE}/rear/")
    parameters |= {"segmenter": str(faults.describe(tmp_path)), "cameras": ["front", "rear"], "timeout_s": 60.0}
    with StartedNode("defense_node", {**parameters, "rear.image_transport": "compressed"}, NAMESPACE) as process:
        yield process


def inject(reload: Any, faults: Faults, fault: tuple[str, ...], senders: tuple[Sender, ...]) -> None:
    """One fault, as `NETWORK_FAULTS` has them, or garbage, or a profile that is read again by the client ``reload``."""
    if fault == ("garbage",):
        for sender in senders:
            sender.send(garbage=True)
    elif fault == ("reload",):
        reload.call_async(Trigger.Request())
    else:
        faults.tell(*fault)


def test_two_cameras_for_long_with_faults(node: StartedNode, faults: Faults) -> None:
    client = Client(NAMESPACE)
    try:
        senders = (Sender(client, "front", False), Sender(client, "rear", True))
        first = [sender.camera.ask(sender.good()).sequence for sender in senders]
        for sender in senders:
            sender.camera.flags.clear()
        before, happened = drive(client, node, faults, senders)
        for sender in senders:
            wait_for_the_last_flag(client, sender)
        after = usage(node.pid)
        for sender, last in zip(senders, first, strict=True):
            numbers = [flag.sequence for flag in sender.camera.flags]
            received = sender.camera.flags[-1].received
            assert sorted(numbers) == list(range(last + 1, received + 1)), "not one flag a frame"
    finally:
        client.close()
    flags = [flag for sender in senders for flag in sender.camera.flags]
    received = sum(s.camera.flags[-1].received - begun for s, begun in zip(senders, first, strict=True))
    states = Counter(flag.state for flag in flags)
    report(
        "soak",
        ("What", "Figure"),
        [
            ("duration", f"{SECONDS / 60:.1f} min, two cameras at {RATE_HZ:g} Hz"),
            ("frames sent, received by the node, flags", f"{sum(s.sent for s in senders)}, {received}, {len(flags)}"),
            ("faults", ", ".join(f"{' '.join(kind)} {count}" for kind, count in sorted(happened.items()))),
            ("flags UNKNOWN", f"{states[AttackFlag.UNKNOWN]}"),
            ("of those for a frame that was dropped for a newer one", f"{sum('newer' in f.reason for f in flags)}"),
            ("memory after the warm-up, at the end", f"{before.memory_mib:.1f} MiB, {after.memory_mib:.1f} MiB"),
            ("threads", f"{before.threads}, {after.threads}"),
            ("open files", f"{before.files}, {after.files}"),
        ],
    )
    assert after.memory_mib - before.memory_mib < MOST_GROWTH_MIB
    assert (after.threads, after.files) == (before.threads, before.files)


def wait_for_the_last_flag(client: Client, sender: Sender) -> None:
    """Send one more frame: once its flag is here, those of all frames that arrived before it have left, too."""
    sender.send()
    last = header(sender.sent - 1)
    flags = sender.camera.flags
    client.until(lambda: any(flag.header == last for flag in flags), "the flag of the last frame")
    client.until(lambda: len(flags) >= flags[-1].received - flags[0].sequence + 1, "all flags")


def drive(
    client: Client, node: StartedNode, faults: Faults, senders: tuple[Sender, ...]
) -> tuple[Usage, Counter[tuple[str, ...]]]:
    """Send frames and faults for `SECONDS`; what the process held after the warm-up, and what happened to it."""
    reload = client.node.create_client(Trigger, "defense_node/reload_profile")
    client.until(reload.service_is_ready, "the service")
    began = due = time.monotonic()
    next_fault, release_at, before = began + FAULT_EVERY_S, 0.0, None
    kinds, happened = cycle((*NETWORK_FAULTS, ("garbage",), ("reload",))), Counter()
    while (now := time.monotonic()) - began < SECONDS:
        if release_at and now > release_at:
            faults.release()
            release_at = 0.0
        elif now > next_fault and not release_at:
            fault = next(kinds)
            happened[fault] += 1
            if fault == ("hang",):
                (faults.folder / "release").unlink(missing_ok=True)
                release_at = now + HANG_S
            inject(reload, faults, fault, senders)
            next_fault = now + FAULT_EVERY_S
        if before is None and now - began > WARM_UP_S:
            before = usage(node.pid)
        for sender in senders:
            sender.send()
        due = max(due + 1.0 / RATE_HZ, now)
        client.until(lambda due=due: time.monotonic() >= due, "the next frame's turn")
    faults.release()
    assert before is not None
    return before, happened
