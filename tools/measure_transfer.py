"""Measure what the transferable head is worth on networks that it has not seen: leave one family out.

For each network the head that was trained without it, OUT/NAME.safetensors in --heads, defends it against a plain
patch on a drive of CamVid that neither network nor profile has seen. Beside it stand the mean z-scores of S and D, and
the trivial mask: the mean |z| of one layer, the best of the head's layers in hindsight. The table goes into
docs/evaluation.md and all figures into --json.

    PYTHONPATH=tools python tools/measure_transfer.py out/networks/*.yaml --heads out/networks/heads
    PYTHONPATH=tools python tools/measure_transfer.py theirs/*.yaml    # others' networks, with the shipped head

Networks whose classes are not CamVid's are judged by their own labels of the frames without a patch.

With --adaptive, the profile is also tried against patches of attackers who know it, of whom the worst counts. With
--prepare, what `zmask prepare` makes of that profile in so much time is measured as well, in the same ways. With
--only, both are done for some of the networks.

What was measured of a network is kept in --work, so that several of these can share the networks, and the table is
written by one that is given all of them.

False alarms are also counted on pictures of other cameras, if --roads, or ZMASK_ROADS, names a folder with
stills/*.jpg.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
import torch

from train_network import LEARNED_DRIVES, UNSEEN_DRIVE
from train_segmenter import camvid_frames, set_up_torch
from train_transferable_head import FALSE_ALARM_RATE, WORK, clean_frames, fitted, patch_against
from zmask_ros.attacks import EotRanges, Recipe, paste_at_random, to_uint8, train_patch
from zmask_ros.attacks.recipe import CONSTRAINT
from zmask_ros.cli.console import progress
from zmask_ros.cli.options import DURATION
from zmask_ros.data.camvid import UNLABELLED, LabeledFrame
from zmask_ros.data.street import CLASS_NAMES
from zmask_ros.data.street.pictures import street_pictures
from zmask_ros.defense import Profile
from zmask_ros.evaluation.baselines.interface import Baseline, Ours, SingleLayer, segment, set_threshold
from zmask_ros.evaluation.metrics.intervals import Interval, bootstrap
from zmask_ros.evaluation.metrics.records import RecordSet, TestFrame, Verdict, record, recovery
from zmask_ros.evaluation.protocol.patch_judge import PatchJudge
from zmask_ros.evaluation.report.tables import cell, markdown_table, percent, with_interval
from zmask_ros.io.files import replace_file
from zmask_ros.io.images.files import read_picture
from zmask_ros.io.markdown_tables import Marks
from zmask_ros.progress import Advance
from zmask_ros.resources import find_resource
from zmask_ros.runtime.camera import labels_without
from zmask_ros.segmenters import Segmenter, load_segmenter
from zmask_ros.training.encoder import encoder_layers
from zmask_ros.training.plans import mean_z_plan, transfer_plan
from zmask_ros.training.preparation.stages import Surroundings, prepare
from zmask_ros.training.settings import PreparationSettings
from zmask_ros.training.sources import CleanFrame, at_input_size
from zmask_ros.training.transfer import HEAD_FILE, load_transferable_head

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "evaluation.md"
MARKS = Marks("<!-- transfer: written by tools/measure_transfer.py -->", "<!-- end of transfer -->")
OTHERS_MARKS = Marks(
    "<!-- networks of others: written by tools/measure_transfer.py -->", "<!-- end of networks of others -->"
)
PLAIN = EotRanges(scale=(0.97, 1.03), rotation_deg=(-3, 3), yaw_deg=(-8, 8))
PATCH = Recipe((128, 128), 120, batch=3, eot=PLAIN, seed=5)
ADAPTIVE = {
    "flag and mask": replace(PATCH, adaptive="both"),
    "bound below the threshold": replace(PATCH, adaptive="flag", evasion=CONSTRAINT),
}
"""Attackers who know the profile. Which of them is the worse depends on the network."""
TEST_EVERY = 3
PASTING_SEED = 3
MEAN_Z, TRIVIAL, HEAD, PREPARED = "mean z-scores", "trivial mask", "transferable head", "prepared"


@dataclass(frozen=True)
class DefenseFigures:
    """What one defense makes of the patch on one network.

    Attributes:
        miou: defended, outside of the patches.
        recovery: of what exact masks would give back; the interval is over frames.
        mask_iou: mean over the attacked frames.
        flagged: number of attacked frames that are flagged.
        false_alarms: number of clean frames of the unseen drive that are flagged.
        false_alarms_roads: number of pictures of other cameras that are flagged; None without any.
        note: what more is to be said.
        kept: share of the plain patch's damage to the network alone that the worst patch of those who know the defense
            does through it; None: none was made.
        adaptive_flagged: number of frames with that patch that are flagged.
        attacker: whose it is, by his name among `ADAPTIVE`.
    """

    miou: float
    recovery: Interval
    mask_iou: float
    flagged: int
    false_alarms: int
    false_alarms_roads: int | None
    note: str = ""
    kept: float | None = None
    adaptive_flagged: int | None = None
    attacker: str = ""


@dataclass(frozen=True)
class NetworkFigures:
    """The patch against one network, mIoU outside of the patches, and each defense by its name."""

    network: str
    frames: int
    roads: int
    clean: float
    attacked: float
    oracle: float
    defenses: Mapping[str, DefenseFigures]

    @classmethod
    def read(cls, path: Path) -> NetworkFigures:
        """Figures that were kept as JSON."""
        fields = json.loads(path.read_text())
        defenses = {
            name: DefenseFigures(**own | {"recovery": Interval(**own["recovery"])})
            for name, own in fields["defenses"].items()
        }
        return cls(**fields | {"defenses": defenses})


def clean_segmented(segmenter: Segmenter, frames: Sequence[LabeledFrame]) -> list[tuple[LabeledFrame, np.ndarray]]:
    """Frames, each with what the network says of it, uint8 [H, W]: its truth, too, if its classes are not CamVid's."""
    segmented = [(frame, segment(segmenter, frame.image)) for frame in frames]
    if tuple(segmenter.classes) == CLASS_NAMES:
        return segmented
    return [(replace(frame, labels=labels), labels) for frame, labels in segmented]


