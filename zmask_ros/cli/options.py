"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

from zmask_ros.shipped import DEFAULT_SEGMENTER

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
