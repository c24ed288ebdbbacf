"""Measure what attackers who know the defense reach when they go on until more steps change nothing.

Each attacker optimizes on CamVid's training drives and is judged on its validation frames, which neither the attack nor
the profile has seen: frame by frame with the patch always seen alike, as beside `tools/measure_shipped.py`, and in
streaming mode over the whole drive. Steps are doubled until the damage that is left and the share of flagged frames
change by less than 5 %, or until --most.

    PYTHONPATH=tools python tools/measure_attackers.py --steps 250 --most 4000
    PYTHONPATH=tools python tools/measure_attackers.py --table varied --steps 250 --most 4000
    PYTHONPATH=tools python tools/measure_attackers.py --table others --network theirs.yaml --steps 250 --most 4000
    PYTHONPATH=tools python tools/measure_attackers.py --table prepared --network theirs.yaml --prepare 40min
    PYTHONPATH=tools python tools/measure_attackers.py --table tuned --network unet_camvid --network unet_tuned.yaml

Of the tables *varied* is of patches whose sizes, angles and light vary as in the plan of the published evaluation, for
the attackers and for the judge, and *others* of networks that do not come with the package, each with the profile that
fitting gives on CamVid's training drives. Those whose classes are not CamVid's are judged by their own labels of the
frames without a patch. *prepared* is of profiles that `zmask prepare` makes of the one that comes with the network, or
of what fitting gives, in so much processor time as --prepare says.

Finished work is kept in --work, the same command goes on from there, and several may run at the same time, the same
command or others: each takes attackers that no other one is at. Table and plot are made of all that is in --work, and
written after each attacker into docs/evaluation.md and beside it; --table-only does nothing else.
"""

from __future__ import annotations

import fcntl
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import click
import numpy as np
import torch
from measure_transfer import (
    DOCUMENT,
    PASTING_SEED,
    PATCH,
    PLAIN,
    TEST_EVERY,
    attacked_frames,
    clean_segmented,
    prepared,
    recorded,
)
from pydantic import TypeAdapter
from torch import Tensor

from train_segmenter import camvid_frames, set_up_torch
from train_transferable_head import clean_frames, fitted
from zmask_ros.attacks import AttackFrame, Placement, Recipe, Step, save_patch, to_uint8, train_patch
from zmask_ros.attacks.convergence import Judge, Ladder, Outcome, climb
from zmask_ros.attacks.eot import EotRanges, Transforms, sample_layout
from zmask_ros.attacks.files import load_exact, load_patch
from zmask_ros.attacks.scenes import evenly
from zmask_ros.attacks.strength import ATTACKERS, FAST, PENALIZED
from zmask_ros.cli.console import progress
from zmask_ros.cli.options import DURATION
from zmask_ros.data.camvid import LabeledFrame
from zmask_ros.defense import Profile, load_profile, save_profile
from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.baselines.interface import Ours
from zmask_ros.evaluation.metrics.records import Record, RecordSet, TestFrame, Verdict
from zmask_ros.evaluation.metrics.segmentation import Confusion
from zmask_ros.evaluation.metrics.worst_case import worst_case
from zmask_ros.evaluation.performance.streaming import AFTER_A_KEYFRAME, Behavior, compare, patched_drive
from zmask_ros.evaluation.protocol.plan import SEEN
from zmask_ros.evaluation.report.plots import frontier_plot
from zmask_ros.evaluation.report.tables import cell, doubling, markdown_table, percent
from zmask_ros.io.files import make_folder, replace_file
from zmask_ros.io.markdown_tables import Marks
from zmask_ros.resources import shipped_profile
from zmask_ros.runtime.camera import DefendedCamera
from zmask_ros.segmenters import Segmenter, load_segmenter
from zmask_ros.training.plans import transfer_plan

