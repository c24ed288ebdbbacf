"""Measure how long a frame takes in the running node, from receipt to flag; the table goes into docs/performance.md.

    scripts/run.sh bash -c 'PYTHONPATH=test:$PYTHONPATH python tools/measure_node.py'

A camera at 10 Hz over real DDS, the shipped network in torch and on ONNX Runtime, alone and beside busy processes. The
latency is the one that each flag carries. Torch runs twice: as the node runs it, and with threads that keep their core
busy while they wait, as without the node's setting of OpenMP. Takes eight minutes, on a machine that does nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import click
import numpy as np
import pytest

from support.node_processes import Camera, Client, StartedNode, deep_inputs, image_message
from zmask_ros.cli.console import progress
from zmask_ros.evaluation.performance.benchmark import busy_neighbors, clean_frames
from zmask_ros.evaluation.report.tables import markdown_table
from zmask_ros.inference import Runtime
from zmask_ros.io.markdown_tables import Marks
from zmask_ros.msg import AttackFlag
from zmask_ros.openmp import WAIT_POLICY
from zmask_ros.resources import DEFAULT_SEGMENTER

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
MARKS = Marks("<!-- node: written by tools/measure_node.py -->", "<!-- end of node -->")
NAMESPACE = "/measured"
NEIGHBORS = 0, 2
RATE_HZ = 10.0
WIDTH, HEIGHT = 640, 480
IMAGES, WARM_UP = 20, 5
COLUMNS = (
    *("Beside", "Network in", "Frames, dropped", "p50", "p99"),
    *("p99 over torch's", "over torch's waiting busily"),
)
LOST = ("dropped: ", "stuck: ")
"""What the reasons of frames begin with that were received and not processed."""
UNIT_NICE = -10
"""What deploy/zmask-defense@.service runs the node with."""
AIM = 0.20
"""What p99 on the engine, beside busy processes, is to be in that of torch with threads that keep their core busy."""


@dataclass(frozen=True)
class Way:
    """How the network runs.

    Attributes:
        title: in the table.
        runtime: what it runs in.
        wait_policy: how OpenMP's threads wait for others; None: as the node has them wait. To OpenMP, an empty one is
            none: its own way.
        nice: of the node's process; the busy processes have 0, and below it is above them.
    """

    title: str
    runtime: Runtime
    wait_policy: str | None = None
    nice: int = 0


BUSY_WAITING = Way("torch, threads waiting busily", "torch", "")
TORCH = Way("torch", "torch")
ENGINE = Way("ONNX Runtime", "onnx")
AHEAD = Way(f"ONNX Runtime, nice {UNIT_NICE}", "onnx", nice=UNIT_NICE)
WAYS = BUSY_WAITING, TORCH, ENGINE, AHEAD


@dataclass(frozen=True)
class Latencies:
    """What the flags of a run say.

    Attributes:
        processed_ms: from receipt to flag, of the frames that were processed, milliseconds.
        sent: number of frames.
        dropped: number of those for which a newer one arrived first, or that took so long that the node gave them up.
    """

    processed_ms: tuple[float, ...]
    sent: int
    dropped: int

    @classmethod
    def of(cls, flags: Iterable[AttackFlag]) -> Latencies:
        """Of all flags of a run; one that is neither of a processed nor of a dropped or late frame is an error."""
        flags = list(flags)
        processed = [float(flag.latency_ms) for flag in flags if flag.state != AttackFlag.UNKNOWN]
        other = [flag.reason for flag in flags if flag.state == AttackFlag.UNKNOWN]
        failed = [reason for reason in other if not reason.startswith(LOST)]
        if failed or not processed:
            raise click.ClickException(f"The node does not process its frames: {(failed or other)[0]}")
        return cls(tuple(processed), len(flags), len(other))

    def percentile(self, share: float) -> float:
        """Of the processed frames, milliseconds."""
        return float(np.percentile(self.processed_ms, share))


def measure(way: Way, images: Sequence[np.ndarray], frames: int, threads: int) -> Latencies:
    """Start the node, and send it so many frames."""
    parameters = {
        "segmenter": DEFAULT_SEGMENTER,
        "device": "cpu",
        "num_threads": threads,
        "runtime": way.runtime,
        "timeout_s": 60.0,
        **deep_inputs(f"{NAMESPACE}/"),
    }
    with pytest.MonkeyPatch.context() as patch, closing(Client(NAMESPACE)) as client:
        # The one of this shell is not the node's.
        patch.delenv(WAIT_POLICY, raising=False)
        if way.wait_policy is not None:
            patch.setenv(WAIT_POLICY, way.wait_policy)
        with started_with(way.nice):
            node = StartedNode("defense_node", parameters, NAMESPACE)
        with node:
            camera = Camera(client)
            # Their time goes on: one that jumps back makes the node forget what it knows.
            drive = (image_message(number, images[number % len(images)]) for number in count())
            for message in islice(drive, WARM_UP):
                camera.ask(message)
            camera.flags.clear()
            camera.stream(islice(drive, frames), 1 / RATE_HZ)
            return Latencies.of(camera.flags)


@contextmanager
def started_with(nice: int) -> Iterator[None]:
    """What this thread starts in here begins with that niceness."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    except PermissionError:
        raise click.ClickException(f"Niceness {nice} needs root, or CAP_SYS_NICE.") from None
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, before)


def rows(measured: Mapping[int, Mapping[Way, Latencies]]) -> Iterator[tuple[str, ...]]:
    """The rows of the table."""
    for neighbors, ways in measured.items():
        for way, found in ways.items():
            yield (
                f"{neighbors} busy processes" if neighbors else "nothing",
                way.title,
                f"{found.sent}, {found.dropped / found.sent:.0%}",
                *(f"{found.percentile(share):.0f} ms" for share in (50, 99)),
                _ratio(found, ways[TORCH]),
                _ratio(found, ways[BUSY_WAITING])
                + (f" (aim {AIM:.2f})" if neighbors and way.runtime == "onnx" else ""),
            )


def _ratio(found: Latencies, other: Latencies) -> str:
    return f"{found.percentile(99) / other.percentile(99):.2f}"


@click.command(help=__doc__)
@click.option("--frames", default=600, show_default=True, help="Of each run.")
@click.option("--threads", default=2, show_default=True, help="Of the network.")
@click.option("--docs", type=click.Path(path_type=Path), default=DOCUMENT, show_default=True, help="Gets the table.")
def main(frames: int, threads: int, docs: Path) -> None:
    """Measure all, and write the table."""
    MARKS.check(docs)
    images = clean_frames(IMAGES, WIDTH, HEIGHT)
    measured: dict[int, dict[Way, Latencies]] = {}
    with progress("Measuring", "runs", len(NEIGHBORS) * len(WAYS)) as advance:
        for neighbors in NEIGHBORS:
            measured[neighbors] = {}
            for way in WAYS:
                with busy_neighbors(neighbors):
                    measured[neighbors][way] = measure(way, images, frames, threads)
                advance(note=way.title)
    subject = f"{DEFAULT_SEGMENTER}, {threads} threads on {os.cpu_count()} cores, {WIDTH}x{HEIGHT} at {RATE_HZ:g} Hz."
    table = f"{subject}\n\n{markdown_table(COLUMNS, rows(measured))}"
    MARKS.write(docs, table)
    click.echo(table)


if __name__ == "__main__":
    main()
