"""`zmask attack`: optimize adversarial patches."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from zmask_ros.attacks import (
    AttackFrame,
    PatchResult,
    Placement,
    Recipe,
    Step,
    check_writable,
    load_recipe,
    recipe_path,
    save_patch,
    train_patch,
)
from zmask_ros.attacks.convergence import Ladder, parted, train_until_converged
from zmask_ros.attacks.files import curves_path, save_curves
from zmask_ros.attacks.frames import NothingToHideError
from zmask_ros.attacks.strength import QUICK, STRENGTHS, Strength, recipes
from zmask_ros.cli import options
from zmask_ros.cli.attack_options import AttackCommand, recipe_of, recipe_options, strength_option
from zmask_ros.cli.attack_sources import HELP as SCENE_HELP
from zmask_ros.cli.attack_sources import AttackSources
from zmask_ros.cli.console import print_json, print_table, progress, warn
from zmask_ros.cli.fleet import exit_with, pool_settings, report_tally, worker_options
from zmask_ros.defense import Profile, load_profile
from zmask_ros.errors import ZmaskError
from zmask_ros.fleet.attack import AttackWork, Made, attack_fleet
from zmask_ros.fleet.network import NamedNetwork
from zmask_ros.fleet.pool import PoolSettings
from zmask_ros.fleet.results import results_of
from zmask_ros.fleet.tally import FleetTally
from zmask_ros.segmenters import Segmenter, load_segmenter


@click.command(cls=AttackCommand)
@options.defended_segmenter
@click.option("--street", type=options.SEEDS, help="Frames of street-world drives with these seeds, e.g. 1,2,3.")
@options.path("--camvid", help="Frames of CamVid's training split; its root folder.")
@options.path("--images", help="Frames from a folder of images, without labels.")
@options.path("--bag", "bags", multiple=True, help="Frames of a bag; repeatable.")
@options.topic
@click.option("--scene", "scenes", multiple=True, help=SCENE_HELP)
@click.option("--frames", type=options.COUNT, default=120, help="Frames from each source.")
@options.path("-o", "--output", required=True, help="The patch, NAME.png.")
@options.path(
    "--recipe",
    "recipe_file",
    help="Start from this recipe: JSON with any of the recipe's entries; other options override it.",
)
@options.path(
    "--profile", help="The defence that the attacker knows: NAME.zmask.safetensors, from `zmask fit` or `calibrate`."
)
@strength_option()
@recipe_options
@click.option("--per-image", is_flag=True, help="A patch of its own for each frame: NAME_frame0001.png and so on.")
@click.option("--resume", is_flag=True, help="Go on with an attack that was interrupted; all else as it was.")
@options.threads
@options.device
@worker_options
@options.as_json
def command(
    segmenter: str | None,
    street: tuple[int, ...] | None,
    camvid: Path | None,
    images: Path | None,
    bags: tuple[Path, ...],
    topic: str | None,
    scenes: tuple[str, ...],
    frames: int,
    output: Path,
    recipe_file: Path | None,
    profile: Path | None,
    strength: str,
    per_image: bool,
    resume: bool,
    device: str,
    ray: str | None,
    workers: int | None,
    timeout: float,
    as_json: bool,
    **overrides: Any,
) -> None:
    """Optimise adversarial patches against a segmenter and its defence, to test the defence with.

    One patch, or several, for all frames: at each step they are put at random places of a batch, in random sizes,
    turns, light, noise and blur, and made to spoil the segmentation of everything around them. Sources may be mixed.
    Where frames have no labels (--images, --bag), the segmenter's own clean prediction is taken for the truth.

    The patch is written as NAME.png (further ones as NAME_2.png and so on), the recipe and the course as NAME.json,
    exact values as NAME.safetensors and curves as NAME_curves.png. Equal recipes and frames give the same patch again,
    on the same CPU and number of threads bit for bit.

    With --strength standard or full, several attackers go on until doubling their steps changes what they do to every
    fifth frame, which they do not learn from, by less than 5 %; the patch that does the most damage there is kept.
    What a quick attack does not break is not safe.

    With --ray, each of the --restarts, or of the attackers of --strength, of each frame's patch with --per-image, is
    the work of one of many processes or machines; the patches are the same. After a break, the same command goes on
    without --resume.

    \b
      zmask attack --street 1,2,3 -o patch.png
      zmask attack --street 1,2,3 --camvid CamVid --steps 300 -o patch.png
      zmask attack --bag drive_1 --topic /camera/image_raw --size 150x150 --scale 0.5 1.2 -o patch.png
      zmask attack --street 1,2,3 --objective hiding --target Car -o no_cars.png
      zmask attack --street 1,2,3 --profile city.zmask.safetensors --adaptive both --restarts 2 -o adaptive.png
      zmask attack --bag drive_1 --profile city.zmask.safetensors --adaptive flag --strength standard -o evasive.png
      zmask attack --scene street:4 -o billboard.png
      zmask attack --scene clean_set/billboard01 --scene clean_set/billboard02 --frames 60 -o billboard.png
      zmask attack --street 1,2,3 --restarts 8 -o patch.png --ray auto
    """
    check_writable(output)
    sources = AttackSources(camvid, street or (), images, bags, topic, frames, scenes)
    described = sources.describe()
    recipe = recipe_of(recipe_file, overrides)
    known_profile = None if profile is None else load_profile(profile)
    segmenter = segmenter or options.begun_with(known_profile)
    if known_profile is not None and not recipe.knows_the_defense:
        warn(
            "This attack does not know the defence, so that of --profile it takes the network alone: see --adaptive, "
            "--beta, --decoys."
        )
    if strength != QUICK and scenes:
        raise ZmaskError("Scenes have the strength quick: leave --strength out.")
    if resume and ray is not None:
        raise ZmaskError("With --ray the same command goes on by itself: leave --resume out.")
    effort = STRENGTHS[strength]
    job = AttackJob(load_segmenter(segmenter, device), recipe, known_profile, described, resume, effort)
    kept = state_path(output) if strength == QUICK else rungs_path(output)
    if resume and not per_image and not kept.exists():
        raise ZmaskError(f"There is no interrupted attack {kept}: leave --resume out to begin one.")
    started = time.monotonic()
    taken, placement = sources.load()
    if per_image and placement is not None:
        raise ZmaskError("Scenes are attacked by one patch on their panels: leave --per-image out.")
    tally = None
    if ray is not None:
        named = NamedNetwork.of(segmenter, device, job.segmenter)
        work = AttackWork(named, recipe, known_profile, list(taken), placement, job.effort)
        outcomes, tally = job.on_fleet(output, work, per_image, pool_settings(ray, workers, timeout, device))
    else:
        outcomes = list(job.each_image(output, taken)) if per_image else [job.run(output, taken, placement)]
    common = {"segmenter": job.segmenter.name, "sources": described, "seconds": round(time.monotonic() - started, 1)}
    if tally is not None:
        report_tally(tally)
    if as_json:
        told = {"patches": outcomes} | common if per_image else outcomes[0] | common
        print_json(told | ({} if tally is None else tally.to_json()))
    else:
        _print(outcomes, common)
    if tally is not None:
        exit_with(tally)


def _print(outcomes: Sequence[dict[str, Any]], common: dict[str, Any]) -> None:
    for outcome in outcomes:
        rows = {name.replace("_", " "): value for name, value in (outcome | common).items()}
        lists = {name: ", ".join(map(str, value)) for name, value in rows.items() if isinstance(value, list | tuple)}
        print_table("Patch", rows | lists)


@dataclass(frozen=True)
class AttackJob:
    """What is the same for all patches of one call.

    Attributes:
        segmenter: the attacked network.
        recipe: of the attack.
        profile: of the defense, where the attacker knows it.
        sources: where the frames come from, a line each.
        resume: whether a state on disk is gone on with, or thrown away.
        effort: which attackers there are, and how long they go on.
    """

    segmenter: Segmenter
    recipe: Recipe
    profile: Profile | None
    sources: tuple[str, ...]
    resume: bool
    effort: Strength = STRENGTHS[QUICK]

    def run(self, output: Path, frames: Iterable[AttackFrame], placement: Placement | None = None) -> dict[str, Any]:
        """Optimize one set of patches with a progress bar, write it, and return what `summary` says of it."""
        if self.effort.attackers:
            return self._run_all(output, list(frames))
        state = state_path(output)
        if not self.resume:
            state.unlink(missing_ok=True)
        with progress(f"Attacking {output.stem}", "steps", self.recipe.steps * self.recipe.restarts) as advance:
            done = 0

            def show(step: Step) -> None:
                nonlocal done
                advance(step.index + 1 - done, note=note(step))
                done = step.index + 1

            result = train_patch(self.segmenter, frames, self.recipe, show, self.profile, state, placement)
        told = self._written(output, result)
        state.unlink(missing_ok=True)
        return told

    def _run_all(self, output: Path, frames: Sequence[AttackFrame]) -> dict[str, Any]:
        """Have every attacker of the effort go on until it has converged; the strongest one's patches are written."""
        rungs = rungs_path(output)
        if not self.resume:
            shutil.rmtree(rungs, ignore_errors=True)
        learned, judged = parted(frames)
        own, most = recipes(self.effort, self.recipe), self.effort.most_steps(self.recipe)
        profile = self.profile if self.recipe.knows_the_defense else None
        ladders: dict[str, Ladder] = {}
        with progress(f"Attacking {output.stem}", "steps", most * len(own)) as advance:
            for name, recipe in own.items():

                def show(step: Step, name: str = name) -> None:
                    advance(note=f"{name}: {note(step)}")

                folder = rungs / name.replace(" ", "_")
                ladders[name] = train_until_converged(
                    self.segmenter, learned, judged, recipe, most, folder, profile, show
                )
        told = self._strongest_written(output, ladders)
        shutil.rmtree(rungs, ignore_errors=True)
        return told

    def _strongest_written(self, output: Path, ladders: dict[str, Ladder]) -> dict[str, Any]:
        """Write the patches of the attacker that does the most damage."""
        best = max(ladders, key=lambda name: ladders[name].strongest.outcome.damage)
        recipe, sources = recipes(self.effort, self.recipe)[best], (*self.sources, _course(best, ladders[best]))
        told = replace(self, recipe=recipe, sources=sources)._written(output, ladders[best].result)
        return told | {"attackers": [_course(*pair) for pair in ladders.items()]}

    def on_fleet(
        self, output: Path, work: AttackWork, per_image: bool, pool: PoolSettings
    ) -> tuple[list[dict[str, Any]], FleetTally]:
        """The same on a Ray cluster: what `run` or `each_image` return, and how the work went."""
        told: dict[int, dict[str, Any]] = {}

        def take(frame: int | None, made: Made | None) -> None:
            if made is None:
                self._pass_over(frame)
                return
            job, place = (self, output) if frame is None else (self._of_frame(frame), _frame_path(output, frame))
            written = (
                job._written(place, made) if isinstance(made, PatchResult) else job._strongest_written(place, made)
            )
            told[frame or 0] = written

        tally = attack_fleet(work, per_image, pool, results_of(output), take, progress)
        shutil.rmtree(results_of(output), ignore_errors=True)
        return [told[frame] for frame in sorted(told)], tally

    def _written(self, output: Path, result: PatchResult) -> dict[str, Any]:
        save_patch(output, result, self.recipe, self.segmenter, self.sources)
        save_curves(output, result.history)
        return summary(output, result)

    def _of_frame(self, number: int) -> AttackJob:
        return replace(self, sources=(*self.sources, f"frame {number}"))

    def _pass_over(self, number: int | None) -> None:
        warn(f"Frame {number} does not show {self.recipe.target} and was passed over.")

    def each_image(self, output: Path, frames: Iterable[AttackFrame]) -> Iterator[dict[str, Any]]:
        """Run one attack for each frame; frames that are done already are passed over when resuming."""
        for number, frame in enumerate(frames):
            place = _frame_path(output, number)
            if self.resume and place.exists() and load_recipe(place) == self.recipe:
                continue
            try:
                yield self._of_frame(number).run(place, [frame])
            except NothingToHideError:
                self._pass_over(number)