NETWORKS = ("lraspp_camvid", "unet_camvid")
WORK = Path("out/attackers")
OWN = replace(PATCH, batch=2, seed=11)
BASE = replace(OWN, **FAST)
BOUND = {"adaptive": "flag", "evasion": "constraint"}
PLAIN_ATTACK, START, WEIGHED, METHOD, SCREEN, STREAM, BESIDE, PER_IMAGE = (
    "knows no defence",
    "from the plain patch",
    "from the plain patch, equal weights",
    "knows the method, not the profile",
    "knows the screening alone",
    "knows the screening and the whole analysis",
    "the same, beside a plain patch that the tracker follows",
    "bound, a patch for each image",
)
PENALTY = "cross-entropy - 0.3 log excess"
STARTS = 3
RECIPES: dict[str, Recipe] = {
    PLAIN_ATTACK: BASE,
    PENALTY: replace(OWN, steps=200, adaptive="flag", **PENALIZED),
    **{f"bound, {name}": replace(BASE, **BOUND, **own) for name, own in ATTACKERS.items()},
    f"bound, the best of {STARTS} starts": replace(BASE, **BOUND, restarts=STARTS),
    START: replace(BASE, **BOUND),
    WEIGHED: replace(BASE, adaptive="flag"),
    METHOD: replace(BASE, **BOUND),
    SCREEN: replace(BASE, **BOUND),
    STREAM: replace(BASE, **BOUND | {"adaptive": "stream"}),
    # The place is known, and there is one frame.
    PER_IMAGE: replace(BASE, **BOUND, batch=1),
}
"""The attackers by name; the first rung of all but `PENALTY` has the steps that are asked for."""
NAMES = (*RECIPES, BESIDE)
NEEDED = {START: (PLAIN_ATTACK,), WEIGHED: (PLAIN_ATTACK,), BESIDE: (PLAIN_ATTACK, STREAM)}
"""Attackers whose patches others begin with."""
IMAGES = 4
"""Frames that get a patch of their own."""
RATE_HZ = 15.0
SIDE = OWN.size[0] / 360
"""Of the patch in the drive: as large as it is optimized for, as a share of the image's height."""


def _box(index: int) -> tuple[float, float, float]:
    return 0.45 + 0.4 * math.sin(index / 15), 0.3 + 0.1 * math.cos(index / 10), SIDE


ALONE = Behavior("comes right after a keyframe", lambda i, n: [_box(i)] if i >= AFTER_A_KEYFRAME else [])
FOLLOWED = Behavior(
    "beside one that is followed",
    lambda i, n: [(0.85, 0.25, SIDE)] if i >= AFTER_A_KEYFRAME else [],
    # Found and followed by then.
    decoys=lambda i, n: [(0.1, 0.3, SIDE)],
)


@dataclass(frozen=True)
class Table:
    """A table in the document, and what it is of.

    Attributes:
        marks: around it.
        plot: name of the frontier's file.
        seen: how patches are seen, by their attackers and by the judge.
    """

    marks: Marks
    plot: str
    seen: EotRanges = PLAIN

    @classmethod
    def called(cls, name: str, plot: str, seen: EotRanges = PLAIN) -> Table:
        """One that stands between marks of this name."""
        return cls(
            Marks(f"<!-- {name}: written by tools/measure_attackers.py -->", f"<!-- end of {name} -->"), plot, seen
        )


ALIKE, VARIED, OTHERS, PREPARED, TUNED = "alike", "varied", "others", "prepared", "tuned"
TABLES = {
    ALIKE: Table.called("attackers", "attackers.svg"),
    VARIED: Table.called("attackers, seen varied", "attackers_varied.svg", SEEN),
    OTHERS: Table.called("attackers on networks of others", "attackers_others.svg"),
    PREPARED: Table.called("attackers of prepared profiles", "attackers_prepared.svg"),
    TUNED: Table.called("attackers on fine-tuned networks", "attackers_tuned.svg"),
}


@dataclass(frozen=True)
class OnAStream:
    """A patch over the drive; damages are mIoU clean - attacked of all frames, outside of the patch.

    Attributes:
        whole: damage that remains with the whole analysis of every frame.
        remains: the same in streaming mode.
        flagged: share of the frames with the patch that streaming mode flags, 0..1.
    """

    whole: float
    remains: float
    flagged: float


