"""The measurements of `zmask bench`: street frames of each case, other ways to analyze, and how the cost grows."""

from __future__ import annotations

import math
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any, cast

import cv2
import numpy as np
import torch
from torch import Tensor

from zmask_ros.attacks import EotRanges, paste_at_random
from zmask_ros.data.street import StreetDrive
from zmask_ros.defense import KEYFRAME_INTERVAL_S, Defense, DefenseResult
from zmask_ros.evaluation.performance.footprint import Footprint
from zmask_ros.evaluation.performance.reference import slowdowns
from zmask_ros.evaluation.performance.scaling import TORCHVISION, Cost, measure_cost, torchvision_segmenter
from zmask_ros.evaluation.performance.timing import (
    Contender,
    Defend,
    PairedTimes,
    Quartiles,
    median_ratio,
    p99,
    streaming_defend,
    time_pairs,
)
from zmask_ros.progress import Advance, Progress, silent
from zmask_ros.segmenters import Segmenter
from zmask_ros.training.plans import head_layers

STREET_SEED, STREET_SECONDS = 4001, 20.0
PATCH_HEIGHTS = (0.2, 0.35)
"""Shares of the image's height that the pasted patch takes."""
CAMERA_RATE_HZ = 30.0
SWAY, SWAY_S = 0.15, 3.0
"""How far a tracked patch moves to either side, as a share of the image, and in how many seconds."""
CASES = {
    "clean": "a clean frame in streaming mode",
    "full": "a clean frame, analysed as a whole",
    "two_pass": "an attacked frame, segmented twice",
    "tracked": "an attacked frame whose patch is known",
}
ENGINE_NAMES = {"clean": "clean_streaming", "full": "clean_full", "tracked": "tracked", "two_pass": "two_pass"}
"""What the cases are called among an engine's ratios."""
SIZES = ((480, 360), (640, 480), (1280, 720))
BATCHES = (2, 4)
REPEATS = 20
INPUT_SCALES = (0.5, 1.0, 1.5, 2.0)
SCALING_FRAMES, NETWORK_FRAMES = 12, 5


@dataclass(frozen=True)
class BenchSubject:
    """What is measured, and where; sizes are WIDTHxHEIGHT, and neighbours processes that keep a core busy each."""

    segmenter: str
    image_size: str
    input_size: str
    device: str
    threads: int
    torch: str
    neighbours: int = 0


@dataclass(frozen=True)
class Benchmark:
    """All that was measured; what was not asked for is empty.

    Attributes:
        subject: What is measured, and where.
        sizes: Times by the camera's image size, WIDTHxHEIGHT, and by case; the first size is the one asked for.
        slowdowns: How many times longer than ours other ways to analyze take, by the names in `reference`.
        batch_gain: How many times as many frames a second one batch gives, by its number of cameras.
        engine: Name of the engine that was measured beside torch; empty: none was.
        footprints: What a process takes that runs the defense in torch, or on the engine from exported graphs, by name.
        input_sizes, layers, networks: Costs by the network's input size, by the number of layers that the head reads,
            and by torchvision's network.
    """

    subject: BenchSubject
    sizes: Mapping[str, Mapping[str, PairedTimes]]
    slowdowns: Mapping[str, float]
    engine: str = ""
    footprints: Mapping[str, Footprint] = field(default_factory=dict)
    batch_gain: dict[int, float] = field(default_factory=dict)
    input_sizes: Mapping[str, Cost] = field(default_factory=dict)
    layers: Mapping[str, Cost] = field(default_factory=dict)
    networks: Mapping[str, Cost] = field(default_factory=dict)

    @property
    def cases(self) -> Mapping[str, PairedTimes]:
        """Times of each case on images of the size asked for."""
        return next(iter(self.sizes.values()))

    def to_json(self) -> dict[str, Any]:
        """Rounded figures, JSON-ready; ``overhead_*`` is the median of defended over plain."""
        result = asdict(self.subject) | _case_figures(self.cases) | dict(self.slowdowns)
        if self.engine:
            result["engine"] = {"name": self.engine} | engine_ratios(self.cases)
        if self.footprints:
            result["footprints"] = {name: footprint.to_json() for name, footprint in self.footprints.items()}
        if self.batch_gain:
            result["batch_gain"] = {str(cameras): gain for cameras, gain in self.batch_gain.items()}
            result["sizes"] = {size: _case_figures(cases) for size, cases in self.sizes.items()}
        for name, costs in {"input_sizes": self.input_sizes, "layers": self.layers, "networks": self.networks}.items():
            if costs:
                result[name] = {key: _rounded(asdict(cost)) for key, cost in costs.items()}
        return result