def _frame_path(output: Path, number: int) -> Path:
    """Where the patch of a frame lies, with --per-image."""
    return output.with_stem(f"{output.stem}_frame{number:04d}")


def state_path(png: Path) -> Path:
    """Where the state of an unfinished attack lies."""
    return png.with_suffix(".state.safetensors")


def rungs_path(png: Path) -> Path:
    """Where the doublings of an unfinished attack lie, with --strength."""
    return png.with_suffix(".rungs")


def _course(name: str, ladder: Ladder) -> str:
    """One line about an attacker: what it did after so many steps, and whether it has converged."""
    rungs = "; ".join(
        f"{rung.steps} steps: {rung.outcome.damage:.1%} lost, {rung.outcome.flagged:.0%} flagged"
        for rung in ladder.rungs
    )
    return f"{name}: {rungs}; {'converged' if ladder.converged else 'not converged'}"


def note(step: Step) -> str:
    """One line about a step, for the progress bar."""
    told = f"loss {step.loss:.2f}, {step.pixel_accuracy:.1%} resist"
    return told if step.score is None else f"{told}, score {step.score:.3f}, {step.masked:.0%} masked"


def summary(output: Path, result: PatchResult) -> dict[str, Any]:
    """What came out, for people and for ``--json``: files, shares won, and means over the first and last steps.

    The means are over the first and over the last tenth of the steps.
    """
    tenth = max(1, len(result.history) // 10)
    first, last = result.history[:tenth], result.history[-tenth:]

    def mean(name: str, steps: Sequence[Step]) -> float:
        return round(float(np.mean([getattr(step, name) for step in steps])), 4)

    told = {
        "patch": str(output),
        "recipe": str(recipe_path(output)),
        "curves": str(curves_path(output)),
        "steps": len(result.history),
        "pixel_accuracy_at_first": mean("pixel_accuracy", first),
        "pixel_accuracy_at_last": mean("pixel_accuracy", last),
        "loss_at_first": mean("loss", first),
        "loss_at_last": mean("loss", last),
        "share_won": [round(merit, 4) for merit in result.merits],
    }
    if last[-1].score is None:
        return told
    return told | {"score_at_last": mean("score", last), "masked_at_last": mean("masked", last)}
