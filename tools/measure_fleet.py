"""What `zmask fit --ray` does with many bags on several nodes of a cluster on this machine: tables of docs/fleet.md.

usage: PYTHONPATH=test scripts/run.sh python tools/measure_fleet.py faults|scaling|bytes|objects
"""

from __future__ import annotations

import argparse
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
from zmask_ros.fleet.bag_cache import BagCache
from zmask_ros.fleet.bag_names import file_system, readable_anywhere
from zmask_ros.fleet.fit import BagReading, FitTask, FitWork, FleetFitRequest, fit_fleet
from zmask_ros.fleet.pool import PoolSettings, Pulse, RayPool
from zmask_ros.io.bags.reader import CameraBags
from zmask_ros.io.images.codec import AUTO_BITS
from zmask_ros.progress import Advance
from zmask_ros.segmenters import load_segmenter
from zmask_ros.training.bag_fit import Observing, fit_bags
from zmask_ros.training.observations import pack
from zmask_ros.training.plans import mean_z_plan, transfer_plan
from zmask_ros.training.settings import FitSettings
from zmask_ros.training.sources import CleanFrame

STORE_BYTES = 80 << 20
FRAMES = 25
SETTINGS = FitSettings(false_alarm_rate=0.01, variant="mean-z")
MIB = 1 << 20


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
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.killable = [cluster.add_node(num_cpus=cpus, object_store_memory=STORE_BYTES) for cpus in nodes]
    try:
        yield cluster
    finally:
        cluster.shutdown()


def print_table(rows: Sequence[Sequence[object]]) -> None:
    """Print a table of Markdown whose first row is its head."""
    head, *others = [f"| {' | '.join(map(str, row))} |" for row in rows]
    print(head, "|---" * len(rows[0]) + "|", *others, sep="\n")


def reading(folder: Path) -> BagReading:
    """How bags are read."""
    return BagReading("/camera/image_raw", 1, AUTO_BITS, BagCache(folder / "cache"))


def faults(folder: Path) -> None:
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
    print_table([["", ""], *rows])


@dataclass(frozen=True)
class SlowReading:
    """The work of a fit, from a file system that takes ``seconds`` for a bag."""

    work: FitWork
    seconds: float

    def __call__(self) -> Callable[[FitTask, Pulse], bytes]:
        """What a worker does with a part."""
        run = self.work()

        def slow_run(task: FitTask, pulse: Pulse) -> bytes:
            time.sleep(self.seconds)
            return bytes(run(task, pulse))

        return slow_run


def scaling(folder: Path) -> None:
    """Time for the same bags by the number of workers, with work that waits and with work that computes."""
    segmenter, bags = drives(folder, 64)
    network = load_segmenter(segmenter, "cpu")
    work = FitWork(segmenter, "cpu", Observing((mean_z_plan(network),), 0, 3), reading(folder))
    began = time.perf_counter()
    with CameraBags([Path(bag) for bag in bags]) as opened:
        fit_bags(network, opened, SETTINGS)
    print(f"one process: {(time.perf_counter() - began) / len(bags) * 1e3:.0f} ms a bag")
    rows = []
    for kind, seconds in (("waits 2 s a bag", 2.0), ("computes", 0.0)):
        first = 0.0
        for workers in (1, 2, 4, 8):
            spent = _seconds(SlowReading(work, seconds), bags, workers)
            first = first or spent
            rows.append([kind, workers, f"{spent:.1f}", f"{first / spent / workers:.2f}"])
            print(rows[-1], flush=True)
    print_table([["work", "workers", "seconds", "efficiency"], *rows])


def _seconds(work: SlowReading, bags: Sequence[str], workers: int) -> float:
    """The time for all bags, once all workers are ready."""
    tasks = [FitTask(bag, 0, readable_anywhere(bag)) for bag in bags]
    with cluster_of([workers]) as cluster, RayPool(work, PoolSettings(cluster.address)) as pool:
        waiting = deque(tasks[:workers])
        for done in pool.run(waiting):
            assert not done.refusal, done.refusal
            if pool.workers < workers:
                waiting.append(done.task)
        began = time.perf_counter()
        answered = list(pool.run(deque(tasks)))
        spent = time.perf_counter() - began
    assert len(answered) == len(bags)
    return spent


def sizes(folder: Path) -> None:
    """What a part of a bag sends, with the shipped network."""
    segmenter = load_segmenter("lraspp_camvid", "cpu")
    drive = CamVid(Path(os.environ["ZMASK_CAMVID"]), "train")
    frames = [CleanFrame("drive", "/image_raw", index, drive[index].image) for index in range(50)]
    observing = Observing((transfer_plan(segmenter),), 0, 3)
    (own,) = observing.observe(segmenter, frames)
    used = [frame for frame in frames if not frame.held_out]
    bare, half = (len(pack(observing.observe(segmenter, part), {})) for part in (used, used[: len(used) // 2]))
    stretch = 2 * (bare - half) / len(own.stretches.finished)
    wanted = (len(pack([own], {})) - bare) / own.held_out.total()
    moments = bare - stretch * len(own.stretches.finished)
    rows = [
        ["moments of a part", f"{moments / 1024:.1f} KiB"],
        ["a stretch of it, ten frames that are used", f"{stretch / 1024:.2f} KiB"],
        ["a held-out frame that is still wanted", f"{wanted / 1024:.0f} KiB"],
    ]
    print_table([["", ""], *rows])


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


def objects(folder: Path) -> None:
    """The memory that it takes to fetch a bag of 300 MiB from moto's S3 server, above that for a small one."""
    os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    program = (
        "import time; from moto.server import ThreadedMotoServer; "
        "server = ThreadedMotoServer('127.0.0.1', 0, verbose=False); server.start(); "
        "print(server.get_host_and_port()[1], flush=True); time.sleep(3600)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as server:
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
        finally:
            server.kill()
    rows = [["bag, MiB", read[0]], ["memory above a small bag's, MiB", read[1]]]
    print_table([["", ""], *rows, ["seconds", f"{time.perf_counter() - began:.0f}"]])


def main() -> None:
    """Measure what was asked for."""
    measures = {"faults": faults, "scaling": scaling, "bytes": sizes, "objects": objects}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("measure", choices=measures)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measures[arguments.measure](Path(folder))


if __name__ == "__main__":
    main()