@dataclass(frozen=True)
class Figures:
    """One attacker on one network: damages are mIoU clean - attacked outside of the patch.

    Attributes:
        network, attack: names.
        stream: over the drive; None where there is a patch for each image.
        undefended: damage without a defense.
        defended: damage that remains.
        seconds: of processor time of the optimization; None where the patch was made for something else.
        curve: steps in all, and the damage that remained and share flagged then, of each doubling.
        change: what the last doubling changed; None where there was none.
        note: what more is to be said.
    """

    network: str
    attack: str
    stream: OnAStream | None
    undefended: float | None = None
    defended: float | None = None
    seconds: float | None = None
    curve: tuple[tuple[int, float, float], ...] = ()
    change: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Finished:
    """What is kept of an attacker.

    Attributes:
        figures: of it.
        defended, clean: records of the frames that it was judged on; none of one that is judged on a stream alone.
        classes: of the network.
    """

    figures: Figures
    defended: tuple[Record, ...]
    clean: tuple[Record, ...]
    classes: int

    @property
    def sets(self) -> tuple[RecordSet, RecordSet]:
        """The records of the defended and of the clean frames."""
        return RecordSet(self.defended, self.classes), RecordSet(self.clean, self.classes)

    @property
    def on_all_frames(self) -> bool:
        """Whether it was judged on all frames."""
        return bool(self.defended) and self.figures.attack != PER_IMAGE


FINISHED = TypeAdapter(Finished)


@dataclass(frozen=True)
class KnownPlace:
    """The place of a patch in the one frame that it is for; a `Placement`."""

    homography: Tensor

    def place(
        self, transforms: Transforms, chosen: Tensor, image_size: tuple[int, int], patch_size: tuple[int, int]
    ) -> Transforms:
        """Move the patch to its place."""
        return replace(transforms, homography=self.homography.expand(len(chosen), 3, 3))


def known_places(frames: Sequence[LabeledFrame], size: tuple[int, int], seen: EotRanges) -> list[KnownPlace]:
    """Where `attacked_frames` shows a patch of this size."""
    generator = torch.Generator().manual_seed(PASTING_SEED)
    return [
        KnownPlace(sample_layout(seen, 1, 1, size, frame.image.shape[:2], generator)[0].homography) for frame in frames
    ]


@dataclass(frozen=True)
class Material:
    """The frames of a measurement: to optimize over, to judge on, and the drive in order."""

    learned: Sequence[LabeledFrame]
    unseen: Sequence[LabeledFrame]
    drive: Sequence[LabeledFrame]


@dataclass(frozen=True)
class Effort:
    """How long attackers go on, for which table, and where finished work lies.

    Attributes:
        steps: of the first rung.
        most: no doubling goes beyond.
        table: what they are measured for.
        work: folder of finished work.
        budget: seconds of processor time in which each profile is prepared; None: they are taken as they are.
    """

    steps: int
    most: int
    table: Table
    work: Path
    budget: float | None = None

    def folder(self, network: str, attack: str) -> Path:
        """Where the work of an attacker lies."""
        return self.work / network / "".join(c if c.isalnum() else "_" for c in attack)

    def finished(self, network: str = "*") -> list[Finished]:
        """All finished attackers, in the order of the table."""
        found = [read(path) for path in sorted(self.work.glob(f"{network}/*/finished.json"))]
        networks, names = list(NETWORKS), list(NAMES)

        def order(one: Finished) -> tuple[int, str, int, str]:
            network, attack = one.figures.network, one.figures.attack
            place = networks.index(network) if network in networks else len(networks)
            return place, network, names.index(attack) if attack in names else len(names), attack

        return sorted(found, key=order)


def read(path: Path) -> Finished:
    """A finished attacker.

    Raises:
        ClickException: it cannot be read.
    """
    try:
        return FINISHED.validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{path} cannot be read: delete it, and measure that attacker again.") from error


@contextmanager
def claimed(folder: Path, wait: bool) -> Iterator[bool]:
    """Whether this process alone works in ``folder`` meanwhile; with ``wait``, as soon as no other one does."""
    make_folder(folder)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


