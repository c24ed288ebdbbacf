"""The options of `zmask attack` that make up its recipe, and their headings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import click

from zmask_ros.attacks import EotRanges, Recipe
from zmask_ros.attacks.recipe import ADAPTIVE, EVASIONS, LOSSES, OBJECTIVES, OPTIMIZERS
from zmask_ros.attacks.strength import QUICK, STRENGTH_NAMES, STRENGTHS
from zmask_ros.cli import options
from zmask_ros.errors import ZmaskError

DEFAULT = Recipe()
TRANSFORMATIONS = tuple(own.name for own in fields(EotRanges))
GROUPS = {
    "Frames": ("street", "camvid", "images", "bags", "topic", "scenes", "frames"),
    "What it is after": ("segmenter", "objective", "target", "gamma", "auxiliary"),
    "What it knows of the defence": ("profile", "adaptive", "adaptive_weight", "evasion", "margin", "beta"),
    "What it looks like": ("size", "shape", "patches", "decoys", "smoothness", "non_printability", "palette"),
    "How it is seen": ("scale", "eot"),
    "How it is optimised": (
        *("strength", "recipe_file", "steps", "batch", "optimizer", "lr", "loss", "lengths_every", "folded"),
        *("restarts", "seed", "device", "threads"),
    ),
    "On many machines": ("ray", "workers", "timeout"),
    "What comes out": ("output", "per_image", "resume", "as_json"),
}
"""Names of parameters by heading, in the order of the help."""
HELP = {
    "objective": "untargeted: all pixels to anything else; targeted: all pixels to the class --target; "
    "hiding: the pixels of --target to anything else.",
    "target": "A class of the segmenter, see `zmask segmenters NAME`.",
    "gamma": "Weight 0..1 of the pixels that still resist against those already won.  "
    "[default: the share that resists]",
    "auxiliary": "Weight of the network's auxiliary outputs against its main one, at least 0.",
    "adaptive": "flag: stays below the threshold; mask: spoils what is segmented again under the mask; both; "
    "overmask: has the defence mask the view; stream: as flag, and stays below the screen of streaming mode as well. "
    "All but none go through the whole defence and need --profile.",
    "adaptive_weight": "Of evading the defence against attacking the network, 0..1.",
    "evasion": "How --adaptive flag and stream weigh staying below. share: by --adaptive-weight; penalty: adds "
    "that times the log of the score's excess; constraint: by a multiplier that adapts until the score stays below.",
    "margin": "How far below the threshold a constraint wants the score, as a difference of logarithms.",
    "beta": "Strength of a graded patch, 0..1; below 1 it also keeps its own neurons calm, which needs --profile.",
    "size": "Pixels of each patch.  [default: {}x{}]".format(*DEFAULT.size),
    "shape": "Picture whose alpha channel, or else brightness, is the patch's outline.  [default: a rectangle]",
    "patches": "So many patches in every image at once. To split the energy of one, make each smaller.",
    "decoys": "So many of these only draw the defence's attention; needs --profile.",
    "smoothness": "Weight of smoothness against the attack, at least 0; prints and cameras blur.",
    "non_printability": "Weight of keeping to printable colours, at least 0.",
    "palette": "These colours: CSV or JSON of red, green, blue in 0..255.  [default: those of an office printer]",
    "scale": "Input pixels a patch pixel.  [default: {} {}]".format(*DEFAULT.eot.scale),
    "eot": f"Range of a transformation, repeatable: {', '.join(TRANSFORMATIONS)}. "
    "E.g. --eot pitch_deg -20 20 --eot jpeg 40 95.",
    "steps": "Optimisation steps, each on one batch; of the first run where --strength doubles them.",
    "batch": "Images a step.",
    "lr": "Learning rate, colours in 0..1; it falls to a tenth.",
    "optimizer": "adam, or apgd: signed steps with momentum that are halved where they no longer help; no --lr.",
    "loss": "Of a pixel. grouped: cross-entropy, pixels that resist and those won apart; all together: cross_entropy; "
    "resisting: on those that resist alone; margin: difference of logits; ratio: that over their spread; focal.",
    "lengths_every": "Weigh the attack's terms anew every so many steps; a step in between takes one backward pass.",
    "folded": "Fold batch normalization into convolutions: faster, and equal but for rounding.",
    "restarts": "So many runs of --steps from other starts; the best patch is kept.",
    "seed": "Of every random choice.",
}
"""Help of the options that make up a recipe, by the recipe's entries."""
SETTINGS: dict[str, dict[str, Any]] = {
    "objective": {"type": click.Choice(OBJECTIVES)},
    "target": {"type": str, "metavar": "CLASS"},
    "gamma": {"type": float},
    "adaptive": {"type": click.Choice(ADAPTIVE)},
    "evasion": {"type": click.Choice(EVASIONS)},
    "optimizer": {"type": click.Choice(OPTIMIZERS)},
    "loss": {"type": click.Choice(LOSSES)},
    "folded": {"type": None, "is_flag": True, "default": None},
    "size": {
        "type": options.Parsed("HxW", lambda text: options.numbers(text, "x", 2), "HEIGHTxWIDTH, such as 128x256")
    },
    "shape": {"type": str, "metavar": "FILE"},
    "palette": {"type": str, "metavar": "FILE"},
    "scale": {"type": (float, float), "metavar": "LOW HIGH"},
    "eot": {"type": (click.Choice(TRANSFORMATIONS), float, float), "multiple": True, "metavar": "NAME LOW HIGH"},
}
"""Settings of these options; the type of all others is that of the recipe's default."""


