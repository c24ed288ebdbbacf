"""What `zmask fit --ray` does with many bags on several nodes of a cluster on this machine: tables of docs/fleet.md.

usage: scripts/run.sh bash -c 'PYTHONPATH=test:$PYTHONPATH python tools/measure_fleet.py [NAME]...'
NAME is one of faults, waiting, computing, overhead, bytes, objects.

Without a name, all of them: about nine minutes where nothing else runs.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from support import tiny_network
from support.commands import record
from zmask_ros.data.camvid import CamVid
from zmask_ros.defense.drift.observation import STRETCH_FRAMES
from zmask_ros.fleet.bag_cache import BagCache
from zmask_ros.fleet.bag_names import file_system, readable_anywhere
from zmask_ros.fleet.fit import BagReading, FitTask, FitWork, FleetFitRequest, fit_fleet
from zmask_ros.fleet.pool import PoolSettings, RayPool
from zmask_ros.io.bags.reader import CameraBags
from zmask_ros.io.images.codec import AUTO_BITS
from zmask_ros.io.markdown_tables import Marks
from zmask_ros.progress import Advance, Progress
from zmask_ros.segmenters import load_segmenter
from zmask_ros.training.bag_fit import PART_FRAMES, Observing, fit_bags
from zmask_ros.training.observations import SAMPLE_FRAMES, pack
from zmask_ros.training.plans import mean_z_plan, transfer_plan
from zmask_ros.training.settings import FitSettings
from zmask_ros.training.sources import HELD_OUT_EVERY, CleanFrame

STORE_BYTES = 80 << 20
FRAMES = 25
SETTINGS = FitSettings(false_alarm_rate=0.01, variant="mean-z")
MIB = 1 << 20
Rows = list[list[object]]
DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "fleet.md"
WORKERS = (1, 2, 4, 8)
SHIPPED = "lraspp_camvid"
WAITING_BAGS, WAIT_S = 24, 3.0
"""Bags on a slow server, and how long it takes to send each of them."""
COMPUTED_BAGS, COMPUTED_FRAMES = 6, 40
"""Of the size that the shipped network takes."""
VEHICLES, HOURS, RATE_HZ, RECORDED_HZ = 10_000, 1, 2, 15
JPEG_BYTES, FRAME_S, MANY_WORKERS = 1e5, 0.05, 1000
"""Of the fleet on paper."""


def drives(folder: Path, count: int) -> tuple[str, list[str]]:
    """The tiny network, and so many bags."""
    bags = []
    for number in range(count):
        images = map(tiny_network.clean_image, range(FRAMES * number, FRAMES * (number + 1)))
        bags.append(str(record(folder / f"drive_{number:04}.mcap", images)))
    return str(tiny_network.describe(folder)), bags


@contextmanager
def cluster_of(nodes: Sequence[int]) -> Iterator[Any]:
    """A cluster whose nodes have so many CPUs each, beside a head that has none."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "object_store_memory": STORE_BYTES, "include_dashboard": False}
    # Workers are compared with one process, which waits for nobody either.
    head["_system_config"] = {"worker_niceness": 0}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.killable = [cluster.add_node(num_cpus=cpus, object_store_memory=STORE_BYTES) for cpus in nodes]
    try:
        yield cluster
    finally:
        cluster.shutdown()


