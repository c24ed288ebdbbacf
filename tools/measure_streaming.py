"""Compare streaming mode with the full analysis of every frame; the table goes into docs/performance.md.

    python tools/measure_streaming.py

Street drives at 30 Hz behind a truck that shows the shipped patch, and CamVid's validation drive at 15 Hz with the
patch pasted in, also by attackers who aim at the track.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from zmask_ros.attacks import load_patch
from zmask_ros.camera import DefendedCamera
from zmask_ros.cli.console import progress
from zmask_ros.defense import load_profile
from zmask_ros.evaluation.streaming import BEHAVIOURS, Course, Moment, behaving, compare, streaming_table, truck_drive
from zmask_ros.marked import Marks
from zmask_ros.segmenters import load_segmenter
from zmask_ros.shipped import shipped_patch, shipped_profile
from zmask_ros.world.datasets import CamVid, camvid_root

NAME = "lraspp_camvid"
DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
MARKS = Marks("<!-- streaming: written by tools/measure_streaming.py -->", "<!-- end of streaming -->")
STREET_SEEDS = (6001, 6002)
STREET_SECONDS = 6.0
STREET_RATE_HZ = 30.0
CAMVID_RATE_HZ = 15.0


def drives(root: Path) -> Iterator[tuple[str, Iterator[Moment]]]:
    """All drives with their titles."""
    patch = load_patch(shipped_patch(NAME))
    for seed in STREET_SEEDS:
        title = f"street world, seed {seed}, {STREET_RATE_HZ:g} Hz, on a truck"
        yield title, truck_drive(seed, patch, STREET_SECONDS, STREET_RATE_HZ)
    validation = [(frame.image, frame.labels) for frame in CamVid(root, "val")]
    for behaviour in BEHAVIOURS:
        yield f"CamVid, {CAMVID_RATE_HZ:g} Hz: {behaviour.title}", behaving(
            behaviour, validation, patch, CAMVID_RATE_HZ
        )


@click.command(help=__doc__)
@click.option("--device", default="auto", show_default=True)
def main(device: str) -> None:
    root = camvid_root()
    if root is None:
        raise click.ClickException("CamVid was not found: set ZMASK_CAMVID to its folder.")
    MARKS.check(DOCUMENT)
    camera = DefendedCamera(load_segmenter(NAME, device), load_profile(shipped_profile(NAME)))
    courses: dict[str, dict[str, Course]] = {}
    with progress("Following", "drives", len(STREET_SEEDS) + len(BEHAVIOURS)) as advance:
        for title, moments in drives(root):
            courses[title] = compare(camera, moments)
            advance(note=title)
    table = streaming_table(courses).markdown()
    MARKS.write(DOCUMENT, table)
    click.echo(table)


if __name__ == "__main__":
    main()