def strength_option(default: str = QUICK) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option ``--strength``, whose help says what each effort costs and misses."""
    told = " ".join(f"{name}: {own.costs}; misses {own.misses}." for name, own in STRENGTHS.items())
    return click.option(
        "--strength", type=click.Choice(STRENGTH_NAMES), default=default, show_default=True, help=f"Effort. {told}"
    )


class AttackCommand(click.Command):
    """A command whose help lists options under the headings of `GROUPS`."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under their headings; what is under none comes last, under Options."""
        records = {p.name: record for p in self.get_params(ctx) if (record := p.get_help_record(ctx)) is not None}
        headed = [(heading, [records.pop(n) for n in names if n in records]) for heading, names in GROUPS.items()]
        for heading, rows in [*headed, ("Options", list(records.values()))]:
            with formatter.section(heading):
                formatter.write_dl(rows)


def recipe_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that gives a command all options that `recipe_of` understands.

    Where one is left out the recipe's own value stands; the help names it.
    """
    for name, text in reversed(HELP.items()):
        default = getattr(DEFAULT, name, None)
        shown = f"  [default: {default}]" if isinstance(default, int | float | str) else ""
        settings = {"type": type(default)} | SETTINGS.get(name, {})
        command = click.option(f"--{name.replace('_', '-')}", help=text + shown, **settings)(command)
    return command


def recipe_of(path: Path | None, overrides: dict[str, Any]) -> Recipe:
    """The recipe in the file ``path``, or the default one, overridden by the options that were given.

    Args:
        path: JSON with any of the recipe's entries; None: the default recipe.
        overrides: values of the options of `recipe_options` by their names; None where an option was left out.

    Raises:
        ZmaskError: the file cannot be read, or a value is out of its range.
    """
    try:
        start = DEFAULT if path is None else Recipe.from_json(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ZmaskError(f"The recipe {path} cannot be read: name a JSON file.") from error
    given = {name: value for name, value in overrides.items() if value is not None}
    ranges = {name: (low, high) for name, low, high in given.pop("eot", ())}
    if "scale" in given:
        ranges["scale"] = given.pop("scale")
    return replace(start, eot=replace(start.eot, **ranges), **given)