def attacked_frames(
    frames: Sequence[tuple[LabeledFrame, np.ndarray]], patch: np.ndarray, seen: EotRanges = PLAIN
) -> list[TestFrame]:
    """Frames of `clean_segmented` with a patch, at the same places and ``seen`` alike, whatever it is."""
    generator, shown = torch.Generator().manual_seed(PASTING_SEED), []
    for frame, clean in frames:
        image, hidden = paste_at_random(frame.image, patch, seen, generator)
        truth = np.where(hidden, np.uint8(UNLABELLED), frame.labels)
        shown.append(TestFrame(frame.name, frame.drive, image, truth, hidden, clean))
    return shown


def recorded(segmenter: Segmenter, frames: Sequence[TestFrame], evaluator: Callable[[TestFrame], Verdict]) -> RecordSet:
    """What is right and wrong in the verdicts on some frames."""
    classes = len(segmenter.classes)
    return RecordSet([record(frame, evaluator(frame), classes) for frame in frames], classes)


def undefended(segmenter: Segmenter) -> Callable[[TestFrame], Verdict]:
    """The verdict of the network alone."""
    return lambda frame: Verdict.unmasked(segment(segmenter, frame.image))


class Trial:
    """One network, the frames of the unseen drive with and without a patch, and pictures of other cameras."""

    def __init__(
        self, segmenter: Segmenter, frames: Sequence[LabeledFrame], patch: np.ndarray, roads: Sequence[np.ndarray]
    ) -> None:
        self.segmenter, self.roads = segmenter, roads
        self.clean = [frame.image for frame in frames]
        self.unattacked = clean_segmented(segmenter, frames)
        self.attacked = attacked_frames(self.unattacked, patch)
        self._nothing_attacked = self._records(lambda frame: Verdict.unmasked(frame.clean))
        self._none = self._records(undefended(segmenter))
        self._oracle = self._records(
            lambda frame: Verdict.unmasked(labels_without(segmenter, frame.image, frame.hidden))
        )

    def figures(self, defenses: Mapping[str, DefenseFigures]) -> NetworkFigures:
        """All that was found on the network."""
        bounds = self._nothing_attacked.miou(), self._none.miou(), self._oracle.miou()
        return NetworkFigures(self.segmenter.name, len(self.clean), len(self.roads), *bounds, defenses)

    def defended(self, baseline: Baseline, note: str = "") -> DefenseFigures:
        """The figures of one defense, whose threshold is set."""
        own = self._records(lambda frame: baseline.process(frame.image))
        return DefenseFigures(
            miou=own.miou(),
            recovery=bootstrap(partial(recovery, own, self._none, self._oracle), range(len(own))),
            mask_iou=own.mask_iou,
            flagged=int(own.flagged.sum()),
            false_alarms=sum(baseline.process(image).flagged for image in self.clean),
            false_alarms_roads=sum(baseline.process(image).flagged for image in self.roads) if self.roads else None,
            note=note,
        )

    def against_worst(self, own: DefenseFigures, profile: Profile, patches: Mapping[str, np.ndarray]) -> DefenseFigures:
        """The figures of a profile, with those of the worst of these patches, by whose they are."""
        baseline = Ours(self.segmenter, profile)
        found = {attacker: self._adaptive(baseline, patch) for attacker, patch in patches.items()}
        worst = max(found, key=lambda attacker: found[attacker][0])
        return replace(own, kept=found[worst][0], adaptive_flagged=found[worst][1], attacker=worst)

    def _adaptive(self, baseline: Ours, patch: np.ndarray) -> tuple[float, int]:
        """Share of the plain patch's damage that another patch does through a defense, and how often it is flagged."""
        shown = attacked_frames(self.unattacked, patch)
        clean = recorded(self.segmenter, shown, lambda frame: Verdict.unmasked(frame.clean))
        defended = recorded(self.segmenter, shown, lambda frame: baseline.process(frame.image))
        plain = self._nothing_attacked.miou() - self._none.miou()
        return (clean.miou() - defended.miou()) / plain, int(defended.flagged.sum())

    def _records(self, evaluator: Callable[[TestFrame], Verdict]) -> RecordSet:
        return recorded(self.segmenter, self.attacked, evaluator)


