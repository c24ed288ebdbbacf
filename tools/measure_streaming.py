"""Compare streaming mode with the full analysis of every frame; the table goes into docs/performance.md.

    python tools/measure_streaming.py

Street drives at 30 Hz behind a truck that shows the shipped patch, and CamVid's validation drive at 15 Hz with the
patch pasted in, also by attackers who aim at the track, and by one whose patch the screening does not see.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np

from zmask_ros.attacks import Recipe, Step, load_patch, to_uint8, train_patch
from zmask_ros.cli.console import progress
from zmask_ros.data.camvid import CamVid, camvid_root
from zmask_ros.defense import Profile, load_profile
from zmask_ros.defense.engine import deploy
from zmask_ros.evaluation.performance.streaming import (
    BEHAVIORS,
    EVASIONS,
    DriveFrame,
    StreamingComparison,
    compare,
    patched_drive,
    streaming_table,
    truck_drive,
)
from zmask_ros.evaluation.protocol.plan import SEEN
from zmask_ros.io.markdown_tables import Marks
from zmask_ros.resources import shipped_patch, shipped_profile
from zmask_ros.runtime.camera import DefendedCamera
from zmask_ros.segmenters import Segmenter, load_segmenter
from zmask_ros.segmenters.description import Runtime

NAME = "lraspp_camvid"
DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
MARKS = Marks("<!-- streaming: written by tools/measure_streaming.py -->", "<!-- end of streaming -->")
STREET_SEEDS = (6001, 6002)
STREET_SECONDS = 6.0
STREET_RATE_HZ = 30.0
CAMVID_RATE_HZ = 15.0
EVADER_SIDE = 0.3
"""Of the image's height."""
EVADER_STEPS, EVADER_SEED, EVADER_EVERY = 300, 6100, 3
EVADER_WEIGHTS = (0.5, 0.7)
"""Of staying unseen against the attack."""


def unseen_patch(segmenter: Segmenter, profile: Profile, root: Path, weight: float) -> np.ndarray:
    """A patch, uint8 [h, w, 3], of an attacker who knows the screening, and wants to stay below its threshold alone."""
    side = round(EVADER_SIDE * segmenter.input_size[0])
    recipe = Recipe(
        (side, side), EVADER_STEPS, batch=2, eot=SEEN, seed=EVADER_SEED, adaptive="flag", adaptive_weight=weight
    )
    frames = [(frame.image, frame.labels) for frame in CamVid(root, "train")][::EVADER_EVERY]
    with progress("Evading the screening", "steps", recipe.steps) as advance:

        def step(done: Step) -> None:
            advance(note=f"loss {done.loss:.2f}")

        return to_uint8(train_patch(segmenter, frames, recipe, step, profile.of_screen()).patch)


def drives(root: Path, evaders: dict[float, np.ndarray]) -> Iterator[tuple[str, Iterator[DriveFrame]]]:
    """Titles and frames of all drives."""
    patch = load_patch(shipped_patch(NAME))
    for seed in STREET_SEEDS:
        title = f"street world, seed {seed}, {STREET_RATE_HZ:g} Hz, on a truck"
        yield title, truck_drive(seed, patch, STREET_SECONDS, STREET_RATE_HZ)
    validation = [(frame.image, frame.labels) for frame in CamVid(root, "val")]
    for behavior in BEHAVIORS:
        yield (
            f"CamVid, {CAMVID_RATE_HZ:g} Hz: {behavior.title}",
            patched_drive(behavior, validation, patch, CAMVID_RATE_HZ),
        )
    for (weight, evader), behavior in itertools.product(evaders.items(), EVASIONS):
        yield (
            f"CamVid, {CAMVID_RATE_HZ:g} Hz: {behavior.title} (weight {weight:g})",
            patched_drive(behavior, validation, evader, CAMVID_RATE_HZ, decoy=patch),
        )


@click.command(help=__doc__)
@click.option("--device", default="auto", show_default=True)
@click.option("--runtime", type=click.Choice(["torch", "onnx"]), default="onnx", show_default=True)
def main(device: str, runtime: Runtime) -> None:
    """Compare, and write the table."""
    root = camvid_root()
    if root is None:
        raise click.ClickException("CamVid was not found: set ZMASK_CAMVID to its folder.")
    MARKS.check(DOCUMENT)
    segmenter, profile = load_segmenter(NAME, device), load_profile(shipped_profile(NAME))
    camera = DefendedCamera(deploy(segmenter, profile, runtime).segmenter, profile)
    weights = EVADER_WEIGHTS if profile.screen is not None else ()
    evaders = {weight: unseen_patch(segmenter, profile, root, weight) for weight in weights}
    compared: dict[str, StreamingComparison] = {}
    count = len(STREET_SEEDS) + len(BEHAVIORS) + len(evaders) * len(EVASIONS)
    with progress("Following", "drives", count) as advance:
        for title, frames in drives(root, evaders):
            compared[title] = compare(camera, frames)
            advance(note=title)
    table = streaming_table(compared).markdown()
    MARKS.write(DOCUMENT, table)
    click.echo(table)


if __name__ == "__main__":
    main()
