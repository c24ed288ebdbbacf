"""What it costs to read a healthy bag, beside an earlier commit; the table goes into docs/performance.md.

    git worktree add /tmp/earlier 3c191a1
    python tools/measure_reading.py /tmp/earlier

Both read the same bags of each storage in turns, each in a process of its own, which is told again and again to read
one. What counts is the time that the process was computing, not how long it took: other work may go on beside it.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from rosbags.rosbag1 import Writer as Rosbag1Writer
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from zmask_ros.cli.console import progress
from zmask_ros.data.street import StreetDrive
from zmask_ros.evaluation.report.tables import markdown_table
from zmask_ros.io.images.codec import encode_compressed
from zmask_ros.io.markdown_tables import Marks
from zmask_ros.io.stamps import NANOSECONDS

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "performance.md"
MARKS = Marks("<!-- reading: written by tools/measure_reading.py -->", "<!-- end of reading -->")
TOPIC = "/camera/image"
START_NS, STEP_NS = 1_700_000_000 * NANOSECONDS, NANOSECONDS // 30
PICTURES = 20
STORAGES = ("mcap", "sqlite3", "ROS 1")
# Works with the readers of both commits; memory is kept as in every command.
READER = """
import sys, time
from pathlib import Path
from zmask_ros.io.bags.reader import CameraBags, ReadReport
from zmask_ros.malloc import keep_freed_memory
keep_freed_memory()
for line in sys.stdin:
    began = time.process_time()
    report = ReadReport()
    with CameraBags(Path(line.strip()), sys.argv[1]) as bags:
        frames = sum(1 for _ in bags.frames(report))
    print(frames, time.process_time() - began, flush=True)
"""


@dataclass(frozen=True)
class Contents:
    """What is in a bag.

    Attributes:
        title: of it.
        images: how many.
        is_compressed: as JPEG; else raw.
        height, width: of an image.
        others: small messages of another topic, so many beside each image.
    """

    title: str
    images: int
    is_compressed: bool = False
    height: int = 480
    width: int = 640
    others: int = 0


CONTENTS = (
    Contents("500 raw images of 640x480", 500),
    Contents("2000 JPEGs of 640x480", 2000, is_compressed=True),
    Contents("500 raw images of 640x480, 40 small messages beside each", 500, others=40),
    Contents("10,000 raw images of 64x48", 10_000, height=48, width=64),
)


@dataclass(frozen=True)
class Cost:
    """Seconds of each reading of one bag, a pair a turn."""

    frames: int
    earlier_s: np.ndarray
    now_s: np.ndarray

    @property
    def ratio(self) -> float:
        """What reading costs now, as a share of what it did: the median of all pairs."""
        return float(np.median(self.now_s / self.earlier_s))

    @property
    def spread(self) -> tuple[float, float]:
        """The quartiles of the pairs."""
        low, high = np.percentile(self.now_s / self.earlier_s, [25, 75])
        return float(low), float(high)


class Reader:
    """A process that reads bags by the code of one checkout."""

    def __init__(self, tree: Path) -> None:
        path = os.pathsep.join([str(tree), os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            [sys.executable, "-c", READER, TOPIC],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=tree,
            env=os.environ | {"PYTHONPATH": path},
        )

    def seconds(self, bag: Path) -> tuple[int, float]:
        """How many frames there were, and how long the process was computing."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(bag, file=self._process.stdin, flush=True)
        frames, seconds = self._process.stdout.readline().split()
        return int(frames), float(seconds)

    def close(self) -> None:
        """End it."""
        self._process.communicate()


def write(path: Path, storage: str, contents: Contents) -> Path:
    """A healthy bag."""
    store = get_typestore(Stores.ROS1_NOETIC if storage == "ROS 1" else Stores.ROS2_JAZZY)
    serialize = store.serialize_ros1 if storage == "ROS 1" else store.serialize_cdr
    plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
    place = path.with_suffix(".bag") if storage == "ROS 1" else path
    with Rosbag1Writer(place) if storage == "ROS 1" else Writer(place, version=9, storage_plugin=plugin) as writer:
        connections = {}
        for stamp_ns, topic, message in messages(contents, store, is_ros1=storage == "ROS 1"):
            msgtype = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, msgtype, typestore=store)
            writer.write(connections[topic], stamp_ns, serialize(message, msgtype))
    return place


