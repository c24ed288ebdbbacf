"""`zmask evaluate`: what attackers, also those who know it, can do against the defense."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click

from zmask_ros.cli import options
from zmask_ros.cli.attack_options import strength_option
from zmask_ros.cli.console import print_json, print_table, progress, warn
from zmask_ros.cli.fleet import pool_settings, report_tally, worker_options
from zmask_ros.data.camvid import camvid_root
from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.protocol.evaluators import NamedProfile
from zmask_ros.evaluation.protocol.frames import (
    Parts,
    bag_parts,
    camvid_parts,
    carla_gear_parts,
    image_parts,
    street_parts,
)
from zmask_ros.evaluation.protocol.plan import EvaluationPlan, read_plan, with_given_patches
from zmask_ros.evaluation.protocol.runner import Evaluation
from zmask_ros.evaluation.protocol.shipped_plans import PLANS, with_strength
from zmask_ros.evaluation.report.html import write_result
from zmask_ros.evaluation.report.result import TABLES, EvaluationResult, result_of
from zmask_ros.evaluation.report.tables import cell
from zmask_ros.fleet.evaluation import evaluate_fleet
from zmask_ros.fleet.network import NamedNetwork
from zmask_ros.resources import shipped_profile
from zmask_ros.segmenters import Segmenter, load_segmenter

FIRST_NAME = "ours"
STREET_SEEDS = (8000, 8001, 8002)
NO_CAMVID = "CamVid was not found (--camvid, or ZMASK_CAMVID): evaluating on drives of the street world instead."


def _named_path(text: str) -> tuple[str, Path]:
    """Name and path of NAME=PATH, or of PATH alone; the name is empty where none is given."""
    name, found, path = text.partition("=")
    return (name, Path(path)) if found else ("", Path(text))


@click.command()
@options.defended_segmenter
@click.option(
    "--profile",
    "profiles",
    type=options.Parsed("[NAME=]PATH", _named_path, "NAME=PATH"),
    multiple=True,
    help="Profile of the defence; repeatable, NAME is its row in the tables. Adaptive attacks know the "
    "first.  [default: ours=the one shipped]",
)
@click.option(
    "--plan",
    "plan_name",
    default="published",
    metavar="published|short|quick|FILE",
    help="What is done: a plan of the package, or the one in a JSON file, such as an evaluation.json.",
)
@click.option("--quick", is_flag=True, help="The plan quick: everything once, in minutes; too little to judge by.")
@strength_option()
@options.path("--camvid", help="Frames of CamVid; its root folder.  [default: found]")
@click.option(
    "--street", type=options.SEEDS, help="Test frames of street-world drives with these seeds, e.g. 8000,8001."
)
@options.path("--images", help="Frames from a folder, parted by time.")
@options.path(
    "--labels", help="Label maps of --images: PNG of class ids, 255 unlabelled.  [default: the network's clean labels]"
)
@options.path(
    "--bag", "bags", multiple=True, help="Frames of a clean bag; repeatable, of several the last one is the test."
)
@options.topic
@options.path(
    "--carla-gear",
    "scenes",
    multiple=True,
    help="Frames of a clean scene of a CARLA-GeAR set; repeatable, of several the last one is the test.",
)
@options.path(
    "--patch", "patches", multiple=True, help="A patch that was made elsewhere, beside those of the plan; repeatable."
)
@options.path(
    "-o",
    "--output",
    default=Path("out/evaluation"),
    help="Folder of the results. What is there already and still fits is not done again.",
)
@options.path("--docs", help="Write the tables into this document, between its marks.")
@click.option("--dry-run", is_flag=True, help="Only say how long it would take.")
@options.threads
@options.device
@worker_options
@options.as_json
def command(
    segmenter: str | None,
    profiles: tuple[tuple[str, Path], ...],
    plan_name: str,
    quick: bool,
    strength: str,
    camvid: Path | None,
    street: tuple[int, ...] | None,
    images: Path | None,
    labels: Path | None,
    bags: tuple[Path, ...],
    topic: str | None,
    scenes: tuple[Path, ...],
    patches: tuple[Path, ...],
    output: Path,
    docs: Path | None,
    dry_run: bool,
    device: str,
    ray: str | None,
    workers: int | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Measure what attackers can do against the defence, and what other defences do in its place.

    Trains the patches of a plan, also adaptive ones that attack through the whole defence, puts them into test frames
    that nothing was trained on, and compares: no defence, ours, other defences, and an oracle that knows where the
    patch is. Then come the benign-hard sets, which nothing should flag. Writes evaluation.json and report.html.

    With --strength standard or full, attackers are added who stay below the threshold and go on for longer, each
    doubling its steps; the tables say what the last doubling changed, and the worst case of each frame stands first.

    Says first how long it will take. Every piece of work is kept in the folder: after a break, the same command goes
    on where it stopped, even within a patch.

    With --ray, patches and cells of the tables are the work of many processes or machines; the tables are the same.

    \b
      zmask evaluate --quick
      zmask evaluate --profile ours=city.zmask.safetensors --profile paper=paper.zmask.safetensors
      zmask evaluate --bag drive_1 --bag drive_2 --profile city.zmask.safetensors --patch poster.png
      zmask evaluate --plan short --strength standard
      zmask evaluate --street 8000,8001 --ray auto
    """
    if docs is not None:
        TABLES.check(docs)
    segmenter = options.named_segmenter(segmenter, profiles[0][1] if profiles else None)
    network = load_segmenter(segmenter, device)
    named = _profiles(profiles, network)
    plan = with_strength(_plan("quick" if quick else plan_name, network, named[0]), strength, network)
    plan = with_given_patches(plan, patches)
    source = _source(camvid, street, images, labels, bags, topic, scenes, plan)
    evaluation = Evaluation(network, named, source(), plan, output)
    pace = evaluation.measure_pace()
    expected = _duration(evaluation.expected_seconds(pace))
    click.echo(f"{len(evaluation.missing())} pieces of work are left: about {expected}.", err=True)
    if dry_run:
        return
    started = time.perf_counter()
    tally = None
    if ray is None:
        results = evaluation.run(pace, progress)
    else:
        named_network = NamedNetwork.of(segmenter, device, network)
        done = evaluate_fleet(evaluation, named_network, pace, pool_settings(ray, workers, timeout, device), progress)
        results, tally = done.results, done.tally
    result = result_of(evaluation, results, time.perf_counter() - started)
    written = write_result(result)
    if docs is not None:
        TABLES.write(docs, result.markdown())
    if tally is not None:
        report_tally(tally)
    if as_json:
        entries = result.to_json()
        told = {name: entries[name] for name in ("aims", "summary")} | {"written": [str(path) for path in written]}
        print_json(told | ({} if tally is None else tally.to_json()))
    else:
        _print(result, written)


