"""What a defense takes beside its time for a frame: its start, and the memory of its process.

Each is measured in a process of its own, which does what the node and `zmask replay` do up to their first frame:

    python -m zmask_ros.evaluation.performance.footprint SETTINGS
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from zmask_ros.errors import ZmaskError

FRAMES = 5
"""Number of frames that a process defends: its memory grows in the first ones."""
KIB_PER_MIB = 1024
GRAY = 114


@dataclass(frozen=True)
class Subject:
    """What is started.

    Attributes:
        segmenter: its name, or its YAML file.
        profile: file of its profile.
        device: where it runs.
        threads: CPU threads of the network.
        graphs: folder that `zmask export` wrote; None: it runs in torch.
    """

    segmenter: str
    profile: str
    device: str
    threads: int
    graphs: str | None = None


@dataclass(frozen=True)
class Footprint:
    """What a process takes.

    Attributes:
        start_s: seconds from its start to what the defense says of a first frame.
        peak_mib: most memory that it had at a time, in MiB.
    """

    start_s: float
    peak_mib: float

    def to_json(self) -> dict[str, float]:
        """Rounded figures."""
        return {name: round(value, 2) for name, value in asdict(self).items()}


def measure_footprint(
    subject: Subject, count: int, python: str = sys.executable, environment: Mapping[str, str] | None = None
) -> Footprint:
    """The footprint of processes that start what is named, ``count`` of them one after the other: medians.

    Args:
        subject: what is started.
        count: at least 1.
        python: that runs them.
        environment: of theirs; None: this process's.

    Raises:
        ZmaskError: it does not start; the sentence is what it says.
    """
    starts, peaks = zip(*(_start(subject, python, environment) for _ in range(count)), strict=True)
    return Footprint(median(starts), median(peaks))


def _start(subject: Subject, python: str, environment: Mapping[str, str] | None) -> tuple[float, float]:
    """The seconds to its first frame of one process, and the most memory that it had."""
    command, pipe = [python, "-m", __name__, json.dumps(asdict(subject))], subprocess.PIPE
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
        assert process.stdout is not None and process.stderr is not None
        line = process.stdout.readline()
        seconds = time.perf_counter() - began
        peak, said = process.stdout.readline(), process.stderr.read()
    if process.returncode or not line:
        raise ZmaskError(f"A process for {subject.segmenter} did not start: {said.strip().splitlines()[-1][:200]}.")
    return seconds, float(peak)


def main(arguments: Sequence[str]) -> None:
    """Start, say so after the first frame, and after some more how much memory that took."""
    from zmask_ros.malloc import keep_freed_memory
    from zmask_ros.openmp import set_up_openmp

    keep_freed_memory()
    set_up_openmp()
    subject = Subject(**json.loads(arguments[0]))
    import numpy as np
    import torch

    from zmask_ros.runtime.camera import CameraStream, DefendedCamera
    from zmask_ros.runtime.replay import ReplaySettings, load_defense

    torch.set_num_threads(subject.threads)
    loaded = load_defense(
        ReplaySettings(
            Path(),
            segmenter=subject.segmenter,
            profile=Path(subject.profile),
            device=subject.device,
            runtime="torch" if subject.graphs is None else "onnx",
            graphs=None if subject.graphs is None else Path(subject.graphs),
        )
    )
    segmenter = loaded.deployment.segmenter
    camera, stream = DefendedCamera(segmenter, loaded.profile), CameraStream()
    image = np.full((*segmenter.input_size, 3), GRAY, np.uint8)
    for index in range(FRAMES):
        camera.process_image(image, stream, index)
        if index == 0:
            print("started", flush=True)
    print(most_memory_mib())


def most_memory_mib() -> float:
    """The most memory that this process has had, in MiB.

    `getrusage` says the same of a process that has not been started by a larger one: it also counts what the other had.
    """
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / KIB_PER_MIB


if __name__ == "__main__":
    main(sys.argv[1:])
