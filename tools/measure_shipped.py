"""Measure the shipped networks side by side: what a plain patch does to each, and what defenses give back.

The patch, its places and the frames are of the same kind for both: one untargeted patch for each network, on CamVid's
training frames, tried on its validation frames. Beside what `zmask fit` gives stand the shipped profile, the mean
z-scores, and the trivial mask; a second patch knows the shipped profile. The table goes into docs/evaluation.md.

    PYTHONPATH=tools python tools/measure_shipped.py
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import click
from measure_transfer import (
    ADAPTIVE,
    DOCUMENT,
    MEAN_Z,
    PATCH,
    TEST_EVERY,
    TRIVIAL,
    NetworkFigures,
    Trial,
    adaptive_patch,
    defense_rows,
    road_stills,
    roads_option,
    trivial_mask,
)

from train_segmenter import camvid_frames, set_up_torch
from train_transferable_head import FALSE_ALARM_RATE, clean_frames, fitted, patch_against
from zmask_ros.cli.console import progress
from zmask_ros.data.camvid import LabeledFrame
from zmask_ros.defense import Profile, load_profile
from zmask_ros.evaluation.baselines.interface import Ours
from zmask_ros.evaluation.report.tables import markdown_table
from zmask_ros.io.files import replace_file
from zmask_ros.io.markdown_tables import Marks
from zmask_ros.resources import shipped_profile
from zmask_ros.segmenters import Segmenter, load_segmenter
from zmask_ros.training.plans import mean_z_plan, transfer_plan

NETWORKS = ("lraspp_camvid", "unet_camvid")
FIT, SHIPPED = "zmask fit", "shipped profile"
PLAIN_ATTACK, ADAPTIVE_ATTACK = "plain", "knows the shipped profile"
ADAPTIVE_STEPS = 150
WORK = Path("out/networks/shipped")
MARKS = Marks("<!-- shipped networks: written by tools/measure_shipped.py -->", "<!-- end of shipped networks -->")


def plain(segmenter: Segmenter, profile: Profile, learned: list[LabeledFrame], trial: Trial) -> NetworkFigures:
    """What each defense makes of a patch that knows none."""
    clean = list(clean_frames(learned))
    profiles = {
        MEAN_Z: fitted(segmenter, mean_z_plan(segmenter), clean),
        FIT: fitted(segmenter, transfer_plan(segmenter), clean),
        SHIPPED: profile,
    }
    with progress(f"Measuring {segmenter.name}", "defenses", None) as advance:
        found = {name: trial.defended(Ours(segmenter, own)) for name, own in profiles.items()}
        found[TRIVIAL] = trivial_mask(trial, clean, advance)
    return trial.figures({name: found[name] for name in (MEAN_Z, TRIVIAL, FIT, SHIPPED)})


def table(found: dict[str, list[NetworkFigures]]) -> str:
    """All networks and attacks as markdown."""
    columns: tuple[str, ...] = ()
    rows: list[tuple[str, ...]] = []
    for attack, networks in found.items():
        columns, own = defense_rows(networks)
        rows += [(row[0], attack, *row[1:]) for row in own]
    return markdown_table(("network", "patch", *columns[1:]), sorted(rows, key=lambda row: row[0]))


@click.command(help=__doc__)
@click.option(
    "--json", "output", type=click.Path(path_type=Path), default="out/networks/shipped.json", show_default=True
)
@click.option("--docs", type=click.Path(path_type=Path), default=DOCUMENT, show_default=True, help="Gets the table.")
@click.option("--patch-steps", default=PATCH.steps, show_default=True, help="Of the plain patch's optimizer.")
@click.option("--adaptive-steps", default=ADAPTIVE_STEPS, show_default=True, help="Of the other one's.")
@click.option("--every", default=1, show_default=True, help="Take each n-th frame.")
@click.option("--work", type=click.Path(path_type=Path), default=WORK, show_default=True, help="Patches are kept here.")
@roads_option
def main(
    output: Path, docs: Path, patch_steps: int, adaptive_steps: int, every: int, work: Path, roads: Path | None
) -> None:
    """Measure each network, and write the figures."""
    set_up_torch(seed=0)
    MARKS.check(docs)
    learned, unseen = camvid_frames("train")[:: 2 * every], camvid_frames("val")[:: TEST_EVERY * every]
    stills = road_stills(roads)
    found: dict[str, list[NetworkFigures]] = {PLAIN_ATTACK: [], ADAPTIVE_ATTACK: []}
    for name in NETWORKS:
        segmenter = load_segmenter(name, "cpu")
        profile = load_profile(shipped_profile(name))
        images = [frame.image for frame in learned[::TEST_EVERY]]
        patch = patch_against(segmenter, "test", replace(PATCH, steps=patch_steps), images, work)
        found[PLAIN_ATTACK].append(plain(segmenter, profile, learned, Trial(segmenter, unseen, patch, stills[::every])))
        recipe = replace(ADAPTIVE["flag and mask"], steps=adaptive_steps)
        trial = Trial(segmenter, unseen, adaptive_patch(segmenter, profile, images, recipe), [])
        found[ADAPTIVE_ATTACK].append(trial.figures({SHIPPED: trial.defended(Ours(segmenter, profile))}))
        click.echo(table(found))
    entries = {attack: [asdict(own) for own in networks] for attack, networks in found.items()}
    replace_file(output, json.dumps(entries | {"false_alarm_rate": FALSE_ALARM_RATE}, indent=1).encode())
    MARKS.write(docs, table(found))


if __name__ == "__main__":
    main()