def _profiles(asked: tuple[tuple[str, Path], ...], segmenter: Segmenter) -> tuple[NamedProfile, ...]:
    pairs = asked or (("", shipped_profile(segmenter.name)),)
    return tuple(
        NamedProfile.load(name or (path.name.split(".")[0] if index else FIRST_NAME), path)
        for index, (name, path) in enumerate(pairs)
    )


def _plan(name: str, segmenter: Segmenter, first: NamedProfile) -> EvaluationPlan:
    if name not in PLANS:
        return read_plan(Path(name))
    return replace(PLANS[name](segmenter), false_alarm_rate=first.profile.detector.threshold.false_alarm_rate)


def _source(
    camvid: Path | None,
    street: tuple[int, ...] | None,
    images: Path | None,
    labels: Path | None,
    bags: tuple[Path, ...],
    topic: str | None,
    scenes: tuple[Path, ...],
    plan: EvaluationPlan,
) -> Callable[[], Parts]:
    """Where frames come from, not yet read; CamVid if nothing is named, or the street world where that is not there."""
    if labels is not None and images is None:
        raise ZmaskError("--labels belong to --images: name the folder of the images too.")
    most = 4 * plan.learned_frames + plan.test_frames
    sources: list[Callable[[], Parts]] = []
    if camvid is not None:
        sources.append(lambda: camvid_parts(camvid))
    if street is not None:
        sources.append(lambda: street_parts(street, -(-plan.test_frames // len(street))))
    if images is not None:
        sources.append(lambda: image_parts(images, labels))
    if bags:
        sources.append(lambda: bag_parts(bags, topic, most))
    if scenes:
        sources.append(lambda: carla_gear_parts(scenes, None))
    if len(sources) > 1:
        raise ZmaskError("Name one source of frames: --camvid, --street, --images, --bag or --carla-gear.")
    if sources:
        return sources[0]
    found = camvid_root()
    if found is not None:
        return lambda: camvid_parts(found)
    warn(NO_CAMVID)
    return lambda: street_parts(STREET_SEEDS, -(-plan.test_frames // len(STREET_SEEDS)))


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"


def _print(result: EvaluationResult, written: tuple[Path, ...]) -> None:
    for name, targets in result.targets.items():
        rows = {
            target.what: f"{cell(target.value, '.4g')}  ({target.wanted}: {'yes' if target.reached else 'NO'})"
            + (f"  {target.note}" if target.note else "")
            for target in targets
        }
        print_table(f"Aims of {name}", rows)
    for note in result.notes:
        click.echo(note, err=True)
    print_table("Written", {path.name: str(path) for path in written})