def _case_figures(cases: Mapping[str, PairedTimes]) -> dict[str, Any]:
    result: dict[str, Any] = {f"overhead_{case}": round(times.ratio.median, 4) for case, times in cases.items()}
    for case, times in cases.items():
        result[case] = {
            "frames": len(times.plain),
            "flagged": times.flagged,
            "analysed_as_a_whole": times.analyzed,
            "segmented_once": len(times.plain) - times.twice,
            "overhead_mean": round(times.mean_ratio, 4),
            "overhead_quartiles": [round(ratio, 4) for ratio in times.ratio],
            "plain_ms_quartiles": [round(ms, 3) for ms in Quartiles.of(times.plain)],
            "defended_ms_quartiles": [round(ms, 3) for ms in Quartiles.of(times.defended)],
            "plain_ms_p99": round(p99(times.plain), 3),
            "defended_ms_p99": round(p99(times.defended), 3),
            "stages_ms": _rounded(times.stage_medians),
        }
        if times.engine is not None:
            result[case] |= {
                "engine_flagged": times.engine.flagged,
                "engine_overhead_quartiles": [round(ratio, 4) for ratio in times.engine.ratio],
                "engine_plain_ms_quartiles": [round(ms, 3) for ms in Quartiles.of(times.engine.plain)],
                "engine_defended_ms_quartiles": [round(ms, 3) for ms in Quartiles.of(times.engine.defended)],
                "engine_plain_ms_p99": round(p99(times.engine.plain), 3),
                "engine_defended_ms_p99": round(p99(times.engine.defended), 3),
                "engine_stages_ms": _rounded(times.engine.stage_medians),
            }
    return result


def engine_ratios(cases: Mapping[str, PairedTimes]) -> dict[str, float]:
    """What the engine takes for a frame over the plain network in torch: medians over the frames of each case."""
    found = {}
    for case, name in ENGINE_NAMES.items():
        engine = cases[case].engine
        if engine is not None:
            found[name] = round(cases[case].to_plain(engine.defended).median, 4)
    clean = cases["clean"]
    return found if clean.engine is None else {"plain": round(clean.to_plain(clean.engine.plain).median, 4)} | found


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in figures.items()}


def run_benchmark(
    network: Segmenter,
    defense: Defense,
    patch: np.ndarray,
    size: tuple[int, int] | None,
    frames: int,
    sweep: bool = False,
    networks: bool = False,
    demo: bool = False,
    progress: Progress = silent,
    engine: Segmenter | None = None,
    neighbours: int = 0,
) -> Benchmark:
    """Measure what a defense costs on top of its plain network.

    Args:
        network: The network.
        defense: Its defense.
        patch: uint8 [h, w, 3] RGB, pasted into the attacked frames.
        size: Width and height of the camera's images; None takes the network's input size.
        frames: Frames of each case, >= 1.
        sweep: Also measure other image sizes, input sizes and layers, and cameras together in one batch.
        networks: Also measure torchvision's networks with random weights.
        demo: Also time the analysis as the demo of the paper's authors does it.
        progress: Counts frames.
        engine: The same network on an inference engine, to be measured beside it; None: there is none.
        neighbours: Processes that keep a core busy each while the cases are timed, >= 0.
    """
    asked = size or (network.input_size[1], network.input_size[0])
    sizes = list(dict.fromkeys([asked, *(SIZES if sweep else ())]))
    other = None if engine is None else Defense(engine, defense.profile)
    with progress("Timing", "frames", len(CASES) * frames * len(sizes)) as advance, busy_neighbors(neighbours):
        timed = {
            "{}x{}".format(*size): time_cases(network, defense, patch, size, frames, advance, other) for size in sizes
        }
    x = torch.cat([network.prepare(image) for image in clean_frames(max(BATCHES), *asked)])
    factors = slowdowns(network, defense.profile, x[:1], REPEATS, demo)
    batch_gains = {n: round(batch_gain(defense, x[:n], REPEATS), 3) for n in BATCHES} if sweep else {}
    input_sizes, layers = _growing_costs(network, progress) if sweep else ({}, {})
    costs = _network_costs(network, progress) if networks else {}
    subject = BenchSubject(
        segmenter=network.name,
        image_size="{}x{}".format(*asked),
        input_size="{1}x{0}".format(*network.input_size),
        device=device_name(network.device),
        threads=torch.get_num_threads(),
        torch=str(torch.__version__),
        neighbours=neighbours,
    )
    name = "" if engine is None else engine.engine
    return Benchmark(subject, timed, factors, name, {}, batch_gains, input_sizes, layers, costs)