def trivial_mask(trial: Trial, clean: Sequence[CleanFrame], advance: Advance) -> DefenseFigures:
    """The best of the head's layers by itself, chosen by its masks on the very frames that are attacked."""
    learned, held_out = ([f.image for f in clean if f.held_out is wanted] for wanted in (False, True))
    found = []
    for layer in dict.fromkeys(encoder_layers(trial.segmenter)):
        baseline = SingleLayer(trial.segmenter, layer)
        baseline.fit(learned)
        set_threshold(baseline, held_out, FALSE_ALARM_RATE)
        found.append(trial.defended(baseline, note=layer))
        advance()
    return max(found, key=lambda own: own.mask_iou)


def prepared(segmenter: Segmenter, start: Profile, clean: Sequence[CleanFrame], budget: float, work: Path) -> Profile:
    """What `zmask prepare` makes of a profile."""
    frames = [replace(frame, image=at_input_size(segmenter, frame.image)) for frame in clean]
    around = Surroundings(
        PatchJudge(segmenter), work, lambda profile: None, time.process_time, progress, roads=street_pictures
    )
    return prepare(segmenter, frames, PreparationSettings(), around, start, budget).profile


def adaptive_patch(
    segmenter: Segmenter,
    profile: Profile,
    frames: Sequence[np.ndarray],
    recipe: Recipe,
    start: np.ndarray | None = None,
) -> np.ndarray:
    """A patch that was optimized through the whole defense, uint8 [h, w, 3].

    Args:
        segmenter: the network.
        profile: of the defense.
        frames: it is optimized over, uint8 [H, W, 3] RGB.
        recipe: one of `ADAPTIVE`, of any number of steps.
        start: uint8 [1, h, w, 3], the patch that it begins with; None: noise.
    """
    begun = None if start is None else torch.from_numpy(start).permute(0, 3, 1, 2).float() / 255
    with progress(f"Attacking the profile of {segmenter.name}", "steps", recipe.steps) as advance:
        known = [(frame, None) for frame in frames]
        return to_uint8(train_patch(segmenter, known, recipe, lambda step: advance(), profile, start=begun).patch)