class Trial:
    """A network under its shipped profile, or under what fitting gives it, against attackers."""

    def __init__(self, name: str, material: Material, effort: Effort) -> None:
        self.segmenter: Segmenter = load_segmenter(name, "cpu")
        self.profile: Profile = profile_of(self.segmenter, material.learned, effort)
        self._defense = Ours(self.segmenter, self.profile)
        self._camera = DefendedCamera(self.segmenter, self.profile)
        self._material, self._effort = material, effort

    def measure(self, attack: str) -> None:
        """Have an attacker go on, judge it, and keep what came of it; what is there already is not done again."""
        if attack in (SCREEN, STREAM, BESIDE) and self.profile.screen is None:
            return
        if attack == PER_IMAGE:
            self._per_image()
        elif attack == BESIDE:
            decoy, patch = (load_patch(self._patch(needed)) for needed in NEEDED[BESIDE])
            figures = Figures(self.segmenter.name, BESIDE, self._streamed(patch, decoy))
            self._keep(Finished(figures, (), (), len(self.segmenter.classes)))
        else:
            self._universal(attack)

    def transferred(self, other: str) -> None:
        """Judge the worst bound patch of another network, if there is one."""
        finished = [one.figures for one in self._effort.finished(other) if one.on_all_frames]
        bound = [own for own in finished if own.attack.startswith("bound")]
        if bound:
            best = max(bound, key=lambda own: own.defended or 0.0)
            patch = load_patch(self._effort.folder(other, best.attack) / "patch.png")
            self._judge(made_on(other), patch, note=best.attack)

    def _universal(self, attack: str) -> None:
        """One patch for all frames."""
        recipe = replace(RECIPES[attack], eot=self._effort.table.seen)
        # The one that somebody else wrote has its own number of steps.
        recipe = recipe if attack == PENALTY else replace(recipe, steps=self._effort.steps)
        start = load_exact(self._patch(PLAIN_ATTACK))[0] if attack in NEEDED else None
        known = [(frame.image, frame.labels) for frame, _ in self._learned]

        def judge(patches: Tensor) -> Outcome:
            return self._outcome(self._attacked(to_uint8(patches[0])))

        ladder, seconds = self._climb(attack, self._folder(attack), recipe, known, judge, start)
        curve = curve_of(ladder)
        kept = self._kept(attack)
        if kept is None or kept.figures.curve != curve:
            save_patch(self._patch(attack), ladder.result, recipe, self.segmenter, ("CamVid, training drives",))
            patch = to_uint8(ladder.result.patch)
            self._judge(attack, patch, seconds=seconds, curve=curve, change=ladder.change)

    def _per_image(self) -> None:
        """A patch for each of a few of the frames that are judged, whose place in it is known."""
        seen_as = self._effort.table.seen
        recipe = replace(RECIPES[PER_IMAGE], steps=self._effort.steps, eot=seen_as)
        places = known_places(self._material.unseen, recipe.size, seen_as)
        shown: list[TestFrame] = []
        ladders: list[tuple[Ladder, float]] = []
        for number in evenly(len(self._frames), IMAGES):
            frame, _ = self._frames[number]

            def seen(patches: Tensor, number: int = number) -> TestFrame:
                return self._attacked(to_uint8(patches[0]))[number]

            def judge(patches: Tensor, seen: Callable[[Tensor], TestFrame] = seen) -> Outcome:
                return self._outcome([seen(patches)])

            folder = self._folder(PER_IMAGE) / frame.name
            known = [(frame.image, frame.labels)]
            ladders.append(
                self._climb(f"{PER_IMAGE}: {frame.name}", folder, recipe, known, judge, None, places[number])
            )
            shown.append(seen(ladders[-1][0].result.patches))
        clean, none, own = self._records(shown)
        changes = [ladder.change for ladder, _ in ladders if ladder.change is not None]
        figures = Figures(
            network=self.segmenter.name,
            attack=PER_IMAGE,
            stream=None,
            undefended=clean.miou() - none.miou(),
            defended=clean.miou() - own.miou(),
            seconds=sum(seconds for _, seconds in ladders),
            change=max(changes, default=None),
            note=f"up to {max(ladder.rungs[-1].steps for ladder, _ in ladders)} steps",
        )
        self._keep(Finished(figures, tuple(own.records), tuple(clean.records), own.num_classes))

    def _climb(
        self,
        title: str,
        folder: Path,
        recipe: Recipe,
        known: Sequence[AttackFrame],
        judge: Judge,
        start: Tensor | None,
        placement: Placement | None = None,
    ) -> tuple[Ladder, float]:
        """The course of one attacker, and the processor time that its optimization took in seconds."""
        clock = folder / "seconds.json"
        with progress(f"{self.segmenter.name}: {title}", "steps", None) as advance:

            def shown(step: Step) -> None:
                advance(note=f"loss {step.loss:.2f}, score {step.score or 0:.2f}")

            def train(own: Recipe, begin: Tensor | None, state: Path):
                profile = self._known_to(title)
                begun = time.process_time()
                try:
                    return train_patch(self.segmenter, known, own, shown, profile, state, placement, begin)
                finally:
                    replace_file(clock, json.dumps(_seconds(clock) + time.process_time() - begun).encode())

            ladder = climb(train, judge, recipe, self._effort.most, folder, start)
        return ladder, _seconds(clock)

    def _known_to(self, attack: str) -> Profile | None:
        """The profile that an attacker optimizes against."""
        if attack == PLAIN_ATTACK:
            return None
        if attack == SCREEN:
            return self.profile.of_screen()
        return self._other_profile if attack == METHOD else self.profile

    @cached_property
    def _other_profile(self) -> Profile:
        """Another profile of the same method, fitted on the frames that no attacker optimizes over."""
        others = [frame for n, frame in enumerate(self._material.learned) if n % TEST_EVERY]
        return fitted(self.segmenter, transfer_plan(self.segmenter), list(clean_frames(others)))

    @cached_property
    def _frames(self) -> list[tuple[LabeledFrame, np.ndarray]]:
        return clean_segmented(self.segmenter, self._material.unseen)

    @cached_property
    def _learned(self) -> list[tuple[LabeledFrame, np.ndarray]]:
        return clean_segmented(self.segmenter, self._material.learned[::TEST_EVERY])

    @cached_property
    def _drive(self) -> list[tuple[LabeledFrame, np.ndarray]]:
        return clean_segmented(self.segmenter, self._material.drive)

    def _attacked(self, patch: np.ndarray) -> list[TestFrame]:
        return attacked_frames(self._frames, patch, self._effort.table.seen)

    def _records(self, shown: Sequence[TestFrame]) -> tuple[RecordSet, RecordSet, RecordSet]:
        """Records of the clean, the undefended and the defended network on attacked frames."""
        verdicts = {frame.name: self._defense.process(frame.image) for frame in shown}
        return (
            recorded(self.segmenter, shown, lambda frame: Verdict.unmasked(frame.clean)),
            recorded(self.segmenter, shown, lambda frame: Verdict.unmasked(verdicts[frame.name].undefended)),
            recorded(self.segmenter, shown, lambda frame: verdicts[frame.name]),
        )

    def _outcome(self, shown: Sequence[TestFrame]) -> Outcome:
        """MIoU that is lost under the defense, and shares flagged and masked."""
        clean, _, own = self._records(shown)
        return Outcome(clean.miou() - own.miou(), float(own.flagged.mean()), float(own.masked.mean()))

    def _judge(
        self,
        attack: str,
        patch: np.ndarray,
        seconds: float | None = None,
        curve: tuple[tuple[int, float, float], ...] = (),
        change: float | None = None,
        note: str = "",
    ) -> None:
        """Judge a patch for all frames, and keep what came of it."""
        clean, none, own = self._records(self._attacked(patch))
        damages = clean.miou() - none.miou(), clean.miou() - own.miou()
        figures = Figures(
            self.segmenter.name, attack, self._streamed(patch), *damages, seconds=seconds, curve=curve, change=change
        )
        finished = Finished(replace(figures, note=note), tuple(own.records), tuple(clean.records), own.num_classes)
        self._keep(finished)

    def _streamed(self, patch: np.ndarray, decoy: np.ndarray | None = None) -> OnAStream:
        """The drive with a patch, and with another one beside it."""
        drive = [(frame.image, frame.labels) for frame, _ in self._drive]
        frames = list(patched_drive(ALONE if decoy is None else FOLLOWED, drive, patch, RATE_HZ, decoy))
        clean = Confusion(len(self.segmenter.classes))
        for (own, segmented), frame in zip(self._drive, frames, strict=True):
            clean.add(segmented, own.labels, ~frame.patch)
        both = compare(self._camera, frames)
        whole, streaming = (clean.miou() - mode.miou for mode in (both.full, both.streaming))
        return OnAStream(whole, streaming, both.streaming.recall)

    def _folder(self, attack: str) -> Path:
        return self._effort.folder(self.segmenter.name, attack)

    def _patch(self, attack: str) -> Path:
        return self._folder(attack) / "patch.png"

    def _kept(self, attack: str) -> Finished | None:
        path = self._folder(attack) / "finished.json"
        return read(path) if path.exists() else None

    def _keep(self, finished: Finished) -> None:
        folder = self._folder(finished.figures.attack)
        make_folder(folder)
        replace_file(folder / "finished.json", FINISHED.dump_json(finished))
        said = finished.figures.defended if finished.figures.stream is None else finished.figures.stream.remains
        click.echo(f"{finished.figures.network}: {finished.figures.attack}: {said:.3f} remains")