def table(rows: Rows) -> str:
    """Rows as Markdown, of which the first is the head."""
    head, *others = [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join([head, "|---" * len(rows[0]) + "|", *others])


def reading(folder: Path) -> BagReading:
    """How bags are read."""
    return BagReading("/camera/image_raw", 1, AUTO_BITS, BagCache(folder / "cache"))


def faults(folder: Path) -> Rows:
    """200 bags on four nodes, of which two are killed, against one process."""
    segmenter, bags = drives(folder, 200)
    began = time.perf_counter()
    with CameraBags([Path(bag) for bag in bags]) as opened:
        alone = fit_bags(load_segmenter(segmenter, "cpu"), opened, SETTINGS).profile
    alone_s, merged, memory = time.perf_counter() - began, 0, []

    with cluster_of([1] * 4) as cluster:

        @contextmanager
        def progress(description: str, unit: str, total: int | None) -> Iterator[Advance]:
            def advance(steps: float = 1, note: str = "") -> None:
                nonlocal merged
                merged += int(steps)
                memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
                if merged in (60, 120):
                    cluster.remove_node(cluster.killable.pop(), allow_graceful=False)

            yield advance

        request = FleetFitRequest(bags, reading(folder), segmenter, "cpu", SETTINGS, folder / "parts")
        done = fit_fleet(request, PoolSettings(cluster.address), progress)
    own, expected = done.fit.profile.detector, alone.detector
    furthest = max(
        float(((statistics.moments.mean - other.moments.mean).abs() / other.moments.std).max())
        for key, statistics in own.statistics.items()
        for other in (expected.statistics[key],)
    )
    spread = max(
        float((statistics.moments.std / expected.statistics[key].moments.std - 1).abs().max())
        for key, statistics in own.statistics.items()
    )
    rows = [
        ["bags, frames", f"{len(bags)}, {done.fit.frames}"],
        ["nodes killed", "2 of 4"],
        ["tasks done again", done.tally.retried],
        ["largest difference of a mean, in deviations", f"{furthest:.1e}"],
        ["largest relative difference of a deviation", f"{spread:.1e}"],
        ["thresholds equal", own.threshold == expected.threshold and torch.equal(own.fusion, expected.fusion)],
        ["seconds, one process", f"{alone_s:.1f}"],
        ["seconds, cluster", f"{done.fit.seconds:.1f}"],
        ["driver's peak memory after 20 and after 200 bags, MiB", f"{memory[20]:.0f}, {memory[-1]:.0f}"],
    ]
    return [["", ""], *rows]


SLOW_SERVER = """
import sys, time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

class Slow(SimpleHTTPRequestHandler):
    def copyfile(self, source, outputfile):
        content = source.read()
        for piece in range(10):
            time.sleep(float(sys.argv[2]) / 10)
            outputfile.write(content[piece * len(content) // 10 : (piece + 1) * len(content) // 10])

    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Slow, directory=sys.argv[1]))
print(server.server_port, flush=True)
server.serve_forever()
"""
"""Sends each file at the rate that takes so many seconds for it, whatever others are sent at the same time."""


@contextmanager
def slow_server(folder: Path) -> Iterator[str]:
    """The address of a process that sends the files of a folder slowly."""
    command = [sys.executable, "-c", SLOW_SERVER, str(folder), str(WAIT_S)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.kill()


def waiting(folder: Path) -> Rows:
    """Bags from a server that sends each of them slowly, by the number of workers."""
    segmenter, bags = drives(folder, WAITING_BAGS)
    network = load_segmenter(segmenter, "cpu")
    with slow_server(folder) as address:
        addresses = [f"{address}/{Path(bag).name}" for bag in bags]

        def work(workers: int) -> FitWork:
            # Each run fetches them anew.
            fresh = reading(folder / f"by_{workers}")
            return FitWork(segmenter, "cpu", Observing((mean_z_plan(network),), 0, 3), fresh)

        return scaling(f"waits {WAIT_S:g} s a bag", work, addresses, bags[0])


def computing(folder: Path) -> Rows:
    """Local bags with the shipped network, by the number of workers."""
    bags = large_drives(folder)
    small = record(folder / "small.mcap", [tiny_network.clean_image(0, 360, 480)])
    observing = Observing((transfer_plan(load_segmenter(SHIPPED, "cpu")),), 0, 3)
    return scaling("computes", lambda _: FitWork(SHIPPED, "cpu", observing, reading(folder)), bags, str(small))


def large_drives(folder: Path) -> list[str]:
    """Bags that take the shipped network some seconds each."""
    return [
        str(
            record(
                folder / f"large_{bag}.mcap",
                (tiny_network.clean_image(COMPUTED_FRAMES * bag + frame, 360, 480) for frame in range(COMPUTED_FRAMES)),
            )
        )
        for bag in range(COMPUTED_BAGS)
    ]


def scaling(kind: str, work: Callable[[int], FitWork], bags: Sequence[str], first: str) -> Rows:
    """Time for the same bags by the number of workers, once they are ready: each has read the bag ``first``."""
    rows: Rows = [["work", "workers", "seconds", "times as fast", "efficiency"]]
    alone = 0.0
    with cluster_of([max(WORKERS)]) as cluster:
        for workers in WORKERS:
            with RayPool(work(workers), PoolSettings(cluster.address, workers)) as pool:
                warming = deque(FitTask(f"{first} {number}", 0, first) for number in range(workers))
                for done in pool.run(warming):
                    assert not done.refusal, done.refusal
                    if pool.workers < workers:
                        warming.append(done.task)
                began = time.perf_counter()
                answered = list(pool.run(deque(FitTask(bag, 0, readable_anywhere(bag)) for bag in bags)))
                spent = time.perf_counter() - began
            assert len(answered) == len(bags) and not any(done.refusal for done in answered), answered
            alone = alone or spent
            rows.append([kind, workers, f"{spent:.1f}", f"{alone / spent:.2f}", f"{alone / spent / workers:.2f}"])
            print(*rows[-1], flush=True)
    return rows


def overhead(folder: Path) -> Rows:
    """What a bag takes one worker and the driver, above one process; the first bag is not counted."""
    bags = large_drives(folder)
    settings = FitSettings(false_alarm_rate=0.01)

    def clocked(times: list[float]) -> Progress:
        @contextmanager
        def progress(description: str, unit: str, total: int | None) -> Iterator[Advance]:
            yield lambda steps=1, note="": times.append(time.perf_counter())

        return progress

    def seconds_a_bag(times: Sequence[float], steps: int) -> float:
        return (times[-1] - times[steps - 1]) / (COMPUTED_BAGS - 1)

    network, alone, fleet = load_segmenter(SHIPPED, "cpu"), [], []
    # In turn, and the faster of each: what else the machine does only makes them slower.
    with cluster_of([1]) as cluster:
        for turn in range(2):
            frames: list[float] = []
            with CameraBags([Path(bag) for bag in bags], "/camera/image_raw") as opened:
                fit_bags(network, opened, settings, (), clocked(frames))
            alone.append(seconds_a_bag(frames, COMPUTED_FRAMES))
            merged: list[float] = []
            request = FleetFitRequest(bags, reading(folder), SHIPPED, "cpu", settings, folder / f"parts_{turn}")
            fit_fleet(request, PoolSettings(cluster.address), clocked(merged))
            fleet.append(seconds_a_bag(merged, 1))
    alone_s, fleet_s = min(alone), min(fleet)
    sent = sum(part.stat().st_size for part in (folder / "parts_0").glob("*.result")) / COMPUTED_BAGS
    rows = [
        [f"a bag of {COMPUTED_FRAMES} frames in one process, s", f"{alone_s:.2f}"],
        ["the same on a cluster with one worker, s", f"{fleet_s:.2f}"],
        ["overhead", f"{fleet_s / alone_s - 1:+.1%}"],
        ["what it sends to the driver, of it held-out frames that are all still wanted, MiB", f"{sent / MIB:.2f}"],
    ]
    return [["", ""], *rows]


def sizes(folder: Path) -> Rows:
    """What a part of a bag sends, with the shipped network."""
    segmenter = load_segmenter(SHIPPED, "cpu")
    drive = CamVid(Path(os.environ["ZMASK_CAMVID"]), "train")
    frames = [CleanFrame("drive", "/image_raw", index, drive[index].image) for index in range(50)]
    observing = Observing((transfer_plan(segmenter),), 0, 3)
    (own,) = observing.observe(segmenter, frames)
    used = [frame for frame in frames if not frame.held_out]
    bare, half = (len(pack(observing.observe(segmenter, part), {})) for part in (used, used[: len(used) // 2]))
    stretch = 2 * (bare - half) / len(own.stretches.finished)
    wanted = (len(pack([own], {})) - bare) / own.held_out.total()
    moments = bare - stretch * len(own.stretches.finished)
    part = moments + stretch * PART_FRAMES * (1 - 1 / HELD_OUT_EVERY) / STRETCH_FRAMES
    return [["", ""], *sent_rows(moments, stretch, part, wanted), *paper(part, wanted)]


def sent_rows(moments: float, stretch: float, part: float, wanted: float) -> Rows:
    """What was measured, bytes each."""
    return [
        ["moments of a part, shipped network", f"{moments / 1024:.1f} KiB"],
        ["a stretch of it, ten frames that are used", f"{stretch / 1024:.2f} KiB"],
        [f"a whole part of {PART_FRAMES} frames, so", f"{part / 1024:.0f} KiB"],
        ["a held-out frame that is still wanted, 480x360", f"{wanted / 1024:.0f} KiB"],
    ]


def paper(part: float, wanted: float) -> Rows:
    """What a large fleet's drives come to on a day, from the bytes that a part and a held-out frame take."""
    own = round(HOURS * 3600 * RATE_HZ)
    frames, parts = VEHICLES * own, VEHICLES * -(-own // PART_FRAMES)
    held_out = frames / HELD_OUT_EVERY
    late = SAMPLE_FRAMES * (1 + math.log(held_out / SAMPLE_FRAMES))
    early = MANY_WORKERS * PART_FRAMES / HELD_OUT_EVERY
    return [
        [
            f"**{VEHICLES:,} vehicles, {HOURS} hour a day at {RATE_HZ} Hz, on paper**",
            f"{frames:,} frames, {parts:,} parts",
        ],
        [
            f"what workers read over the network, JPEG of {JPEG_BYTES / 1e6:g} MB",
            f"{frames * JPEG_BYTES / 1e12:.1f} TB",
        ],
        [
            f"the same, recorded at {RECORDED_HZ} Hz: a bag is fetched whole",
            f"{frames * JPEG_BYTES * RECORDED_HZ / RATE_HZ / 1e12:.0f} TB",
        ],
        ["moments and stretches through the object store, then on the driver's disk", f"{parts * part / 1e9:.1f} GB"],
        ["held-out frames that are sent after the first bags", f"{late:,.0f}: {late * wanted / 1e9:.1f} GB"],
        [f"held-out frames before that, {MANY_WORKERS:,} workers, at most", f"{early * wanted / 1e9:.0f} GB"],
        [f"work, at {1e3 * FRAME_S:g} ms a frame and CPU core", f"{frames * FRAME_S / 3600:,.0f} core hours"],
    ]


READING = """
import resource, sys
from pathlib import Path
from zmask_ros.fleet.bag_cache import BagCache
from zmask_ros.fleet.bag_names import named_bags
import s3fs

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

(small, large) = named_bags(["s3://fleet/*.mcap"])[::-1]
cache = BagCache(Path(sys.argv[1]))
with cache.local(small):
    before = peak()
with cache.local(large) as path:
    print(path.stat().st_size >> 20, round(peak() - before))
"""
LARGE_BYTES = 300 * MIB


@dataclass(frozen=True)
class Fetched:
    """A bag that was fetched: its size, the memory above that for a small one, both MiB, and the seconds."""

    mib: int
    above_mib: int
    seconds: float


def objects(folder: Path) -> Rows:
    """A bag of 300 MiB from an S3 server."""
    fetched = fetch_from_s3(folder)
    rows = [
        ["a bag from an S3 server (moto), MiB", fetched.mib],
        ["peak memory above that with a bag of 4 MiB, MiB", fetched.above_mib],
        ["seconds", f"{fetched.seconds:.1f}"],
    ]
    return [["", ""], *rows]


def fetch_from_s3(folder: Path) -> Fetched:
    """Fetch a large bag from moto's server in a process of its own, after a small one."""
    os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    program = (
        "import time; from moto.server import ThreadedMotoServer; "
        "server = ThreadedMotoServer('127.0.0.1', 0, verbose=False); server.start(); "
        "print(server.get_host_and_port()[1], flush=True); time.sleep(3600)"
    )
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen([sys.executable, "-c", program], **quiet) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"
            system, _ = file_system("s3://fleet")
            system.mkdir("fleet")
            with system.open("fleet/large.mcap", "wb") as large:
                for _ in range(LARGE_BYTES // (4 * MIB)):
                    large.write(os.urandom(4 * MIB))
            system.pipe_file("fleet/small.mcap", bytes(4 * MIB))
            command = [sys.executable, "-c", READING, str(folder / "cache")]
            began = time.perf_counter()
            read = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
            spent = time.perf_counter() - began
        finally:
            server.kill()
    return Fetched(int(read[0]), int(read[1]), spent)


MEASURES: dict[str, Callable[[Path], Rows]] = {
    "faults": faults,
    "waiting": waiting,
    "computing": computing,
    "overhead": overhead,
    "bytes": sizes,
    "objects": objects,
}


def marks_of(measure: str) -> Marks:
    """Where the table of a measure stands in the document."""
    return Marks(f"<!-- {measure}: written by tools/measure_fleet.py -->", f"<!-- end of {measure} -->")


def main() -> None:
    """Measure what was asked for, and write it into the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measures", nargs="*", metavar="measure", help=", ".join(MEASURES))
    parser.add_argument("--docs", type=Path, default=DOCUMENT, help="gets the tables")
    arguments = parser.parse_args()
    chosen = arguments.measures or list(MEASURES)
    for name in chosen:
        if name not in MEASURES:
            parser.error(f"there is no measure {name}: {', '.join(MEASURES)}")
        marks_of(name).check(arguments.docs)
    if "bytes" in chosen and "ZMASK_CAMVID" not in os.environ:
        parser.error("bytes needs CamVid: set ZMASK_CAMVID to its folder.")
    # As each worker does.
    torch.set_num_threads(1)
    for name in chosen:
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            text = table(MEASURES[name](Path(folder)))
        marks_of(name).write(arguments.docs, text)
        print(f"{name}, {time.perf_counter() - began:.0f} s", text, "", sep="\n", flush=True)


if __name__ == "__main__":
    main()