def device_name(device: torch.device) -> str:
    """What a device is, for people."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return platform.processor() or platform.machine()


def time_cases(
    network: Segmenter,
    defense: Defense,
    patch: np.ndarray,
    size: tuple[int, int],
    frames: int,
    advance: Advance,
    engine: Defense | None = None,
) -> dict[str, PairedTimes]:
    """Times of each of `CASES` on images of this width and height, and where there is an engine on that, too."""
    clean = clean_frames(frames, *size)
    ways: dict[str, tuple[Callable[[Defense], Defend], list[np.ndarray]]] = {
        "clean": (lambda own: streaming_defend(own, CAMERA_RATE_HZ, KEYFRAME_INTERVAL_S), clean),
        "full": (lambda own: own, clean),
        "two_pass": (lambda own: own, attacked_frames(clean, patch)),
        "tracked": (lambda own: streaming_defend(own, CAMERA_RATE_HZ, math.inf), tracked_frames(frames, *size, patch)),
    }
    found = {}
    for case, (defend, images) in ways.items():
        other = None if engine is None else Contender(cast(Segmenter, engine.segmenter), defend(engine))
        found[case] = time_pairs(network, defend(defense), images, advance, other)
    return found


@contextmanager
def busy_neighbors(count: int) -> Iterator[None]:
    """Context manager in which ``count`` processes keep a core busy each."""
    with ExitStack() as stack:
        for _ in range(count):
            stack.callback(_end, subprocess.Popen([sys.executable, "-c", "while True: pass"]))
        yield


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def clean_frames(count: int, width: int, height: int) -> list[np.ndarray]:
    """Frames of one street drive, spread evenly over it, uint8 [height, width, 3]."""
    drive = StreetDrive(STREET_SEED, STREET_SECONDS, rate_hz=count / STREET_SECONDS, width=width, height=height)
    return [frame.image for frame in drive]


def attacked_frames(clean: Sequence[np.ndarray], patch: np.ndarray) -> list[np.ndarray]:
    """The same frames with the patch at random places."""
    low, high = (share * clean[0].shape[0] / patch.shape[0] for share in PATCH_HEIGHTS)
    generator = torch.Generator().manual_seed(STREET_SEED)
    ranges = EotRanges(scale=(low, high))
    return [paste_at_random(image, patch, ranges, generator)[0] for image in clean]


def tracked_frames(count: int, width: int, height: int, patch: np.ndarray) -> list[np.ndarray]:
    """Frames of a drive at the rate of a camera, in which the patch sways from side to side."""
    drive = StreetDrive(STREET_SEED, count / CAMERA_RATE_HZ, rate_hz=CAMERA_RATE_HZ, width=width, height=height)
    tall = round(PATCH_HEIGHTS[1] * height)
    wide = min(width // 2, round(tall * patch.shape[1] / patch.shape[0]))
    small = cv2.resize(patch, (wide, tall), interpolation=cv2.INTER_AREA)
    images = []
    for index, frame in enumerate(drive):
        image, top = frame.image.copy(), (height - tall) // 2
        left = round((0.5 + SWAY * math.sin(2 * math.pi * index / CAMERA_RATE_HZ / SWAY_S)) * (width - wide))
        image[top : top + tall, left : left + wide] = small
        images.append(image)
    return images


def batch_gain(defense: Defense, x: Tensor, repeats: int) -> float:
    """How many times as many frames a second a batch ``x`` [B, 3, h, w] gives as its images one by one; median."""

    def one_by_one(batch: Tensor) -> list[DefenseResult]:
        return [defense(image) for image in batch.split(1)]

    defense(x)
    one_by_one(x)
    return median_ratio(x.device, defense, one_by_one, [x] * repeats)


def _growing_costs(network: Segmenter, progress: Progress) -> tuple[dict[str, Cost], dict[str, Cost]]:
    """Costs by the network's input size, and by the number of layers that the head reads."""
    layers, (height, width) = head_layers(network), network.input_size
    scaled = [(round(scale * height), round(scale * width)) for scale in INPUT_SCALES]
    images = clean_frames(SCALING_FRAMES, width, height)
    sized = {
        f"{w}x{h}": replace(network, description=replace(network.description, input_size=(h, w))) for h, w in scaled
    }
    with progress("Timing sizes and layers", "frames", 2 * len(images) * (len(scaled) + len(layers))) as advance:
        by_size = {name: measure_cost(other, images, layers, advance) for name, other in sized.items()}
        by_count = {str(n): measure_cost(network, images, layers[:n], advance) for n in range(1, len(layers) + 1)}
    return by_size, by_count


def _network_costs(network: Segmenter, progress: Progress) -> dict[str, Cost]:
    """Costs of torchvision's networks at the input size of ``network``."""
    images = clean_frames(NETWORK_FRAMES, network.input_size[1], network.input_size[0])
    costs = {}
    with progress("Timing networks", "frames", 2 * len(images) * len(TORCHVISION)) as advance:
        for builder, layers in TORCHVISION.items():
            other = torchvision_segmenter(builder, network.input_size, str(network.device))
            costs[builder] = measure_cost(other, images, layers, advance)
    return costs
