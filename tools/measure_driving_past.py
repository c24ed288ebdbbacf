"""Measure what patches do that are driven past: on a billboard or a truck of the street simulator, by distance.

The patches are optimized by projection onto the panels of some drives, one that knows no defense and one that is bound
to stay below the threshold of the shipped profile, and are judged on other drives: with perspective, weather, light,
blur and noise of the simulated camera, and as JPEG. Finished work is kept in --work; table and plot are of all of it,
and go into docs/evaluation.md and beside it.

    PYTHONPATH=tools python tools/measure_driving_past.py
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import click
import numpy as np
from matplotlib.figure import Figure
from measure_transfer import DOCUMENT, recorded
from pydantic import TypeAdapter

from train_segmenter import set_up_torch
from zmask_ros.attacks import Recipe, to_uint8, train_patch
from zmask_ros.attacks.scenes import joined
from zmask_ros.attacks.strength import FAST
from zmask_ros.cli.attack_sources import load_scene
from zmask_ros.cli.console import progress
from zmask_ros.data.street import StreetDrive, StreetFrame
from zmask_ros.defense import Profile, load_profile
from zmask_ros.evaluation.baselines.interface import Ours, segment
from zmask_ros.evaluation.metrics.records import TestFrame, Verdict
from zmask_ros.evaluation.report.plots import BAD, COLORS, bare, svg
from zmask_ros.evaluation.report.tables import cell, markdown_table
from zmask_ros.io.files import make_folder, replace_file
from zmask_ros.io.images.codec import decode, encode_compressed
from zmask_ros.io.markdown_tables import Marks
from zmask_ros.resources import shipped_profile
from zmask_ros.segmenters import UNLABELLED, Segmenter, load_segmenter

MARKS = Marks("<!-- driving past: written by tools/measure_driving_past.py -->", "<!-- end of driving past -->")
WORK = Path("out/driving_past")
RECIPE = Path(__file__).parent / "truck_patch_recipe.json"
CARRIERS = {"billboard": (128, 256), "truck": (160, 160)}
"""With the patch's height and width in its own pixels."""
LEARNED, JUDGED = range(3001, 3007), range(4001, 4007)
PLAIN, BOUND = "knows no defence", "bound below the threshold"
KNOWING = {PLAIN: {}, BOUND: {"adaptive": "flag", "evasion": "constraint"}}
SECONDS, RATE_HZ = 20.0, 3.0
EDGES_M = (0.0, 8.0, 11.0, 14.0, 20.0, 30.0, 60.0)
"""Of the ranges of distance."""
LEAST_COVER = 0.003
JPEG_QUALITY = 80


@dataclass(frozen=True)
class Passed:
    """One frame of a drive past a patch.

    Attributes:
        frame: with the patch, and what the network says without it.
        distance_m: from the camera to the middle of the panel.
        cover: share of the image that shows the patch.
    """

    frame: TestFrame
    distance_m: float
    cover: float


@dataclass(frozen=True)
class Range:
    """What a patch did at distances of one range.

    Attributes:
        carrier, attack: names.
        near_m, far_m: of the range.
        frames: number of frames.
        cover: mean share of the image that shows the patch.
        clean, attacked, defended: mIoU outside of the patch.
        flagged, masked: number of frames.
    """

    carrier: str
    attack: str
    near_m: float
    far_m: float
    frames: int
    cover: float
    clean: float
    attacked: float
    defended: float
    flagged: int
    masked: int


RANGES = TypeAdapter(list[Range])


def drive_past(segmenter: Segmenter, carrier: str, seed: int, patch: np.ndarray) -> Iterator[Passed]:
    """The frames of a drive in which the patch is seen, each with what the network says of it without the patch."""
    shown, without = (
        StreetDrive(seed, SECONDS, RATE_HZ, carrier=carrier, picture=picture) for picture in (patch, None)
    )
    for index, frame in enumerate(shown):
        cover = float(frame.patch_mask.mean())
        if cover < LEAST_COVER:
            continue
        hidden, clean = frame.patch_mask, segment(segmenter, _as_jpeg(without[index].image))
        truth = np.where(hidden, np.uint8(UNLABELLED), frame.labels)
        name = f"{carrier} {seed}, frame {index}"
        test = TestFrame(name, f"{carrier} {seed}", _as_jpeg(frame.image), truth, hidden, clean)
        yield Passed(test, distance(shown, frame), cover)


def distance(drive: StreetDrive, frame: StreetFrame) -> float:
    """From the camera to the middle of the nearest panel before it, meters."""
    camera, ahead = frame.pose[:3, 3], frame.pose[:3, 2]
    ways = [panel.mean(0) - camera for panel in drive.panels(frame.index / drive.rate_hz)]
    return min((float(np.linalg.norm(way)) for way in ways if way @ ahead > 0), default=float("inf"))


def _as_jpeg(image: np.ndarray) -> np.ndarray:
    return decode(SimpleNamespace(format="jpeg", data=encode_compressed(image, "jpeg", JPEG_QUALITY)))


def ranges(segmenter: Segmenter, defense: Ours, carrier: str, attack: str, passed: Sequence[Passed]) -> list[Range]:
    """The figures of each range of distances that occurs."""
    found = []
    verdicts = {one.frame.name: defense.process(one.frame.image) for one in passed}
    for near, far in pairwise(EDGES_M):
        own = [one for one in passed if near <= one.distance_m < far]
        if not own:
            continue
        records = partial(recorded, segmenter, [one.frame for one in own])
        defended = records(lambda frame: verdicts[frame.name])
        found.append(
            Range(
                carrier=carrier,
                attack=attack,
                near_m=near,
                far_m=far,
                frames=len(own),
                cover=float(np.mean([one.cover for one in own])),
                clean=records(lambda frame: Verdict.unmasked(frame.clean)).miou(),
                attacked=records(lambda frame: Verdict.unmasked(verdicts[frame.name].undefended)).miou(),
                defended=defended.miou(),
                flagged=int(defended.flagged.sum()),
                masked=int(defended.masked.sum()),
            )
        )
    return found


