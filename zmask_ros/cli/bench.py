"""`zmask bench`: what the defence costs on top of the plain network."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch
from torch import Tensor

from zmask_ros.attacks import EotRanges, load_patch, paste_at_random
from zmask_ros.cli import options
from zmask_ros.cli.console import print_json, print_table, progress
from zmask_ros.data.street import StreetDrive
from zmask_ros.defense import KEYFRAME_INTERVAL_S, Branch, Defense, Profile, load_profile
from zmask_ros.defense.evidence.grid import Size
from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation import PairedTimes, Quartiles, time_pairs
from zmask_ros.evaluation.performance.markdown import CASES, NAIVE, bench_markdown
from zmask_ros.evaluation.performance.overhead import Analyze, batch_gain, following, slower_factor
from zmask_ros.evaluation.performance.reference import DEMO_GRID, demo_branches, demo_evidence, naive_evidence
from zmask_ros.evaluation.performance.scaling import (
    TORCHVISION,
    Cost,
    measure_cost,
    torchvision_segmenter,
    with_input_size,
)
from zmask_ros.evaluation.report.plots import cost_plot
from zmask_ros.io.files import check_place, replace_file
from zmask_ros.io.markdown_tables import Marks
from zmask_ros.resources import shipped_patch, shipped_profile
from zmask_ros.segmenters import Segmenter, load_segmenter

STREET_SEED = 4001
STREET_SECONDS = 20.0
PATCH_HEIGHTS = (0.2, 0.35)
"""Shares of the image's height that the pasted patch takes."""
CAMERA_RATE_HZ = 30.0
SWAY, SWAY_S = 0.15, 3.0
"""How far a patch that is followed moves to either side, as a share of the image, and in how many seconds."""
SIZES = ((480, 360), (640, 480), (1280, 720))
BATCHES = (2, 4)
REPEATS = 20
DEMO_REPEATS = 2
INPUT_SCALES = (0.5, 1.0, 1.5, 2.0)
GROWTH_FRAMES = 12
NETWORK_FRAMES = 5
PERFORMANCE = Marks("<!-- figures: written by zmask bench --docs -->", "<!-- end of figures -->")


@click.command()
@options.segmenter
@click.option("--profile", type=click.Path(path_type=Path), help="Profile.  [default: the one shipped]")
@click.option("--patch", type=click.Path(path_type=Path), help="Patch, a picture.  [default: the one shipped]")
@click.option("--size", type=options.ImageSize(), help="The camera's images.  [default: the network's input size]")
@click.option("--frames", type=click.IntRange(min=1), default=60, show_default=True, help="Frames of each case.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: torch's own choice]")
@click.option(
    "--sweep", is_flag=True, help="Also other image sizes, input sizes and layers, and cameras together in one batch."
)
@click.option("--networks", is_flag=True, help="Also torchvision's networks with random weights; takes minutes.")
@click.option("--demo", is_flag=True, help="Also time the analysis as the paper's authors' demo does it; slow.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw how the cost grows (SVG); with --sweep.")
@click.option("--docs", type=click.Path(path_type=Path), help="Write the figures into this document.")
@options.device
@options.as_json
def command(
    segmenter: str,
    profile: Path | None,
    patch: Path | None,
    size: tuple[int, int] | None,
    frames: int,
    threads: int | None,
    sweep: bool,
    networks: bool,
    demo: bool,
    plot: Path | None,
    docs: Path | None,
    device: str,
    as_json: bool,
) -> None:
    """Measure what the defence costs on top of the plain network.

    Plain and defended network see the same street-world frames in turn, in one process: from the camera's image to
    labels. Each frame gives a ratio of two times that lie next to each other; medians and quartiles of the ratios
    are printed: for clean frames in streaming mode, most of which are only glanced at; for clean frames that are all
    analysed as a whole; for frames with a patch, which are segmented twice where masked; and for a patch that is known
    already, which is taken out in one pass. The analysis is also timed against the paper's description of it,
    step by step, on the same layers and kernels: in the same pass of the network, and, as the authors' demo does it, in
    one pass for each layer; with --demo, on the demo's grid and with its kernels as well.

    \b
      zmask bench
      zmask bench --size 1280x720 --frames 200 --device cuda --json
    """
    if plot is not None:
        if not sweep:
            raise ZmaskError("There is nothing to draw without --sweep: add it, or leave --plot away.")
        check_place(plot)
    if docs is not None:
        PERFORMANCE.check(docs)
    if threads is not None:
        torch.set_num_threads(threads)
    network = load_segmenter(segmenter, device)
    defense = Defense(network, load_profile(profile or shipped_profile(network.name)))
    picture = load_patch(patch or shipped_patch(network.name))
    sizes = list(dict.fromkeys([size or (network.input_size[1], network.input_size[0]), *(SIZES if sweep else ())]))
    with progress("Timing", "frames", len(CASES) * frames * len(sizes)) as advance:
        timed = {each: time_cases(network, defense, picture, each, frames, advance) for each in sizes}
    result = _where(network, sizes[0]) | summary(timed[sizes[0]])
    x = torch.cat([network.prepare(image) for image in clean_frames(max(BATCHES), *sizes[0])])
    result |= naive_factors(network, defense.profile, x[:1], demo)
    if sweep:
        result["batch_gain"] = {str(n): round(batch_gain(defense, x[:n], REPEATS), 3) for n in BATCHES}
        result["sizes"] = {"{}x{}".format(*each): summary(times) for each, times in timed.items()}
        result |= growing_costs(network)
    if networks:
        result["networks"] = network_costs(network)
    if plot is not None:
        replace_file(plot, cost_plot(result).encode())
    if docs is not None:
        PERFORMANCE.write(docs, bench_markdown(result))
    if as_json:
        print_json(result)
    else:
        print_table("Bench", _rows(result, timed[sizes[0]]))


