"""Measure what is in models/ and write the figures into models/README.md and models/figures.json.

python tools/measure_models.py
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from zmask_ros.attacks import EotRanges, load_patch, paste_at_random
from zmask_ros.cli.console import progress
from zmask_ros.data.camvid import CamVid, LabeledFrame, camvid_root
from zmask_ros.data.street import StreetDrive
from zmask_ros.defense import load_profile
from zmask_ros.evaluation.baselines.interface import Ours
from zmask_ros.evaluation.metrics.segmentation import Confusion
from zmask_ros.evaluation.performance.paired import PairedFrame, evaluate_pairs
from zmask_ros.evaluation.performance.timing import median_ratio, plain_labels
from zmask_ros.io.files import replace_file
from zmask_ros.io.images.nearest import resize_nearest
from zmask_ros.io.markdown_tables import Marks
from zmask_ros.segmenters import Segmenter, load_segmenter
from zmask_ros.training.clean_fit import ProfileFit
from zmask_ros.training.plans import mean_z_plan
from zmask_ros.training.sources import CleanFrame

NAME = "lraspp_camvid"
MODELS = Path(__file__).resolve().parent.parent / "models"
STREET_SEEDS = range(5000, 5012)
STREET_FRAMES = 8
PASTED = EotRanges(scale=(0.5, 1.0), rotation_deg=(0, 0), yaw_deg=(0, 0))
CARRIERS = (None, "billboard", "truck")


def street_frames() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images and labels, 640x480, of drives that nothing was trained on."""
    for seed in STREET_SEEDS:
        drive = StreetDrive(seed, rate_hz=STREET_FRAMES / 20, carrier=CARRIERS[seed % 3])  # type: ignore[arg-type]
        for frame in drive:
            yield frame.image, frame.labels


def segmentation(segmenter: Segmenter, frames: Iterator[tuple[np.ndarray, np.ndarray]]) -> dict[str, Any]:
    """mIoU, pixel accuracy and IoU a class, at the images' own size."""
    matrix = Confusion(len(segmenter.classes))
    for image, labels in frames:
        predicted = plain_labels(segmenter, image)[0].cpu().numpy()
        matrix.add(resize_nearest(predicted, labels.shape), labels)
    names = list(segmenter.classes)
    classes = dict(zip(names, matrix.iou(), strict=True))
    return {"miou": matrix.miou(), "accuracy": matrix.pixel_accuracy(), "iou": classes}


def fit_rate(segmenter: Segmenter, frames: CamVid) -> float:
    """Frame rate of fitting on ``frames`` over the plain network's: median over frames, taken in turns."""
    fit = ProfileFit(segmenter, mean_z_plan(segmenter))
    with progress("Fitting on CamVid", "frames", len(frames)) as advance:

        def add(frame: CleanFrame) -> None:
            fit.add(frame)
            advance()

        clean = (CleanFrame("camvid train", "/camera/image_raw", i, frame.image) for i, frame in enumerate(frames))
        return median_ratio(segmenter.device, add, lambda frame: plain_labels(segmenter, frame.image), clean)


def pasted(frames: CamVid, patch: np.ndarray) -> Iterator[PairedFrame]:
    """Every frame with the patch at a random place and in a random size."""
    generator = torch.Generator().manual_seed(0)
    with progress("Attacking CamVid", "frames", len(frames)) as advance:
        for frame in frames:
            yield _pair(frame, patch, generator)
            advance()


def _pair(frame: LabeledFrame, patch: np.ndarray, generator: torch.Generator) -> PairedFrame:
    attacked, mask = paste_at_random(frame.image, patch, PASTED, generator)
    return PairedFrame(frame.image, attacked, frame.labels, mask)


FIGURES = Marks("<!-- figures: written by tools/measure_models.py -->", "<!-- end of figures -->")


def bench() -> dict[str, Any]:
    """`zmask bench` in a process of its own."""
    command = [sys.executable, "-m", "zmask_ros.cli.main", "bench", "--device", "cpu", "--json"]
    result: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return result


def measure(root: Path) -> dict[str, Any]:
    """All figures of the models, JSON-ready."""
    segmenter = load_segmenter(NAME, "cpu")
    train, val = CamVid(root, "train"), CamVid(root, "val")
    figures: dict[str, Any] = {
        "segmentation": {
            "CamVid validation": segmentation(segmenter, ((f.image, f.labels) for f in val)),
            "street world, unseen seeds": segmentation(segmenter, street_frames()),
        }
    }
    ours = Ours(segmenter, load_profile(MODELS / f"{NAME}.zmask.safetensors"))
    patch = load_patch(MODELS / f"{NAME}.patch.png")
    paired = evaluate_pairs(ours, len(segmenter.classes), pasted(val, patch))
    figures["defence"] = asdict(paired) | {"fit_rate": fit_rate(segmenter, train)}
    figures["bench"] = bench()
    return figures


def tables(figures: dict[str, Any]) -> str:
    """The figures as markdown."""
    worlds = figures["segmentation"]
    lines = ["| | " + " | ".join(worlds) + " |", "|---|" + "---|" * len(worlds)]
    for title, key in (("mIoU", "miou"), ("pixel accuracy", "accuracy")):
        lines.append(f"| {title} | " + " | ".join(f"{world[key]:.3f}" for world in worlds.values()) + " |")
    for name in next(iter(worlds.values()))["iou"]:
        lines.append(f"| IoU {name} | " + " | ".join(f"{world['iou'][name]:.2f}" for world in worlds.values()) + " |")
    paired, cost = figures["defence"], figures["bench"]
    lines += [
        "",
        "The shipped profile, whose calibration has seen the shipped patch, tried on CamVid's "
        f"{paired['frames']} validation frames, clean and with that patch at random places, {PASTED.scale[0]:g} to "
        f"{PASTED.scale[1]:g} times its size "
        f"({paired['patch_share']:.1%} of the image on average); mIoU outside the patch:",
        "",
        "| | |",
        "|---|---|",
        f"| false alarms on clean frames | {paired['false_alarm_rate']:.2%} |",
        f"| recall on attacked frames | {paired['recall']:.2%} |",
        f"| mask IoU | {paired['mask_iou']:.3f} |",
        f"| mIoU clean, undefended | {paired['miou_clean']:.3f} |",
        f"| mIoU clean, defended | {paired['miou_clean_defended']:.3f} |",
        f"| mIoU attacked, undefended | {paired['miou_attacked']:.3f} |",
        f"| mIoU attacked, defended | {paired['miou_defended']:.3f} |",
        f"| frame rate of fitting over the plain network's | {paired['fit_rate']:.2f} |",
        f"| time of a clean frame, streaming mode, defended over plain (CPU, median) | {cost['overhead_clean']:.2f} |",
        f"| time of a clean frame that is analysed as a whole | {cost['overhead_full']:.2f} |",
        f"| time of an attacked frame that is segmented twice | {cost['overhead_two_pass']:.2f} |",
        f"| time of an attacked frame whose patch is known | {cost['overhead_tracked']:.2f} |",
    ]
    return "\n".join(lines)


@click.command(help=__doc__)
def main() -> None:
    """Measure, and write the figures."""
    root = camvid_root()
    if root is None:
        raise click.ClickException("CamVid was not found: set ZMASK_CAMVID to its folder.")
    figures = measure(root)
    replace_file(MODELS / "figures.json", json.dumps(figures, indent=1).encode())
    FIGURES.write(MODELS / "README.md", tables(figures))
    click.echo(tables(figures))


if __name__ == "__main__":
    main()
