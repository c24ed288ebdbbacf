"""Options that several commands share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from zmask_ros.resources import DEFAULT_SEGMENTER


class ImageSize(click.ParamType):
    """WIDTHxHEIGHT, such as 480x360; at least 64x48."""

    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """(width, height) in pixels."""
        parts = re.fullmatch(r"(\d+)x(\d+)", value)
        if parts is None or int(parts[1]) < 64 or int(parts[2]) < 48:
            self.fail(f"'{value}' is not WIDTHxHEIGHT of at least 64x48, such as 640x480.", param, ctx)
        return int(parts[1]), int(parts[2])


segmenter = click.option(
    "--segmenter",
    default=DEFAULT_SEGMENTER,
    show_default=True,
    help="A segmenter's name (see `zmask segmenters`) or its YAML file.",
)
device = click.option(
    "--device", default="auto", show_default=True, help="auto (CUDA where there is one), cpu, cuda or cuda:N."
)
topic = click.option("--topic", help="Image topic; may be left out where a bag has only one.")
every = click.option(
    "--every", type=click.IntRange(min=1), default=1, show_default=True, help="Take each N-th frame only."
)
bags = click.argument("bags", nargs=-1, type=click.Path(path_type=Path))
as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, for machines.")