def time_cases(
    network: Segmenter,
    defense: Defense,
    patch: np.ndarray,
    size: tuple[int, int],
    frames: int,
    advance: Callable[[], None],
) -> dict[str, PairedTimes]:
    """Times of each case on images of this width and height."""
    clean = clean_frames(frames, *size)
    followed = followed_frames(frames, *size, patch)
    return {
        "clean": time_pairs(network, following(defense, CAMERA_RATE_HZ, KEYFRAME_INTERVAL_S), clean, advance),
        "full": time_pairs(network, defense, clean, advance),
        "two_pass": time_pairs(network, defense, attacked_frames(clean, patch), advance),
        "tracked": time_pairs(network, following(defense, CAMERA_RATE_HZ, math.inf), followed, advance),
    }


def naive_factors(network: Segmenter, profile: Profile, x: Tensor, demo: bool) -> dict[str, float]:
    """How many times longer than ours other ways to analyse the image ``x`` take, by their names in `NAIVE`."""

    def own_branches(plain: Profile) -> tuple[Branch, Branch]:
        return plain.detector.shallow, plain.detector.deep

    def as_demo(branches: Callable[[Profile], tuple[Branch, Branch]], grid: Size) -> Analyze:
        return lambda plain, taps: demo_evidence(network, plain, branches(plain), grid, x)

    factors = {
        "naive_analysis": slower_factor(network, profile, x, naive_evidence, REPEATS),
        "naive_passes": slower_factor(network, profile, x, as_demo(own_branches, profile.grid), REPEATS),
    }
    if demo:
        factors["naive_demo"] = slower_factor(network, profile, x, as_demo(demo_branches, DEMO_GRID), DEMO_REPEATS)
    return {name: round(factor, 1) for name, factor in factors.items()}


def growing_costs(network: Segmenter) -> dict[str, Any]:
    """Costs by the network's input size, and by the number of layers that the head looks at."""
    layers, own = network.description.head_layers, network.input_size
    scaled = [(round(scale * own[0]), round(scale * own[1])) for scale in INPUT_SCALES]
    images = clean_frames(GROWTH_FRAMES, own[1], own[0])
    with progress("Timing sizes and layers", "frames", 2 * len(images) * (len(scaled) + len(layers))) as advance:
        by_size = {
            f"{w}x{h}": measure_cost(with_input_size(network, (h, w)), images, layers, advance) for h, w in scaled
        }
        by_count = {str(n): measure_cost(network, images, layers[:n], advance) for n in range(1, len(layers) + 1)}
    return {"input_sizes": _rounded(by_size), "layers": _rounded(by_count)}


def network_costs(network: Segmenter) -> dict[str, Any]:
    """Costs of torchvision's networks at the input size of ``network``."""
    images = clean_frames(NETWORK_FRAMES, network.input_size[1], network.input_size[0])
    costs = {}
    with progress("Timing networks", "frames", 2 * len(images) * len(TORCHVISION)) as advance:
        for builder, layers in TORCHVISION.items():
            other = torchvision_segmenter(builder, network.input_size, str(network.device))
            costs[builder] = measure_cost(other, images, layers, advance)
    return _rounded(costs)


def _rounded(costs: dict[str, Cost]) -> dict[str, Any]:
    return {name: {k: round(value, 3) for k, value in asdict(cost).items()} for name, cost in costs.items()}