def made(segmenter: Segmenter, profile: Profile, carrier: str, attack: str, recipe: Recipe, work: Path) -> np.ndarray:
    """The patch of one attacker for one carrier, uint8 [h, w, 3]; goes on where it was interrupted."""
    scene = joined([load_scene(f"street:{seed}:{carrier}", 12) for seed in LEARNED])
    state = work / f"{_slug(carrier, attack)}.state"
    own = replace(recipe, size=CARRIERS[carrier], **KNOWING[attack])
    with progress(f"{carrier}: {attack}", "steps", own.steps) as advance:
        result = train_patch(
            segmenter,
            scene.frames,
            own,
            lambda step: advance(note=f"{step.pixel_accuracy:.1%} of pixels right, score {step.score or 0:.2f}"),
            profile if attack == BOUND else None,
            state,
            scene.placement,
        )
    return to_uint8(result.patch)


def _slug(carrier: str, attack: str) -> str:
    return f"{carrier}_{attack.split()[0]}"


def kept(work: Path) -> list[Range]:
    """All that is finished, in the order of the table."""
    places = [work / f"{_slug(carrier, attack)}.json" for carrier in CARRIERS for attack in KNOWING]
    return [row for place in places if place.exists() for row in RANGES.validate_json(place.read_bytes())]


def table(found: Sequence[Range]) -> str:
    """All ranges as markdown."""
    columns = ("on a", "attacker", "distance", "frames", "of the image", "clean", "attacked", "defended", "flagged")
    rows = [
        (
            *(row.carrier, row.attack, f"{row.near_m:.0f} to {row.far_m:.0f} m", f"{row.frames}", f"{row.cover:.1%}"),
            *(cell(row.clean), cell(row.attacked), cell(row.defended)),
            f"{row.flagged} of {row.frames}",
            f"{row.masked} of {row.frames}",
        )
        for row in found
    ]
    return markdown_table((*columns, "masked"), rows)


def plot(found: Sequence[Range]) -> str:
    """Over the distance: mIoU lost without and with the defense, and shares flagged and masked, as SVG."""
    titles = list(dict.fromkeys((row.carrier, row.attack) for row in found))
    figure = Figure(figsize=(2.6 * len(titles), 4.4), layout="constrained")
    panels = figure.subplots(2, len(titles), sharex=True, sharey="row", squeeze=False)
    for (lost, seen), title in zip(panels.T, titles, strict=True):
        rows = [row for row in found if (row.carrier, row.attack) == title]
        middles = [(row.near_m + row.far_m) / 2 for row in rows]
        lost.plot(middles, [row.clean - row.attacked for row in rows], "o-", color=BAD, label="undefended")
        lost.plot(middles, [row.clean - row.defended for row in rows], "o-", color=COLORS[0], label="defended")
        seen.plot(middles, [100 * row.flagged / row.frames for row in rows], "o-", color=COLORS[1], label="flagged")
        seen.plot(middles, [100 * row.masked / row.frames for row in rows], "o--", color=COLORS[2], label="masked")
        lost.set_title(f"{title[0]}: {title[1]}", fontsize=8)
        seen.set(xlabel="distance, m", ylim=(-3, 103))
        for axes in (lost, seen):
            bare(axes)
    panels[0, 0].set_ylabel("mIoU lost")
    panels[1, 0].set_ylabel("frames, %")
    for row in panels:
        row[-1].legend(fontsize=7)
    return svg(figure)


@click.command(help=__doc__)
@click.option("--network", default="lraspp_camvid", show_default=True)
@click.option("--steps", default=240, show_default=True, help="Of each attack.")
@click.option(
    "--carrier",
    "carriers",
    multiple=True,
    type=click.Choice(list(CARRIERS)),
    default=tuple(CARRIERS),
    help="Repeatable.",
)
@click.option(
    "--work", type=click.Path(path_type=Path), default=WORK, show_default=True, help="Attacks go on from here."
)
@click.option("--docs", type=click.Path(path_type=Path), default=DOCUMENT, show_default=True, help="Gets the table.")
def main(network: str, steps: int, carriers: tuple[str, ...], work: Path, docs: Path) -> None:
    """Measure, and write table and plot after each attacker."""
    set_up_torch(seed=0)
    MARKS.check(docs)
    segmenter, profile = load_segmenter(network, "cpu"), load_profile(shipped_profile(network))
    recipe = replace(Recipe.from_json(RECIPE.read_text()), steps=steps, **FAST)
    defense, kept_in = Ours(segmenter, profile), work / f"{network}_{steps}"
    images = docs.parent / "images"
    make_folder(kept_in)
    make_folder(images)
    for carrier in carriers:
        for attack in KNOWING:
            place = kept_in / f"{_slug(carrier, attack)}.json"
            if not place.exists():
                patch = made(segmenter, profile, carrier, attack, recipe, kept_in)
                with progress(f"Driving past it on a {carrier}", "drives", len(JUDGED)) as advance:
                    passed = []
                    for seed in JUDGED:
                        passed += drive_past(segmenter, carrier, seed, patch)
                        advance()
                replace_file(place, RANGES.dump_json(ranges(segmenter, defense, carrier, attack, passed)))
            found = kept(kept_in)
            click.echo(table(found))
            MARKS.write(docs, table(found))
            replace_file(images / "driving_past.svg", plot(found).encode())


if __name__ == "__main__":
    main()
