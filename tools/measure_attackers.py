"""Measure what attackers who know the defense reach when they go on until more steps change nothing.

Each attacker optimizes on CamVid's training drives and is judged on its validation drive, which neither the attack nor
the profile has seen, with the patch always seen alike, as beside `tools/measure_shipped.py`. Steps are doubled until
the damage that is left and the share of flagged frames change by less than 5 %, or until --most. Finished work is kept
in --work, and the same command goes on from there. Table and curves go into docs/evaluation.md, the plot beside it.

    PYTHONPATH=tools python tools/measure_attackers.py --steps 250 --most 4000
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
import numpy as np
import torch
from measure_transfer import DOCUMENT, PATCH, TEST_EVERY, attacked_frames, clean_segmented

from train_segmenter import camvid_frames, set_up_torch
from train_transferable_head import clean_frames, fitted
from zmask_ros.attacks import Recipe, Step, to_uint8, train_patch
from zmask_ros.attacks.convergence import Ladder, Outcome, climb
from zmask_ros.attacks.strength import ATTACKERS, FAST
from zmask_ros.cli.console import progress
from zmask_ros.data.camvid import LabeledFrame
from zmask_ros.defense import Profile, load_profile
from zmask_ros.evaluation.baselines.interface import Ours
from zmask_ros.evaluation.metrics.records import RecordSet, Verdict, record
from zmask_ros.evaluation.metrics.worst_case import worst_case
from zmask_ros.evaluation.report.plots import frontier_plot
from zmask_ros.evaluation.report.tables import cell, doubling, markdown_table, percent
from zmask_ros.io.files import replace_file
from zmask_ros.io.markdown_tables import Marks
from zmask_ros.resources import shipped_profile
from zmask_ros.segmenters import Segmenter, load_segmenter
from zmask_ros.training.plans import transfer_plan

NETWORKS = ("lraspp_camvid", "unet_camvid")
MARKS = Marks("<!-- attackers: written by tools/measure_attackers.py -->", "<!-- end of attackers -->")
PLOT = DOCUMENT.parent / "images" / "attackers.svg"
WORK = Path("out/attackers")
OWN = replace(PATCH, batch=2, seed=11)
BASE = replace(OWN, **FAST)
BOUND = {"adaptive": "flag", "evasion": "constraint"}
PLAIN_ATTACK, START, METHOD, SCREEN, TRANSFER = (
    "knows no defence",
    "from the plain patch",
    "knows the method, not the profile",
    "knows the screening alone",
    "made on the other network",
)
PENALTY = "cross-entropy - 0.3 log excess"
RECIPES: dict[str, Recipe] = {
    PLAIN_ATTACK: BASE,
    PENALTY: replace(
        OWN,
        steps=200,
        lr=0.03,
        smoothness=0.0,
        loss="cross_entropy",
        adaptive="flag",
        evasion="penalty",
        adaptive_weight=0.3,
        margin=0.0,
    ),
    **{f"bound, {name}": replace(BASE, **BOUND, **own) for name, own in ATTACKERS.items()},
    START: replace(BASE, **BOUND),
    METHOD: replace(BASE, **BOUND),
    SCREEN: replace(BASE, **BOUND),
}
"""The attackers by name; the first rung of all but `PENALTY` has the steps that are asked for."""


@dataclass(frozen=True)
class Figures:
    """One attacker on one network: damages are mIoU clean - attacked outside of the patch.

    Attributes:
        network, attack: names.
        frames: number of frames that it was judged on.
        undefended: damage without a defense.
        defended: damage that remains.
        flagged, masked: number of frames.
        seconds: of optimization; None where the patch was made for something else.
        curve: steps in all, and the damage that remained and share flagged then, of each doubling.
        change: what the last doubling changed; None where there was none.
    """

    network: str
    attack: str
    frames: int
    undefended: float
    defended: float
    flagged: int
    masked: int
    seconds: float | None
    curve: tuple[tuple[int, float, float], ...]
    change: float | None


class Trial:
    """A network under its shipped profile, and the frames of the unseen drive."""

    def __init__(self, name: str, frames: Sequence[LabeledFrame]) -> None:
        self.segmenter: Segmenter = load_segmenter(name, "cpu")
        self.profile: Profile = load_profile(shipped_profile(name))
        self._defense = Ours(self.segmenter, self.profile)
        self._frames = clean_segmented(self.segmenter, frames)
        self.records: dict[str, tuple[RecordSet, RecordSet]] = {}

    def judge(self, patches: torch.Tensor) -> Outcome:
        """What patches [1, 3, h, w] do: mIoU that is lost under the defense, and shares flagged and masked."""
        clean, _, own = self.measured(to_uint8(patches[0]))
        return Outcome(clean.miou() - own.miou(), float(own.flagged.mean()), float(own.masked.mean()))

    def measured(self, patch: np.ndarray) -> tuple[RecordSet, RecordSet, RecordSet]:
        """Records of the clean, the undefended and the defended network on all frames under a patch."""
        found: tuple[list, list, list] = ([], [], [])
        classes = len(self.segmenter.classes)
        for frame in attacked_frames(self._frames, patch):
            verdict = self._defense.process(frame.image)
            verdicts = Verdict.unmasked(frame.clean), Verdict.unmasked(verdict.undefended), verdict
            for records, said in zip(found, verdicts, strict=True):
                records.append(record(frame, said, classes))
        clean_set, none, defended = (RecordSet(records, classes) for records in found)
        return clean_set, none, defended

    def figures(self, attack: str, patch: np.ndarray, ladder: Ladder | None, seconds: float | None) -> Figures:
        """The figures of a finished attacker; its records are kept for the worst case."""
        clean, none, own = self.measured(patch)
        self.records[attack] = (own, clean)
        curve = () if ladder is None else ladder.rungs
        return Figures(
            network=self.segmenter.name,
            attack=attack,
            frames=len(own),
            undefended=clean.miou() - none.miou(),
            defended=clean.miou() - own.miou(),
            flagged=int(own.flagged.sum()),
            masked=int(own.masked.sum()),
            seconds=seconds,
            curve=tuple((rung.steps, rung.outcome.damage, rung.outcome.flagged) for rung in curve),
            change=None if ladder is None else ladder.change,
        )


@dataclass(frozen=True)
class Effort:
    """How long attackers go on, and where finished work lies."""

    steps: int
    most: int
    work: Path

    def attack(
        self,
        trial: Trial,
        name: str,
        frames: Sequence[LabeledFrame],
        profile: Profile | None,
        start: torch.Tensor | None = None,
    ) -> tuple[Ladder, float]:
        """The course of one attacker, and the seconds that its optimization took."""
        # The one that somebody else wrote has its own number of steps.
        recipe = RECIPES[name] if name == PENALTY else replace(RECIPES[name], steps=self.steps)
        folder = self.work / trial.segmenter.name / "".join(c if c.isalnum() else "_" for c in name)
        clock = folder / "seconds.json"
        known = [(frame.image, frame.labels) for frame in frames]
        with progress(f"{trial.segmenter.name}: {name}", "steps", None) as advance:

            def shown(step: Step) -> None:
                advance(note=f"loss {step.loss:.2f}, score {step.score or 0:.2f}")

            def train(own: Recipe, begin: torch.Tensor | None, state: Path):
                begun = time.perf_counter()
                result = train_patch(trial.segmenter, known, own, shown, profile, state, start=begin)
                replace_file(clock, json.dumps(_seconds(clock) + time.perf_counter() - begun).encode())
                return result

            ladder = climb(train, trial.judge, recipe, self.most, folder, start)
        return ladder, _seconds(clock)


def _seconds(clock: Path) -> float:
    return float(json.loads(clock.read_text())) if clock.exists() else 0.0


def measure(
    trial: Trial,
    learned: Sequence[LabeledFrame],
    effort: Effort,
    done: Callable[[Figures], None],
    chosen: Sequence[str],
) -> dict[str, np.ndarray]:
    """Every attacker on one network; gives their patches, uint8 [h, w, 3]."""
    patches: dict[str, np.ndarray] = {}
    plain: torch.Tensor | None = None
    for name in chosen:
        profile: Profile | None = trial.profile
        if name == SCREEN:
            if trial.profile.screen is None:
                continue
            profile = trial.profile.of_screen()
        elif name == METHOD:
            # Fitted on the frames that the attacker does not optimize over: another profile of the same method.
            others = list(clean_frames([frame for n, frame in enumerate(learned) if n % TEST_EVERY]))
            profile = fitted(trial.segmenter, transfer_plan(trial.segmenter), others)
        elif name == PLAIN_ATTACK:
            profile = None
        start = plain if name == START else None
        ladder, seconds = effort.attack(trial, name, learned[::TEST_EVERY], profile, start)
        if name == PLAIN_ATTACK:
            plain = ladder.result.patches
        patches[name] = to_uint8(ladder.result.patch)
        done(trial.figures(name, patches[name], ladder, seconds))
    return patches


def table(found: Sequence[Figures], trials: Mapping[str, Trial]) -> str:
    """All attackers as markdown, the worst case of each network first."""
    columns = (
        *("network", "attacker", "damage, no defence", "damage that remains", "flagged", "masked"),
        *("remains after steps (flagged)", "last doubling", "seconds"),
    )
    rows = []
    for name, trial in trials.items():
        own = [figures for figures in found if figures.network == name]
        if not own:
            continue
        worst = worst_case(*zip(*trial.records.values(), strict=True))
        shares = (f"{share * worst.frames:.0f} of {worst.frames}" for share in (worst.flagged, worst.masked))
        rows.append((name, "**worst of all, frame by frame**", "", cell(worst.damage), *shares, "", "", ""))
        for row in own:
            curve = ", ".join(f"{n}: {cell(d)} ({percent(f)})" for n, d, f in row.curve)
            rows.append(
                (
                    *(row.network, row.attack, cell(row.undefended), cell(row.defended)),
                    *(f"{row.flagged} of {row.frames}", f"{row.masked} of {row.frames}"),
                    *(curve, "" if row.change is None else doubling(row.change)),
                    "" if row.seconds is None else f"{row.seconds:.0f}",
                )
            )
    return markdown_table(columns, rows)


def points(found: Sequence[Figures]) -> dict[str, list[tuple[float, float]]]:
    """Share flagged and damage that remains, by network."""
    names = dict.fromkeys(row.network for row in found)
    return {name: [(row.flagged / row.frames, row.defended) for row in found if row.network == name] for name in names}


@click.command(help=__doc__)
@click.option("--steps", default=250, show_default=True, help="Of the first rung.")
@click.option("--most", default=4000, show_default=True, help="No doubling goes beyond.")
@click.option("--every", default=1, show_default=True, help="Take each n-th frame.")
@click.option("--network", "networks", multiple=True, default=NETWORKS, show_default=True, help="Repeatable.")
@click.option("--attacker", "attackers", multiple=True, type=click.Choice(list(RECIPES)), help="Repeatable.")
@click.option("--work", type=click.Path(path_type=Path), default=WORK, show_default=True, help="Finished work.")
@click.option("--docs", type=click.Path(path_type=Path), default=DOCUMENT, show_default=True, help="Gets the table.")
def main(
    steps: int,
    most: int,
    every: int,
    networks: tuple[str, ...],
    attackers: tuple[str, ...],
    work: Path,
    docs: Path,
) -> None:
    """Measure each network, and write the figures after each attacker."""
    set_up_torch(seed=0)
    MARKS.check(docs)
    learned, unseen = camvid_frames("train")[::2], camvid_frames("val")[:: TEST_EVERY * every]
    trials = {name: Trial(name, unseen) for name in networks}
    found: list[Figures] = []

    def done(figures: Figures) -> None:
        found.append(figures)
        plot = frontier_plot(points(found), "Damage against alarms, attackers of each network's profile")
        replace_file(PLOT, plot.encode())
        replace_file(work / "attackers.json", json.dumps([asdict(row) for row in found], indent=1).encode())
        MARKS.write(docs, table(found, trials))
        click.echo(f"{figures.network}: {figures.attack}: {figures.defended:.3f}, {figures.flagged} flagged")

    chosen = attackers or tuple(RECIPES)
    patches = {name: measure(trial, learned, Effort(steps, most, work), done, chosen) for name, trial in trials.items()}
    for name, trial in trials.items():
        for other, made in patches.items():
            bound = [attack for attack in made if attack.startswith("bound")]
            if other != name and bound:
                best = min(bound, key=lambda attack: _standing(found, other, attack))
                done(trial.figures(TRANSFER, made[best], None, None))


def _standing(found: Sequence[Figures], network: str, attack: str) -> float:
    """Minus the damage that an attack does on its own network."""
    return next(-row.defended for row in found if (row.network, row.attack) == (network, attack))


if __name__ == "__main__":
    main()
