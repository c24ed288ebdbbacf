"""`fleet.html`: one file that needs nothing else, with a row for each drive, those first that need a look."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from zmask_ros.fleet.bag_names import is_remote
from zmask_ros.fleet.replay import MOST_MOMENTS, QUANTILES, DriveReport, FleetReplay

BAR_WIDTH = 160
"""Of the picture of a drive's scores, pixels; the threshold stands at two thirds of it."""


def fleet_html(done: FleetReplay) -> str:
    """The report of a fleet."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"link": link, "clock": clock, "bar": score_bar}
    return environment.get_template("fleet.html.jinja").render(
        figures=done.figures(),
        drives=done.drives,
        tally=done.tally,
        quantiles=QUANTILES,
        most_moments=MOST_MOMENTS,
    )


def link(bag: str) -> str:
    """What a browser opens for a bag; empty where it does not know such addresses."""
    if is_remote(bag):
        return bag if bag.startswith(("http://", "https://")) else ""
    return Path(bag).absolute().as_uri()


def clock(seconds: float) -> str:
    """Seconds since a drive began, as players show them."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole % 3600 // 60:02}:{whole % 60:02}"


def score_bar(drive: DriveReport) -> list[tuple[str, float]]:
    """Where the quantiles of a drive's scores stand in its picture, pixels, each with its value."""
    scale = 2 / 3 * BAR_WIDTH / drive.threshold if drive.threshold else 0.0
    return [(f"{value:.3g}", min(value * scale, BAR_WIDTH)) for value in drive.quantiles if value is not None]