def profile_of(segmenter: Segmenter, learned: Sequence[LabeledFrame], effort: Effort) -> Profile:
    """The profile that comes with a network, or else what fitting gives, prepared if there is a budget for it.

    What comes with none is kept with the finished work.
    """
    try:
        own = shipped_profile(segmenter.name)
    except ZmaskError:
        own = None
    if own is not None and effort.budget is None:
        return load_profile(own)
    path, folder = effort.work / f"{segmenter.name}.zmask.safetensors", effort.work / segmenter.name
    with claimed(folder, wait=True):
        if not path.exists():
            clean = list(clean_frames(learned))
            profile = fitted(segmenter, transfer_plan(segmenter), clean) if own is None else load_profile(own)
            if effort.budget is not None:
                profile = prepared(segmenter, profile, clean, effort.budget, folder / "preparation")
            save_profile(profile, path)
    return load_profile(path)


def made_on(network: str) -> str:
    """The attacker whose patch was made on another network."""
    return f"made on {network}"


def curve_of(ladder: Ladder) -> tuple[tuple[int, float, float], ...]:
    """Steps in all, and the damage that remained and share flagged then."""
    return tuple((rung.steps, rung.outcome.damage, rung.outcome.flagged) for rung in ladder.rungs)


def _seconds(clock: Path) -> float:
    return float(json.loads(clock.read_text())) if clock.exists() else 0.0