def followed_frames(count: int, width: int, height: int, patch: np.ndarray) -> list[np.ndarray]:
    """Frames of a drive at the rate of a camera, with the patch swaying from side to side in them."""
    drive = StreetDrive(STREET_SEED, count / CAMERA_RATE_HZ, rate_hz=CAMERA_RATE_HZ, width=width, height=height)
    tall = round(PATCH_HEIGHTS[1] * height)
    wide = min(width // 2, round(tall * patch.shape[1] / patch.shape[0]))
    small = cv2.resize(patch, (wide, tall), interpolation=cv2.INTER_AREA)
    images = []
    for index, frame in enumerate(drive):
        image, top = frame.image.copy(), (height - tall) // 2
        sway = SWAY * math.sin(2 * math.pi * index / CAMERA_RATE_HZ / SWAY_S)
        left = round((0.5 + sway) * (width - wide))
        image[top : top + tall, left : left + wide] = small
        images.append(image)
    return images


def clean_frames(count: int, width: int, height: int) -> list[np.ndarray]:
    """Moments of one street drive, spread evenly over it, uint8 [height, width, 3]."""
    drive = StreetDrive(STREET_SEED, STREET_SECONDS, rate_hz=count / STREET_SECONDS, width=width, height=height)
    return [frame.image for frame in drive]


def attacked_frames(clean: list[np.ndarray], patch: np.ndarray) -> list[np.ndarray]:
    """The same frames with the patch at random places."""
    low, high = (share * clean[0].shape[0] / patch.shape[0] for share in PATCH_HEIGHTS)
    generator = torch.Generator().manual_seed(STREET_SEED)
    ranges = EotRanges(scale=(low, high))
    return [paste_at_random(image, patch, ranges, generator)[0] for image in clean]


def summary(times: dict[str, PairedTimes]) -> dict[str, Any]:
    """JSON-ready figures; ``overhead_*`` is the median of defended over plain."""
    result: dict[str, Any] = {f"overhead_{kind}": round(measured.ratio.median, 4) for kind, measured in times.items()}
    for kind, measured in times.items():
        result[kind] = {
            "frames": len(measured.plain),
            "flagged": measured.flagged,
            "analysed_as_a_whole": measured.analysed,
            "segmented_once": len(measured.plain) - measured.twice,
            "overhead_mean": round(measured.mean_ratio, 4),
            "overhead_quartiles": [round(value, 4) for value in astuple(measured.ratio)],
            "plain_ms_quartiles": [round(value, 3) for value in astuple(Quartiles.of(measured.plain))],
            "defended_ms_quartiles": [round(value, 3) for value in astuple(Quartiles.of(measured.defended))],
            "stages_ms": {name: round(value, 3) for name, value in measured.stage_medians.items()},
        }
    return result


def _where(segmenter: Segmenter, size: tuple[int, int]) -> dict[str, Any]:
    cuda = segmenter.device.type == "cuda"
    return {
        "segmenter": segmenter.name,
        "image_size": "{}x{}".format(*size),
        "input_size": "{1}x{0}".format(*segmenter.input_size),
        "device": torch.cuda.get_device_name(segmenter.device) if cuda else platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _rows(result: dict[str, Any], times: dict[str, PairedTimes]) -> dict[str, str]:
    rows = {name.replace("_", " "): str(value) for name, value in result.items() if isinstance(value, str | int)}
    rows |= {title: f"{result[name]:g} times ours" for name, title in NAIVE.items() if name in result}
    for kind, measured in times.items():
        plain, defended, ratio = Quartiles.of(measured.plain), Quartiles.of(measured.defended), measured.ratio
        counts = len(measured.plain), measured.analysed, measured.flagged, measured.twice, measured.tracked
        rows[f"{kind}: frames, analysed as a whole, flagged, segmented twice, known"] = ", ".join(map(str, counts))
        rows[f"{kind}: plain"] = f"{plain.median:.1f} ms ({plain.low:.1f} to {plain.high:.1f})"
        rows[f"{kind}: defended"] = f"{defended.median:.1f} ms ({defended.low:.1f} to {defended.high:.1f})"
        rows[f"{kind}: overhead"] = f"{ratio.median:.3f} times ({ratio.low:.3f} to {ratio.high:.3f})"
        rows[f"{kind}: overhead over all frames"] = f"{measured.mean_ratio:.3f} times"
        rows[f"{kind}: stages"] = ", ".join(f"{name} {value:.1f} ms" for name, value in measured.stage_medians.items())
    return rows
