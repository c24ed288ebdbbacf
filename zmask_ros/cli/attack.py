"""`zmask attack`: optimise a universal adversarial patch."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from zmask_ros.attacks import PatchResult, Recipe, Step, check_writable, recipe_path, save_patch, train_patch
from zmask_ros.cli import options
from zmask_ros.cli.attack_scenes import HELP as SCENE_HELP
from zmask_ros.cli.attack_sources import Sources
from zmask_ros.cli.console import print_json, print_table, progress
from zmask_ros.errors import ZmaskError
from zmask_ros.segmenters import load_segmenter

DEFAULT = Recipe()


class Size(click.ParamType):
    """HEIGHTxWIDTH, such as 128x256."""

    name = "HxW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        parts = re.fullmatch(r"(\d+)x(\d+)", value)
        if parts is None:
            self.fail(f"'{value}' is not HEIGHTxWIDTH, such as 128x256.", param, ctx)
        return int(parts[1]), int(parts[2])


class Seeds(click.ParamType):
    """Seeds with commas between them."""

    name = "SEED[,SEED..]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if not re.fullmatch(r"\d+(,\d+)*", value):
            self.fail(f"'{value}' is not a list of seeds, such as 1,2,3.", param, ctx)
        return tuple(int(seed) for seed in value.split(","))


@click.command()
@options.segmenter
@click.option("--street", type=Seeds(), help="Frames of street-world drives with these seeds, e.g. 1,2,3.")
@click.option("--camvid", type=click.Path(path_type=Path), help="Frames of CamVid's training split; its root folder.")
@click.option("--images", type=click.Path(path_type=Path), help="Frames from a folder of images, without labels.")
@click.option("--bag", "bags", type=click.Path(path_type=Path), multiple=True, help="Frames of a bag; repeatable.")
@options.topic
@click.option("--scene", help=SCENE_HELP)
@click.option("--frames", type=click.IntRange(min=1), default=120, show_default=True, help="Frames from each source.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The patch, NAME.png.")
@click.option("--recipe", "recipe_file", type=click.Path(path_type=Path),
              help="Start from this recipe: JSON with any of the recipe's entries; options below override it.")
@click.option("--size", type=Size(), help=f"Patch pixels.  [default: {DEFAULT.size[0]}x{DEFAULT.size[1]}]")
@click.option("--steps", type=int, help=f"Optimisation steps.  [default: {DEFAULT.steps}]")
@click.option("--batch", type=int, help=f"Images a step.  [default: {DEFAULT.batch}]")
@click.option("--lr", type=float, help=f"Learning rate, colours in 0..1.  [default: {DEFAULT.lr}]")
@click.option("--gamma", type=float, help="Weight 0..1 of pixels still correct.  [default: the share still correct]")
@click.option("--smoothness", type=float, help=f"Weight of smoothness.  [default: {DEFAULT.smoothness}]")
@click.option("--scale", type=(float, float), metavar="LOW HIGH",
              help="Input pixels a patch pixel.  [default: {} {}]".format(*DEFAULT.eot.scale))
@click.option("--seed", type=int, help=f"Of every random choice.  [default: {DEFAULT.seed}]")
@options.device
@options.as_json
def command(
    segmenter: str,
    street: tuple[int, ...] | None,
    camvid: Path | None,
    images: Path | None,
    bags: tuple[Path, ...],
    topic: str | None,
    scene: str | None,
    frames: int,
    output: Path,
    recipe_file: Path | None,
    device: str,
    as_json: bool,
    **overrides: Any,
) -> None:
    """Optimise a universal adversarial patch against a segmenter, to test a defence with.

    One patch for all frames: at each step it is put at random places of a batch, in random sizes, turns, light,
    noise and blur, and made to spoil the segmentation of everything around it. Sources may be mixed. Where frames
    have no labels (--images, --bag), the segmenter's own clean prediction is taken for the truth.

    The patch is written as NAME.png, and NAME.json beside it holds the recipe and the course of the optimisation;
    equal recipes and frames give the same patch again.

    \b
      zmask attack --street 1,2,3 -o patch.png
      zmask attack --street 1,2,3 --camvid CamVid --steps 300 -o patch.png
      zmask attack --bag drive_1 --topic /camera/image_raw --size 150x150 --scale 0.5 1.2 -o patch.png
      zmask attack --scene street:4 -o billboard.png
      zmask attack --scene clean_set/billboard01 --frames 60 -o billboard.png
    """
    check_writable(output)
    sources = Sources(camvid, street or (), images, bags, topic, frames, scene)
    described = sources.describe()
    recipe = _recipe(recipe_file, overrides)
    network = load_segmenter(segmenter, device)
    started = time.monotonic()
    taken, placement = sources.load()
    with progress("Attacking", "steps", recipe.steps) as advance:

        def show(step: Step) -> None:
            advance(note=f"loss {step.loss:.2f}, {step.pixel_accuracy:.1%} of pixels right")

        result = train_patch(network, taken, recipe, show, placement=placement)
    save_patch(output, result, recipe, network, described)
    outcome = summary(output, result) | {"segmenter": network.name, "sources": described,
                                         "seconds": round(time.monotonic() - started, 1)}
    if as_json:
        print_json(outcome)
    else:
        print_table("Patch", {name.replace("_", " "): _readable(value) for name, value in outcome.items()})


def summary(output: Path, result: PatchResult) -> dict[str, Any]:
    """What came out: over the first and the last tenth of the steps, what the patch left right."""
    tenth = max(1, len(result.history) // 10)
    first, last = result.history[:tenth], result.history[-tenth:]
    return {
        "patch": str(output),
        "recipe": str(recipe_path(output)),
        "steps": len(result.history),
        "pixel_accuracy_at_first": round(float(np.mean([step.pixel_accuracy for step in first])), 4),
        "pixel_accuracy_at_last": round(float(np.mean([step.pixel_accuracy for step in last])), 4),
        "loss_at_first": round(float(np.mean([step.loss for step in first])), 4),
        "loss_at_last": round(float(np.mean([step.loss for step in last])), 4),
    }


def _recipe(path: Path | None, overrides: dict[str, Any]) -> Recipe:
    recipe = DEFAULT if path is None else Recipe.from_json(_read(path))
    scale = overrides.pop("scale")
    if scale is not None:
        recipe = replace(recipe, eot=replace(recipe.eot, scale=scale))
    return replace(recipe, **{name: value for name, value in overrides.items() if value is not None})


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ZmaskError(f"The recipe {path} cannot be read: name a JSON file.") from error


def _readable(value: Any) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)