def table(found: Sequence[Finished]) -> str:
    """All attackers as markdown, the worst case of each network first."""
    columns = (
        *("network", "attacker", "damage, no defence", "damage that remains", "flagged", "masked"),
        *(
            "on a stream, whole / streaming",
            "flagged there",
            "remains after steps (flagged)",
            "last doubling",
            "seconds",
        ),
    )
    rows: list[tuple[str, ...]] = []
    for network in dict.fromkeys(one.figures.network for one in found):
        own = [one for one in found if one.figures.network == network]
        if any(one.on_all_frames for one in own):
            rows.append(_worst(own))
        rows += [_row(one) for one in own]
    return markdown_table(columns, rows)


def _worst(own: Sequence[Finished]) -> tuple[str, ...]:
    """The first row of a network: each figure is the worst of all attackers by itself."""
    worst = worst_case(*zip(*(one.sets for one in own if one.on_all_frames), strict=True))
    shares = (f"{share * worst.frames:.0f} of {worst.frames}" for share in (worst.flagged, worst.masked))
    streams = [one.figures.stream for one in own if one.figures.stream is not None]
    plain = next((one.figures.undefended for one in own if one.figures.attack == PLAIN_ATTACK), None)
    kept = f", {worst.damage / plain:.0%} of the plain patch's damage" if plain else ""
    return (
        *(own[0].figures.network, f"**worst of all, frame by frame{kept}**", "", cell(worst.damage), *shares),
        f"{cell(max(s.whole for s in streams))} / {cell(max(s.remains for s in streams))}",
        percent(min(s.flagged for s in streams)),
        *("", "", ""),
    )


def _row(one: Finished) -> tuple[str, ...]:
    own, (defended, _) = one.figures, one.sets
    counts = [f"{int(flags.sum())} of {len(defended)}" for flags in (defended.flagged, defended.masked)]
    stream = own.stream
    return (
        own.network,
        f"{own.attack} ({own.note})" if own.note else own.attack,
        "" if own.undefended is None else cell(own.undefended),
        "" if own.defended is None else cell(own.defended),
        *(counts if one.defended else ("", "")),
        "" if stream is None else f"{cell(stream.whole)} / {cell(stream.remains)}",
        "" if stream is None else percent(stream.flagged),
        ", ".join(f"{n}: {cell(d)} ({percent(f)})" for n, d, f in own.curve),
        "" if own.change is None else doubling(own.change),
        "" if own.seconds is None else f"{own.seconds:.0f}",
    )


