"""`zmask bench`: what the defence costs on top of the plain network."""

from __future__ import annotations

import platform
from dataclasses import astuple
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from zmask_ros.attacks import EotRanges, load_patch, paste_at_random
from zmask_ros.cli import options
from zmask_ros.cli.console import print_json, print_table, progress
from zmask_ros.defense import Defense, load_profile
from zmask_ros.evaluation import PairedTimes, Quartiles, time_pairs
from zmask_ros.segmenters import Segmenter, load_segmenter
from zmask_ros.shipped import shipped_patch, shipped_profile
from zmask_ros.world.street import StreetDrive

STREET_SEED = 4001
STREET_SECONDS = 20.0
PATCH_HEIGHTS = (0.2, 0.35)
"""Shares of the image's height that the pasted patch takes."""


@click.command()
@options.segmenter
@click.option("--profile", type=click.Path(path_type=Path), help="Profile.  [default: the one shipped]")
@click.option("--patch", type=click.Path(path_type=Path), help="Patch, a picture.  [default: the one shipped]")
@click.option("--size", type=options.ImageSize(), help="The camera's images.  [default: the network's input size]")
@click.option("--frames", type=click.IntRange(min=1), default=60, show_default=True,
              help="Clean frames, and as many attacked ones.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: torch's own choice]")
@options.device
@options.as_json
def command(
    segmenter: str,
    profile: Path | None,
    patch: Path | None,
    size: tuple[int, int] | None,
    frames: int,
    threads: int | None,
    device: str,
    as_json: bool,
) -> None:
    """Measure what the defence costs on top of the plain network.

    Plain and defended network see the same street-world frames in turn, in one process: from the camera's image to
    labels. Each frame gives a ratio of two times that lie next to each other; medians and quartiles of the ratios
    are printed, for clean frames and for frames with a patch on them, which are segmented twice if flagged.

    \b
      zmask bench
      zmask bench --size 1280x720 --frames 200 --device cuda --json
    """
    if threads is not None:
        torch.set_num_threads(threads)
    network = load_segmenter(segmenter, device)
    defense = Defense(network, load_profile(profile or shipped_profile(network.name)))
    picture = load_patch(patch or shipped_patch(network.name))
    width, height = size or (network.input_size[1], network.input_size[0])
    with progress("Timing", "frames", 2 * frames) as advance:
        clean = clean_frames(frames, width, height)
        times = {
            "clean": time_pairs(network, defense, clean, advance),
            "attacked": time_pairs(network, defense, attacked_frames(clean, picture), advance),
        }
    result = _where(network, (width, height)) | summary(times)
    if as_json:
        print_json(result)
    else:
        print_table("Bench", _rows(result, times))


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
    for kind, measured in times.items():
        plain, defended, ratio = Quartiles.of(measured.plain), Quartiles.of(measured.defended), measured.ratio
        rows[f"{kind}: frames, flagged"] = f"{len(measured.plain)}, {measured.flagged}"
        rows[f"{kind}: plain"] = f"{plain.median:.1f} ms ({plain.low:.1f} to {plain.high:.1f})"
        rows[f"{kind}: defended"] = f"{defended.median:.1f} ms ({defended.low:.1f} to {defended.high:.1f})"
        rows[f"{kind}: overhead"] = f"{ratio.median:.3f} times ({ratio.low:.3f} to {ratio.high:.3f})"
        rows[f"{kind}: stages"] = ", ".join(f"{name} {value:.1f} ms" for name, value in measured.stage_medians.items())
    return rows
