"""Train one of the families of `networks` from scratch on drives of CamVid, for a transferable head to learn from.

It writes weights, and beside them a description with which every command takes the network:

    python tools/train_network.py unet -o out/networks/unet.safetensors
    PYTHONPATH=tools zmask segmenters out/networks/unet.yaml
"""

from __future__ import annotations

from pathlib import Path

import click
import torch
import yaml
from safetensors.torch import save
from torch import nn

from networks import FAMILIES, Family
from train_segmenter import FRAME, MEAN, STD, Stage, load_camvid, mean_iou, set_up_torch, settle, train
from zmask_ros.cli.console import progress
from zmask_ros.io.files import replace_file
from zmask_ros.segmenters.description import read_description

CLASSES_OF = "lraspp_camvid"
"""The segmenter whose classes these networks have."""
LEARNED_DRIVES = ("0016E5", "0001TP")
UNSEEN_DRIVE = "0006R0"
"""CamVid's third training drive: neither networks nor heads nor profiles of a measurement see it."""
SETTLING_BATCHES = 25


def description(name: str, family: Family, weights: Path) -> str:
    """The YAML file of a network whose weights lie beside it."""
    entries = {
        "builder": f"networks:{name}",
        "weights": weights.name,
        "input_size": list(FRAME),
        "mean": [round(value, 3) for value in MEAN.flatten().tolist()],
        "std": [round(value, 3) for value in STD.flatten().tolist()],
        "classes": {own: list(color) for own, color in read_description(CLASSES_OF).classes.items()},
        "layers": {"shallow": list(family.shallow), "deep": list(family.deep)},
    }
    return yaml.safe_dump(entries, sort_keys=False, default_flow_style=None)


@click.command(help=__doc__)
@click.argument("name", type=click.Choice(sorted(FAMILIES)), metavar="FAMILY")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Where the weights go.")
@click.option("--steps", default=1200, show_default=True, help="Of the optimizer.")
@click.option("--drives", default=",".join(LEARNED_DRIVES), show_default=True, help="Of CamVid's training split.")
@click.option("--seed", default=0, show_default=True)
def main(name: str, output: Path, steps: int, drives: str, seed: int) -> None:
    """Train a network, write it, and say how well it does on the drive that it has not seen."""
    family = FAMILIES[name]
    set_up_torch(seed)
    network = family.build().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    stage = Stage(steps, 8, family.peak_lr, street_share=0.0, loss_stride=2, crop=(160, 224), average_decay=0.98)
    sources = [(load_camvid("train", drives.split(",")), stage.batch)]
    output.parent.mkdir(parents=True, exist_ok=True)
    with progress(f"Training {name}", "steps", steps) as advance:

        def report(step: int, loss: float, averaged: nn.Module) -> None:
            advance(note=f"loss {loss:.2f}")

        averaged = settle(train(network, sources, stage, seed, report), sources, SETTLING_BATCHES)
    replace_file(output, save({name: value.contiguous() for name, value in averaged.state_dict().items()}))
    replace_file(output.with_suffix(".yaml"), description(name, family, output).encode())
    found = mean_iou(averaged, load_camvid("train", (UNSEEN_DRIVE,)))
    click.echo(f"{name}: mIoU {found:.3f} on drive {UNSEEN_DRIVE}")


if __name__ == "__main__":
    main()
