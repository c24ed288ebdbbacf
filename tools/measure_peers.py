"""Measure our patch attack beside another library's on the same networks: damage by steps and by processor time.

The other one is `AdversarialPatchPyTorch` of the Adversarial Robustness Toolbox (ART), with the cross-entropy of the
segmentation as its estimator's loss. A recipe of ours is written after the description of a third one, PatchAttackTool.
All optimize one untargeted patch over the same frames, two of them a step, seen at the same sizes and angles, and are
judged on CamVid's validation drive, with nothing to evade. They take turns in one process, and what counts is its
processor time. The table goes into docs/evaluation.md.

    pip install adversarial-robustness-toolbox
    PYTHONPATH=tools python tools/measure_peers.py
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
import torch.nn.functional as F
from measure_attack_speed import Run
from measure_attackers import OWN
from measure_transfer import DOCUMENT, PLAIN, TEST_EVERY, attacked_frames, clean_segmented, recorded, undefended

from train_segmenter import camvid_frames, set_up_torch
from zmask_ros.attacks import Recipe, stack_frames, to_uint8
from zmask_ros.attacks.frames import FrameStack
from zmask_ros.attacks.strength import ATTACKERS, FAST
from zmask_ros.cli.console import progress
from zmask_ros.data.camvid import UNLABELLED, LabeledFrame
from zmask_ros.evaluation.metrics.records import Verdict
from zmask_ros.evaluation.report.tables import cell, markdown_table
from zmask_ros.io.markdown_tables import Marks
from zmask_ros.segmenters import Segmenter, load_segmenter

NETWORKS = ("lraspp_camvid", "unet_camvid")
MARKS = Marks("<!-- peers: written by tools/measure_peers.py -->", "<!-- end of peers -->")
ADAM_SHARES = (5 / 255, 0.03)
"""Learning rates of ART's Adam, of the range of a pixel: its default, and the one that does best in other tools."""
PGD_SHARE = 0.01
DESCRIBED = {"lr": 0.11, "smoothness": 0.1}
"""PatchAttackTool's attack on a segmentation: the cross-entropy of pixels still right and of wrong ones apart, each
gradient of length 1 and weighed by the share still right; Adam at 0.5 of a normalized image; smoothness at 0.1."""


class OwnAttack:
    """Ours, with a recipe."""

    def __init__(self, segmenter: Segmenter, stack: FrameStack, recipe: Recipe) -> None:
        self._run = Run.begin(segmenter, recipe, None, stack)

    def go_on(self, steps: int) -> None:
        """So many more steps."""
        self._run.seconds(steps)

    @property
    def patch(self) -> np.ndarray:
        """As it is now, uint8 [h, w, 3]."""
        return to_uint8(self._run.state.leaves[0][0])


class ArtAttack:
    """The other library's."""

    def __init__(self, segmenter: Segmenter, stack: FrameStack, optimizer: str, share: float) -> None:
        from art.attacks.evasion import AdversarialPatchPyTorch

        height, width = OWN.size
        edge = min(segmenter.input_size)
        self._images, self._labels = stack.images.numpy().astype(np.float32), stack.labels.numpy()
        self._shown = _shuffled(len(stack))
        self._attack = AdversarialPatchPyTorch(
            _estimator(segmenter),
            rotation_max=PLAIN.rotation_deg[1],
            scale_min=PLAIN.scale[0] * height / edge,
            scale_max=PLAIN.scale[1] * height / edge,
            learning_rate=share * 255,
            max_iter=1,
            batch_size=OWN.batch,
            patch_shape=(3, height, width),
            patch_type="square",
            optimizer=optimizer,
            targeted=False,
            verbose=False,
        )

    def go_on(self, steps: int) -> None:
        """So many more steps, each of frames of their own."""
        chosen = [next(self._shown) for _ in range(steps * OWN.batch)]
        nothing = np.zeros((0, 4), np.float32)
        targets = [{"boxes": nothing, "labels": self._labels[n], "scores": nothing[:, 0]} for n in chosen]
        self._patch = self._attack.generate(self._images[chosen], targets)[0]

    @property
    def patch(self) -> np.ndarray:
        """As it is now, uint8 [h, w, 3]."""
        return self._patch.transpose(1, 2, 0).round().clip(0, 255).astype(np.uint8)


def _shuffled(count: int) -> Iterator[int]:
    random = np.random.default_rng(OWN.seed)
    while True:
        yield from random.permutation(count).tolist()


def _estimator(segmenter: Segmenter) -> Any:
    """The network as ART's estimator of 0..255, whose loss is the mean cross-entropy over all labelled pixels."""
    from art.estimators.pytorch import PyTorchEstimator

    class Segmentation(PyTorchEstimator):
        input_shape = (3, *segmenter.input_size)
        device = segmenter.device

        def compute_loss(self, x: torch.Tensor, y: Sequence[dict[str, torch.Tensor]], **_: object) -> torch.Tensor:
            truth = torch.stack([target["labels"] for target in y]).long()
            return F.cross_entropy(segmenter.logits(segmenter.normalize(x / 255)), truth, ignore_index=UNLABELLED)

        def loss_gradient(self, x: np.ndarray, y: object, **_: object) -> np.ndarray:
            raise NotImplementedError

        def get_activations(self, x: np.ndarray, layer: object, batch_size: int, framework: bool = False) -> np.ndarray:
            raise NotImplementedError

    return Segmentation(model=segmenter.network, clip_values=(0.0, 255.0), channels_first=True, device_type="cpu")


