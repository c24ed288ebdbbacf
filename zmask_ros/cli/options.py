"""Options that several commands share."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zmask_ros.inference import RUNTIMES
from zmask_ros.io.images.codec import AUTO_BITS
from zmask_ros.io.images.pixel_layouts import ALL_BITS
from zmask_ros.resources import DEFAULT_SEGMENTER

if TYPE_CHECKING:
    from zmask_ros.defense import Profile

PATH = click.Path(path_type=Path)
COUNT = click.IntRange(min=1)


class FloatRange(click.FloatRange):
    """Finite numbers of a range: click's own takes nan for one of any range, which no threshold is ever below."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number of a text."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


SHARE = FloatRange(0, 1, min_open=True, max_open=True)
"""A share of clean frames."""


class Parsed(click.ParamType):
    """A value that is made of an option's text.

    Args:
        name: the metavar of the option.
        parse: makes the value; its ValueError means that the text is none.
        wanted: what the text must be, with an example, for the complaint.
    """

    def __init__(self, name: str, parse: Callable[[str], Any], wanted: str) -> None:
        self.name, self._parse, self._wanted = name, parse, wanted

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value of a text; a default that is a value already stays as it is."""
        try:
            return self._parse(value) if isinstance(value, str) else value
        except ValueError:
            self.fail(f"'{value}' is not {self._wanted}.", param, ctx)


def numbers(text: str, between: str, count: int | None = None) -> tuple[int, ...]:
    """The whole numbers of a text, ``count`` or any number of them, with ``between`` between them.

    Raises:
        ValueError: there is something else in it, or more or fewer numbers.
    """
    found = tuple(map(int, text.split(between))) if re.fullmatch(rf"\d+({between}\d+)*", text) else ()
    if not found or count not in (None, len(found)):
        raise ValueError(text)
    return found


def begun_with(start: Profile | None) -> str:
    """The network that `begun_segmenter` stands for where none is named."""
    return DEFAULT_SEGMENTER if start is None else named_by(start)


def named_segmenter(segmenter: str | None, profile: Path | None) -> str:
    """The network that `defended_segmenter` names, or else the profile in a file, or the default.

    Raises:
        ZmaskError: the profile cannot be read, or its network does not come with the package.
    """
    if segmenter is not None:
        return segmenter
    from zmask_ros.defense import load_profile

    return begun_with(None if profile is None else load_profile(profile))


def named_by(profile: Profile) -> str:
    """The network that a profile names.

    Raises:
        SegmenterError: it does not come with the package.
    """
    from zmask_ros.segmenters import check_shipped

    check_shipped(profile.binding.segmenter)
    return profile.binding.segmenter


def _image_size(text: str) -> tuple[int, ...]:
    size = numbers(text, "x", 2)
    if size[0] < 64 or size[1] < 48:
        raise ValueError(text)
    return size


def _bits(text: str) -> int:
    if text != "auto" and not 1 <= int(text) <= ALL_BITS:
        raise ValueError(text)
    return AUTO_BITS if text == "auto" else int(text)


BITS = Parsed("BITS", _bits, f"auto or a number of bits from 1 to {ALL_BITS}, such as 12")
UNITS_S = {"s": 1.0, "min": 60.0, "h": 3600.0}


def _duration(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(s|min|h)", text.strip())
    if not found or float(found[1]) == 0:
        raise ValueError(text)
    return float(found[1]) * UNITS_S[found[2]]


DURATION = Parsed("TIME", _duration, "a time with its unit, such as 90s, 20min or 1h")
"""Seconds, more than 0."""
IMAGE_SIZE = Parsed("WxH", _image_size, "WIDTHxHEIGHT of at least 64x48, such as 640x480")
SEEDS = Parsed("SEED[,SEED..]", lambda text: numbers(text, ","), "a list of seeds, such as 1,2,3")

path = partial(click.option, type=PATH)
"""An option that names a file or a folder."""
runtime = click.option(
    "--runtime",
    type=click.Choice(RUNTIMES),
    help="What the network runs in: onnx is ONNX Runtime, refused where it says anything else than torch; auto is onnx "
    "where it can be used, otherwise torch.  [default: as the segmenter's description says, or torch]",
)
graphs = path(
    "--graphs", help="Folder that `zmask export` wrote.  [default: graphs are made when the network is loaded]"
)
bag = path("-o", "--output", required=True, help="Bag: OUT.mcap, or a folder.")
bags = click.argument("bags", nargs=-1, type=PATH)
bag_names = click.argument("bags", nargs=-1)
"""What `zmask_ros.fleet.bag_names` makes bags of."""
device = click.option("--device", default="auto", help="auto (CUDA where there is one), cpu, cuda or cuda:N.")
every = click.option("--every", type=COUNT, default=1, help="Take each N-th frame only.")
force = click.option("--force", "overwrite", is_flag=True, help="Replace a bag that is there already.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, for machines.")
profile_file = click.argument("profile_file", metavar="PROFILE", type=PATH)
profile_output = path("-o", "--output", required=True, help="Profile: NAME.zmask.safetensors.")
segmenter = click.option(
    "--segmenter", default=DEFAULT_SEGMENTER, help="A segmenter's name (see `zmask segmenters`) or its YAML file."
)
begun_segmenter = click.option(
    "--segmenter",
    help="A segmenter's name (see `zmask segmenters`) or its YAML file.  "
    f"[default: that of the profile of --from, if it is shipped; without one {DEFAULT_SEGMENTER}]",
)
defended_segmenter = click.option(
    "--segmenter",
    help="A segmenter's name (see `zmask segmenters`) or its YAML file.  "
    f"[default: that of --profile, if it is shipped; without one {DEFAULT_SEGMENTER}]",
)
profiles_segmenter = click.option(
    "--segmenter", help="The profile's network: name or YAML file.  [default: the one in the profile, if it is shipped]"
)
false_alarm_rate = partial(
    click.option,
    "--false-alarm-rate",
    type=SHARE,
    help="Share of clean frames that may be flagged; sets the threshold.",
)
significant_bits = click.option(
    "--significant-bits",
    type=BITS,
    default="auto",
    help="Of 16-bit images, so many low bits carry the picture: 12 for a 12-bit camera; auto: all, and it warns.",
)


_THREADS = "zmask_ros.threads"


def _use_threads(_context: click.Context, _parameter: click.Parameter, count: int | None) -> None:
    if count is not None:
        import torch

        torch.set_num_threads(count)
        _context.meta[_THREADS] = count


def asked_threads() -> int | None:
    """What ``--threads`` of the command that runs says; None: nothing."""
    found = click.get_current_context().meta.get(_THREADS)
    return None if found is None else int(found)


threads = click.option(
    "--threads",
    type=COUNT,
    expose_value=False,
    callback=_use_threads,
    help="CPU threads of the network.  [default: one for each core that the process may use; one a worker of --ray]",
)
topic = click.option(
    "--topic", help="Image topic; may be left out where a bag has only one beside those that zmask writes."
)
