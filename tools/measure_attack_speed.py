"""Measure how many steps of an attack a second takes, with a backward pass for each term and with one for all.

Both attacks run in one process and take turns, a few steps each, so that both meet the same machine; what counts is
the processor time of this process, which others on the machine hardly change. The table goes into docs/performance.md.

    PYTHONPATH=tools python tools/measure_attack_speed.py
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path

import click
import torch
from measure_attackers import OWN
from measure_transfer import TEST_EVERY

from train_segmenter import camvid_frames, set_up_torch
from zmask_ros.attacks import Attacker, FrameStack, Recipe, stack_frames
from zmask_ros.attacks.checkpoint import AttackState
from zmask_ros.attacks.patch_attack import TransformSampler, make_step
from zmask_ros.attacks.strength import FAST
from zmask_ros.cli.console import progress
from zmask_ros.defense import Profile, load_profile
from zmask_ros.evaluation.report.tables import markdown_table
from zmask_ros.io.markdown_tables import Marks
from zmask_ros.resources import shipped_profile
from zmask_ros.segmenters import Segmenter, load_segmenter

NETWORKS = ("lraspp_camvid", "unet_camvid")
DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
MARKS = Marks("<!-- attacks: written by tools/measure_attack_speed.py -->", "<!-- end of attacks -->")
EVERY = FAST["lengths_every"]
"""Steps of a turn: one of them measures the lengths."""
STEPS = 1000
ATTACKS = {
    "knows no defence": {},
    "below the threshold": {"adaptive": "flag"},
    "flag and mask at once": {"adaptive": "both"},
}
WAYS = {"as it was": {}, "one pass": {"lengths_every": EVERY}, "one pass, folded": FAST}


@dataclass
class Run:
    """An attack that goes on when it is asked to."""

    attacker: Attacker
    state: AttackState
    sampler: TransformSampler
    stack: FrameStack

    @staticmethod
    def begin(segmenter: Segmenter, recipe: Recipe, profile: Profile | None, stack: FrameStack) -> Run:
        """The attack, before its first step."""
        attacker = Attacker.prepare(segmenter, recipe, profile)
        state = AttackState.start(recipe, segmenter.device)
        return Run(attacker, state, TransformSampler(recipe, segmenter.input_size), stack)

    def seconds(self, steps: int) -> float:
        """Processor time of a step, mean of so many."""
        begun = time.process_time()
        for _ in range(steps):
            make_step(self.attacker, self.stack, self.state, self.sampler)
        return (time.process_time() - begun) / steps


def measure(segmenter: Segmenter, attack: str, turns: int) -> dict[str, list[float]]:
    """Seconds a step of each turn, by the way that the attack is run."""
    profile = load_profile(shipped_profile(segmenter.name))
    stack = stack_frames(segmenter, [(f.image, f.labels) for f in camvid_frames("train")[:: 6 * TEST_EVERY]])
    recipe = replace(OWN, steps=STEPS, **ATTACKS[attack])
    runs = {way: Run.begin(segmenter, replace(recipe, **own), profile, stack) for way, own in WAYS.items()}
    for run in runs.values():
        run.seconds(1)
        run.state.index = 0
    found: dict[str, list[float]] = {way: [] for way in runs}
    with progress(f"{segmenter.name}: {attack}", "turns", turns) as advance:
        for _ in range(turns):
            for way, run in runs.items():
                found[way].append(run.seconds(EVERY))
            advance()
    return found


def table(found: dict[tuple[str, str], dict[str, list[float]]]) -> str:
    """Steps a second, and how many times as many as before, medians over the turns with their range."""
    first = next(iter(WAYS))
    rows = []
    for (network, attack), ways in found.items():
        cells = [network, attack]
        for way, seconds in ways.items():
            cells.append(f"{1 / statistics.median(seconds):.2f}")
            if way != first:
                ratios = [old / new for old, new in zip(ways[first], seconds, strict=True)]
                cells.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        rows.append(cells)
    further = [title for way in list(WAYS)[1:] for title in (way, "times as many")]
    return markdown_table(("network", "attack", f"{first}, steps a second", *further), rows)


@click.command(help=__doc__)
@click.option("--turns", default=5, show_default=True, help=f"Of {EVERY} steps each.")
@click.option("--attack", "attacks", multiple=True, default=tuple(ATTACKS), type=click.Choice(list(ATTACKS)))
@click.option("--network", "networks", multiple=True, default=NETWORKS, show_default=True)
@click.option("--docs", type=click.Path(path_type=Path), default=DOCUMENT, show_default=True, help="Gets the table.")
def main(turns: int, attacks: tuple[str, ...], networks: tuple[str, ...], docs: Path) -> None:
    """Measure, and write the table."""
    set_up_torch(seed=0)
    torch.set_num_threads(1)
    MARKS.check(docs)
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for name in networks:
        segmenter = load_segmenter(name, "cpu")
        for attack in attacks:
            found[name, attack] = measure(segmenter, attack, turns)
            click.echo(table(found))
    MARKS.write(docs, f"Processor time of one thread, torch {torch.__version__}.\n\n{table(found)}")


if __name__ == "__main__":
    main()