@dataclass(frozen=True)
class Rung:
    """What a patch does after so many steps.

    Attributes:
        steps: in all.
        seconds: of processor time that they took.
        damage: mIoU clean - attacked, outside of the patch.
    """

    steps: int
    seconds: float
    damage: float


def attacks(segmenter: Segmenter, stack: FrameStack, most: int) -> dict[str, OwnAttack | ArtAttack]:
    """All of them by name, before their first step."""
    own = {"ours, quick": {}} | {f"ours, {name}": FAST | ATTACKERS[name] for name in ("grouped", "apgd margin")}
    own["PatchAttackTool, as described"] = DESCRIBED
    recipe = replace(OWN, steps=most)
    started: dict[str, OwnAttack | ArtAttack] = {
        name: OwnAttack(segmenter, stack, replace(recipe, **changed)) for name, changed in own.items()
    }
    for share in ADAM_SHARES:
        started[f"ART, Adam, {share:.3f}"] = ArtAttack(segmenter, stack, "Adam", share)
    return started | {f"ART, PGD, {PGD_SHARE:.3f}": ArtAttack(segmenter, stack, "pgd", PGD_SHARE)}


def measure(
    segmenter: Segmenter, learned: Sequence[LabeledFrame], unseen: Sequence[LabeledFrame], rungs: Sequence[int]
) -> dict[str, list[Rung]]:
    """The course of each attack; they take turns."""
    stack = stack_frames(segmenter, [(frame.image, frame.labels) for frame in learned])
    running, judged = attacks(segmenter, stack, rungs[-1]), clean_segmented(segmenter, unseen)
    found: dict[str, list[Rung]] = {name: [] for name in running}
    with progress(f"Attacking {segmenter.name}", "steps", len(running) * rungs[-1]) as advance:
        for before, steps in zip((0, *rungs), rungs, strict=False):
            for name, attack in running.items():
                begun = time.process_time()
                attack.go_on(steps - before)
                seconds = time.process_time() - begun + (found[name][-1].seconds if found[name] else 0.0)
                found[name].append(Rung(steps, seconds, damage(segmenter, judged, attack.patch)))
                advance(steps - before, note=name)
    return found


def damage(segmenter: Segmenter, judged: Sequence[tuple[LabeledFrame, np.ndarray]], patch: np.ndarray) -> float:
    """What a patch takes of the mIoU of the undefended network."""
    shown = attacked_frames(judged, patch)
    clean = recorded(segmenter, shown, lambda frame: Verdict.unmasked(frame.clean))
    return clean.miou() - recorded(segmenter, shown, undefended(segmenter)).miou()


def damage_at(course: Sequence[Rung], seconds: float) -> float:
    """The damage after so much processor time, between the rungs around it; the last one where there is none behind."""
    return float(np.interp(seconds, [0.0, *(r.seconds for r in course)], [0.0, *(r.damage for r in course)]))


def table(found: dict[str, dict[str, list[Rung]]]) -> str:
    """All attacks on all networks as markdown."""
    rows = []
    for network, courses in found.items():
        shortest = min(course[-1].seconds for course in courses.values())
        for name, course in courses.items():
            curve = ", ".join(f"{rung.steps}: {cell(rung.damage)}" for rung in course)
            pace = f"{course[-1].steps / course[-1].seconds:.2f}"
            rows.append((network, name, pace, curve, f"{cell(damage_at(course, shortest))} after {shortest:.0f} s"))
    columns = ("network", "attack", "steps a second", "damage after steps", "damage after the same time")
    return markdown_table(columns, rows)


@click.command(help=__doc__)
@click.option("--steps", default="30,60,120,240", show_default=True, help="At which the patches are judged.")
@click.option("--every", default=1, show_default=True, help="Take each n-th frame.")
@click.option("--network", "networks", multiple=True, default=NETWORKS, show_default=True, help="Repeatable.")
@click.option("--docs", type=click.Path(path_type=Path), default=DOCUMENT, show_default=True, help="Gets the table.")
def main(steps: str, every: int, networks: tuple[str, ...], docs: Path) -> None:
    """Measure, and write the table."""
    set_up_torch(seed=0)
    # ART draws from numpy's global state.
    np.random.seed(0)  # noqa: NPY002
    torch.set_num_threads(1)
    MARKS.check(docs)
    learned, unseen = camvid_frames("train")[::2][::TEST_EVERY], camvid_frames("val")[:: TEST_EVERY * every]
    rungs = [int(number) for number in steps.split(",")]
    found: dict[str, dict[str, list[Rung]]] = {}
    about = f"ART {version('adversarial-robustness-toolbox')}, torch {torch.__version__}, processor time of one thread."
    for name in networks:
        found[name] = measure(load_segmenter(name, "cpu"), learned, unseen, rungs)
        MARKS.write(docs, f"{about}\n\n{table(found)}")
        click.echo(table(found))


if __name__ == "__main__":
    main()