def measure(
    trial: Trial, clean: Sequence[CleanFrame], head: Path, patch: np.ndarray, adaptive: bool, budget: float | None
) -> NetworkFigures:
    """All defenses on one network; ``clean`` are the frames that they are fitted on."""
    segmenter = trial.segmenter
    plans = {MEAN_Z: mean_z_plan(segmenter), HEAD: transfer_plan(segmenter, load_transferable_head(head))}
    profiles = {name: fitted(segmenter, plan, clean) for name, plan in plans.items()}
    if budget is not None:
        with TemporaryDirectory() as folder:
            work = Path(folder) / "work"
            profiles[PREPARED] = prepared(segmenter, profiles[HEAD], clean, budget, work)
    with progress(f"Measuring {segmenter.name}", "defenses", None) as advance:
        found = {}
        for name, profile in profiles.items():
            found[name] = trial.defended(Ours(segmenter, profile))
            advance()
        found[TRIVIAL] = trivial_mask(trial, clean, advance)
    if adaptive:
        images = [frame.image for frame in clean[::TEST_EVERY]]
        for name in (name for name in (HEAD, PREPARED) if name in profiles):
            own = profiles[name]
            made = {who: adaptive_patch(segmenter, own, images, recipe, patch) for who, recipe in ADAPTIVE.items()}
            found[name] = trial.against_worst(found[name], own, made)
    return trial.figures({name: found[name] for name in (MEAN_Z, TRIVIAL, HEAD, PREPARED) if name in found})


def table(networks: Sequence[NetworkFigures]) -> str:
    """The figures as markdown."""
    return markdown_table(*defense_rows(networks))


