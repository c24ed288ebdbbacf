"""The options of `zmask attack` that make up its recipe, and their headings."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import click

from zmask_ros.attacks import EotRanges, Recipe
from zmask_ros.attacks.recipe import ADAPTIVE, OBJECTIVES
from zmask_ros.errors import ZmaskError

DEFAULT = Recipe()
GROUPS = {
    "Frames": ("street", "camvid", "images", "bags", "topic", "scene", "frames"),
    "What it is after": ("segmenter", "objective", "target", "gamma", "auxiliary"),
    "What it knows of the defence": ("profile", "adaptive", "adaptive_weight", "beta"),
    "What it looks like": ("size", "shape", "patches", "decoys", "smoothness", "non_printability", "palette"),
    "How it is seen": ("scale", "eot"),
    "How it is optimised": ("recipe_file", "steps", "batch", "lr", "restarts", "seed", "device"),
    "What comes out": ("output", "per_image", "resume", "as_json"),
}


class PatchSize(click.ParamType):
    """HEIGHTxWIDTH, such as 128x256."""

    name = "HxW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """(height, width) in pixels."""
        parts = re.fullmatch(r"(\d+)x(\d+)", value)
        if parts is None:
            self.fail(f"'{value}' is not HEIGHTxWIDTH, such as 128x256.", param, ctx)
        return int(parts[1]), int(parts[2])


class Seeds(click.ParamType):
    """Seeds with commas between them, such as 1,2,3."""

    name = "SEED[,SEED..]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """The seeds in their order."""
        if not re.fullmatch(r"\d+(,\d+)*", value):
            self.fail(f"'{value}' is not a list of seeds, such as 1,2,3.", param, ctx)
        return tuple(int(seed) for seed in value.split(","))


def _option(name: str, text: str, **settings: Any) -> Callable[[Any], Any]:
    """An option of the recipe: where it is left out the recipe's own value stands, and the help names the default."""
    default = getattr(DEFAULT, name.lstrip("-").replace("-", "_"), None)
    shown = "" if default is None else f"  [default: {default}]"
    return click.option(name, help=text + shown, **settings)


_RECIPE = (
    _option(
        "--objective",
        "untargeted: all pixels to anything else; targeted: all pixels to the class --target; "
        "hiding: the pixels of --target to anything else.",
        type=click.Choice(OBJECTIVES),
    ),
    _option("--target", "A class of the segmenter, see `zmask segmenters NAME`.", metavar="CLASS"),
    _option(
        "--gamma",
        "Weight 0..1 of the pixels that still resist against those already won.  [default: the share that resists]",
        type=float,
    ),
    _option("--auxiliary", "Weight of the network's auxiliary outputs against its main one, at least 0.", type=float),
    _option(
        "--adaptive",
        "flag: stays below the threshold; mask: spoils what is segmented again under the mask; both; "
        "overmask: has the defence mask the view. All but none go through the whole defence and need --profile.",
        type=click.Choice(ADAPTIVE),
    ),
    _option("--adaptive-weight", "Of evading the defence against attacking the network, 0..1.", type=float),
    _option(
        "--beta",
        "Strength of a graded patch, 0..1; below 1 it also keeps its own neurons calm, which needs --profile.",
        type=float,
    ),
    click.option(
        "--size", type=PatchSize(), help=f"Pixels of each patch.  [default: {DEFAULT.size[0]}x{DEFAULT.size[1]}]"
    ),
    _option(
        "--shape",
        "Picture whose alpha channel, or else brightness, is the patch's outline.  [default: a rectangle]",
        metavar="FILE",
    ),
    _option(
        "--patches", "So many patches in every image at once. To split the energy of one, make each smaller.", type=int
    ),
    _option("--decoys", "So many of these only draw the defence's attention; needs --profile.", type=int),
    _option(
        "--smoothness", "Weight of smoothness against the attack, at least 0; prints and cameras blur.", type=float
    ),
    _option("--non-printability", "Weight of keeping to printable colours, at least 0.", type=float),
    _option(
        "--palette",
        "These colours: CSV or JSON of red, green, blue in 0..255.  [default: those of an office printer]",
        metavar="FILE",
    ),
    click.option(
        "--scale",
        type=(float, float),
        metavar="LOW HIGH",
        help="Input pixels a patch pixel.  [default: {} {}]".format(*DEFAULT.eot.scale),
    ),
    click.option(
        "--eot",
        type=(click.Choice([f.name for f in fields(EotRanges)]), float, float),
        multiple=True,
        metavar="NAME LOW HIGH",
        help="Range of a transformation, repeatable: "
        f"{', '.join(f.name for f in fields(EotRanges))}. E.g. --eot pitch_deg -20 20 --eot jpeg 40 95.",
    ),
    _option("--steps", "Optimisation steps, each on one batch.", type=int),
    _option("--batch", "Images a step.", type=int),
    _option("--lr", "Learning rate, colours in 0..1; it falls to a tenth.", type=float),
    _option("--restarts", "So many runs of --steps from other starts; the best patch is kept.", type=int),
    _option("--seed", "Of every random choice.", type=int),
)


def recipe(function: Any) -> Any:
    """A decorator that gives a command all options that `recipe_of` understands."""
    for option in reversed(_RECIPE):
        function = option(function)
    return function


def recipe_of(path: Path | None, overrides: dict[str, Any]) -> Recipe:
    """The recipe in the file ``path``, or the default one, overridden by the options that were given.

    Args:
        path: JSON with any of the recipe's entries; None: the default recipe.
        overrides: values of the options of `recipe` by their names; None where an option was left out.

    Raises:
        ZmaskError: the file cannot be read, or a value is out of its range.
    """
    start = DEFAULT if path is None else Recipe.from_json(_read(path))
    given = {name: value for name, value in overrides.items() if value is not None}
    ranges = {name: (low, high) for name, low, high in given.pop("eot", ())}
    if "scale" in given:
        ranges["scale"] = given.pop("scale")
    return replace(start, eot=replace(start.eot, **ranges), **given)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ZmaskError(f"The recipe {path} cannot be read: name a JSON file.") from error