def points(found: Sequence[Finished]) -> dict[str, list[tuple[float, float]]]:
    """Share flagged and damage that remains, by network, of the attackers that were judged on all frames."""
    judged = [one for one in found if one.on_all_frames]
    own: dict[str, list[tuple[float, float]]] = {one.figures.network: [] for one in judged}
    for one in judged:
        own[one.figures.network].append((float(one.sets[0].flagged.mean()), one.figures.defended or 0.0))
    return own


def publish(effort: Effort, docs: Path) -> None:
    """Write table and plot of all finished work."""
    with claimed(effort.work, wait=True):
        found = effort.finished()
        if not found:
            raise click.ClickException(f"There is no finished work in {effort.work}.")
        if found_points := points(found):
            plot = frontier_plot(found_points, "Damage against alarms, attackers of each network's profile")
            images = docs.parent / "images"
            make_folder(images)
            replace_file(images / effort.table.plot, plot.encode())
        effort.table.marks.write(docs, table(found))


def check_frames(effort: Effort, material: Material) -> None:
    """Refuse finished work on other frames: nothing could be said of all attackers together.

    Raises:
        ClickException: there is some.
    """
    names = [frame.name for frame in material.unseen]
    for one in effort.finished():
        if one.on_all_frames and [record.name for record in one.defended] != names:
            raise click.ClickException(
                f"{effort.work} holds attackers that were judged on other frames: "
                "give the same --every, or another --work."
            )


@click.command(help=__doc__)
@click.option("--steps", default=250, show_default=True, help="Of the first rung.")
@click.option("--most", default=4000, show_default=True, help="No doubling goes beyond.")
@click.option("--every", default=1, show_default=True, help="Judge on each n-th frame.")
@click.option("--network", "networks", multiple=True, default=NETWORKS, show_default=True, help="Repeatable.")
@click.option("--attacker", "attackers", multiple=True, type=click.Choice(NAMES), help="Repeatable.  [default: all]")
@click.option("--table", "name", type=click.Choice(list(TABLES)), default=ALIKE, show_default=True, help="Which one.")
@click.option(
    "--work", type=click.Path(path_type=Path), default=WORK, show_default=True, help="Finished work, in a folder TABLE."
)
@click.option("--docs", type=click.Path(path_type=Path), default=DOCUMENT, show_default=True, help="Gets the table.")
@click.option("--prepare", "budget", type=DURATION, help="Processor time for each profile of the table *prepared*.")
@click.option("--table-only", is_flag=True, help="Only write table and plot of what is finished.")
def main(
    steps: int,
    most: int,
    every: int,
    networks: tuple[str, ...],
    attackers: tuple[str, ...],
    name: str,
    work: Path,
    docs: Path,
    budget: float | None,
    table_only: bool,
) -> None:
    """Measure, and write the figures after each attacker."""
    if not table_only and (budget is None) == (name == PREPARED):
        raise click.UsageError(f"--prepare belongs to --table {PREPARED}: give both or neither.")
    set_up_torch(seed=0)
    effort = Effort(steps, most, TABLES[name], work / name, budget)
    effort.table.marks.check(docs)
    if not table_only:
        drive = camvid_frames("val")
        material = Material(camvid_frames("train")[::2], drive[:: TEST_EVERY * every], drive)
        check_frames(effort, material)
        run(networks, attackers or NAMES, material, effort, lambda: publish(effort, docs))
    publish(effort, docs)


def run(
    networks: Sequence[str], attackers: Sequence[str], material: Material, effort: Effort, done: Callable[[], None]
) -> None:
    """All attackers on all networks, first those that no other process is at."""
    trials = {trial.segmenter.name: trial for trial in (Trial(name, material, effort) for name in networks)}
    wanted = [name for name in NAMES if name in attackers or any(name in NEEDED.get(own, ()) for own in attackers)]
    left = [(network, attack) for network in trials for attack in wanted]
    for wait in (False, True):
        for network, attack in tuple(left):
            needed = (effort.folder(network, name) / "finished.json" for name in NEEDED.get(attack, ()))
            if not wait and not all(path.exists() for path in needed):
                continue
            with claimed(effort.folder(network, attack), wait) as free:
                if free:
                    trials[network].measure(attack)
                    left.remove((network, attack))
                    done()
    for network in trials:
        for other in {one.figures.network for one in effort.finished()} - {network}:
            with claimed(effort.folder(network, made_on(other)), wait=True):
                trials[network].transferred(other)
                done()


if __name__ == "__main__":
    main()