def defense_rows(networks: Sequence[NetworkFigures]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The columns of a table, and a row for each network and defense."""
    columns = (
        *("network", "clean", "attacked", "oracle", "defence", "defended", "recovery (95 %)", "mask IoU"),
        *("flagged", "false alarms", "other cameras"),
    )
    known = any(found.kept is not None for own in networks for found in own.defenses.values())
    columns += ("adaptive keeps", "adaptive flagged", "the worst") if known else ()
    rows: list[tuple[str, ...]] = []
    for own in networks:
        for name, found in own.defenses.items():
            bounds = (own.network, cell(own.clean), cell(own.attacked), cell(own.oracle))
            roads = "-" if found.false_alarms_roads is None else f"{found.false_alarms_roads} of {own.roads}"
            rows.append(
                (
                    *bounds,
                    f"{name} ({found.note})" if found.note else name,
                    cell(found.miou),
                    with_interval(found.recovery, ".2f"),
                    cell(found.mask_iou, ".2f"),
                    f"{found.flagged} of {own.frames}",
                    f"{found.false_alarms} of {own.frames}",
                    roads,
                    *_adaptive_cells(found, own.frames)[: 3 * known],
                )
            )
    return columns, rows


def _adaptive_cells(found: DefenseFigures, frames: int) -> tuple[str, str, str]:
    if found.kept is None:
        return "-", "-", "-"
    return percent(found.kept), f"{found.adaptive_flagged} of {frames}", found.attacker


roads_option = click.option(
    "--roads",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    envvar="ZMASK_ROADS",
    help="Folder with stills/*.jpg of other cameras. [env: ZMASK_ROADS]",
)


def road_stills(folder: Path | None) -> list[np.ndarray]:
    """Pictures of other cameras, uint8 [H, W, 3] RGB each; none without a folder."""
    return [] if folder is None else [read_picture(path) for path in sorted((folder / "stills").glob("*.jpg"))]


@click.command(help=__doc__)
@click.argument("networks", nargs=-1, required=True)
@click.option(
    "--heads",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of heads, each by the name of the network that it was trained without.  [default: the shipped one]",
)
@click.option(
    "--json", "output", type=click.Path(path_type=Path), default="out/networks/transfer.json", show_default=True
)
@click.option("--docs", type=click.Path(path_type=Path), default=DOCUMENT, show_default=True, help="Gets the table.")
@click.option("--patch-steps", default=PATCH.steps, show_default=True, help="Of the patch's optimizer.")
@click.option("--every", default=1, show_default=True, help="Take each n-th frame.")
@click.option("--work", type=click.Path(path_type=Path), default=WORK, show_default=True, help="Patches are kept here.")
@click.option("--adaptive", is_flag=True, help="Also patches of attackers who know the profiles.")
@click.option("--prepare", "budget", type=DURATION, help="Also what `zmask prepare` gives in so much processor time.")
@click.option(
    "--only", multiple=True, help="Name of a network that --adaptive and --prepare are for. Repeatable.  [default: all]"
)
@roads_option
def main(
    networks: tuple[str, ...],
    heads: Path | None,
    output: Path,
    docs: Path,
    patch_steps: int,
    every: int,
    work: Path,
    adaptive: bool,
    budget: float | None,
    only: tuple[str, ...],
    roads: Path | None,
) -> None:
    """Measure each network, and write the figures."""
    set_up_torch(seed=0)
    marks = OTHERS_MARKS if heads is None else MARKS
    marks.check(docs)
    segmenters = [load_segmenter(name, "cpu") for name in networks]
    own_heads = [find_resource(HEAD_FILE) if heads is None else head_path(heads, own) for own in segmenters]
    for own, head in zip(segmenters, own_heads, strict=True):
        if not head.exists():
            raise click.ClickException(
                f"There is no {head}: train it with tools/train_transferable_head.py --leave-out {own.name}."
            )
    clean = list(clean_frames(camvid_frames("train", LEARNED_DRIVES)[::every]))
    unseen = camvid_frames("train", (UNSEEN_DRIVE,))[:: TEST_EVERY * every]
    stills = road_stills(roads)
    found = []
    for own, head in zip(segmenters, own_heads, strict=True):
        chosen = not only or own.name in only
        further = (adaptive, budget) if chosen else (False, None)
        settings = (PATCH, *ADAPTIVE.values(), patch_steps, every, *further, len(stills))
        kept = work / own.name / f"figures-{figures_key(own, [head], *settings)}.json"
        if not kept.exists():
            patch = patch_against(
                own, "test", replace(PATCH, steps=patch_steps), [frame.image for frame in clean[::TEST_EVERY]], work
            )
            figures = measure(Trial(own, unseen, patch, stills[::every]), clean, head, patch, *further)
            replace_file(kept, json.dumps(asdict(figures), indent=1).encode())
        found.append(NetworkFigures.read(kept))
        click.echo(table(found[-1:]))
        write_figures(found, output)
    marks.write(docs, table(found))


def figures_key(segmenter: Segmenter, files: Sequence[Path], *settings: object) -> str:
    """What figures depend on, as a short name: a network, what is in some files, and settings."""
    parts = (segmenter.digest, *(hashlib.sha256(path.read_bytes()).hexdigest() for path in files), *settings)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def write_figures(found: Sequence[Any], path: Path) -> None:
    """Write dataclasses of figures as JSON."""
    replace_file(path, json.dumps([asdict(own) for own in found], indent=1).encode())


def head_path(heads: Path, segmenter: Segmenter) -> Path:
    """Where the head lies that was trained without the network."""
    return heads / f"{segmenter.name}.safetensors"


if __name__ == "__main__":
    main()