def messages(contents: Contents, store: Any, is_ros1: bool) -> Iterator[tuple[int, str, Any]]:
    """(time, topic, message) in their order."""
    drive = StreetDrive(1, PICTURES / 10, 10, contents.width, contents.height)
    images = [drive[index].image for index in range(PICTURES)]
    jpegs = [np.frombuffer(encode_compressed(image, "jpeg", 90), np.uint8) for image in images]
    types = store.types
    for index in range(contents.images):
        stamp_ns = START_NS + index * STEP_NS
        stamp = types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, NANOSECONDS))
        fields = {"stamp": stamp, "frame_id": "camera"} | ({"seq": index} if is_ros1 else {})
        header = types["std_msgs/msg/Header"](**fields)
        picture = index % PICTURES
        if contents.is_compressed:
            yield stamp_ns, TOPIC, types["sensor_msgs/msg/CompressedImage"](header, "jpeg", jpegs[picture])
        else:
            size = contents.height, contents.width, "rgb8", 0, 3 * contents.width
            yield stamp_ns, TOPIC, types["sensor_msgs/msg/Image"](header, *size, images[picture].reshape(-1))
        for other in range(contents.others):
            part = types["geometry_msgs/msg/Vector3"](0.1, 0.2, float(other))
            later_ns = stamp_ns + (other + 1) * STEP_NS // (contents.others + 1)
            yield later_ns, "/imu", types["geometry_msgs/msg/Vector3Stamped"](header, part)


def compare(bag: Path, earlier: Reader, now: Reader, images: int, turns: int) -> Cost:
    """Both read the bag, in turns; who is first changes."""
    seconds: dict[Reader, list[float]] = {earlier: [], now: []}
    for turn in range(-1, turns):
        for reader in (earlier, now) if turn % 2 else (now, earlier):
            frames, one = reader.seconds(bag)
            assert frames == images, f"{frames} of {images} frames were read"
            # The first is not counted: then, modules are imported.
            if turn >= 0:
                seconds[reader].append(one)
    return Cost(images, np.array(seconds[earlier]), np.array(seconds[now]))


def table(costs: dict[tuple[str, str], Cost]) -> str:
    """As markdown."""
    header = ["in the bag", "storage", "before, us a frame", "now, us a frame", "ratio", "quartiles of the pairs"]
    rows = []
    for (title, storage), cost in costs.items():
        before, now = (f"{1e6 * float(np.median(one)) / cost.frames:.0f}" for one in (cost.earlier_s, cost.now_s))
        low, high = cost.spread
        rows.append([title, storage, before, now, f"{cost.ratio:.3f}", f"{low:.3f} to {high:.3f}"])
    return markdown_table(header, rows)


@click.command(help=__doc__)
@click.argument("earlier", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--turns", default=15, show_default=True)
@click.option("--write/--print", "is_written", default=True, show_default=True, help="Into the document.")
def main(earlier: Path, turns: int, is_written: bool) -> None:
    """Compare, and write the table."""
    MARKS.check(DOCUMENT)
    costs: dict[tuple[str, str], Cost] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        readers = [Reader(tree.resolve()) for tree in (earlier, ROOT)]
        for reader in readers:
            stack.callback(reader.close)
        cells = list(itertools.product(CONTENTS, STORAGES))
        with progress("Reading", "bags", len(cells)) as advance:
            for number, (contents, storage) in enumerate(cells):
                bag = write(Path(folder) / f"{number}", storage, contents)
                costs[contents.title, storage] = compare(bag, *readers, contents.images, turns)
                advance(note=f"{contents.title}, {storage}")
    written = table(costs)
    if is_written:
        MARKS.write(DOCUMENT, written)
    click.echo(written)


if __name__ == "__main__":
    main()
