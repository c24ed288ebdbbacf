"""What a calibration learns from: the evidence of frames with an adversarial, with a benign and without a patch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from zmask_ros.attacks import EotRanges, paste_at_random
from zmask_ros.data.textures.benign import KINDS, benign_pictures
from zmask_ros.defense import Defense, Profile
from zmask_ros.defense.analyzer import Evidence
from zmask_ros.progress import Progress, silent
from zmask_ros.segmenters import Segmenter
from zmask_ros.training.division import IMAGES_A_FRAME, Split

HOTTEST_SHARE = 0.01
"""Share of the cells of a frame without a patch that count as its hottest."""
COVERED = 0.5
"""Share of a cell that a patch covers at least where the cell counts as the patch's."""
PASTED = EotRanges(scale=(0.4, 1.0))
BENIGN_PICTURES = 4 * len(KINDS)


@dataclass(frozen=True)
class Examples:
    """Evidence of N frames, with what is true of them, on the working grid.

    A frame holds an adversarial patch, or a benign one, or none.

    Attributes:
        shallow, deep: H_S and H_D, [N, 1, h, w], at least 0.
        truth: share of each cell that an adversarial patch covers, [N, 1, h, w], 0..1.
        benign: the same of a benign patch.
        scene: int [N]: examples of the same number were made from the same clean frame.
        learned: whether the evidence is an evidence head's.
    """

    shallow: Tensor
    deep: Tensor
    truth: Tensor
    benign: Tensor
    scene: Tensor
    learned: bool = False

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def attacked(self) -> Tensor:
        """Bool [N]: frames with an adversarial patch."""
        return self.truth.amax((-3, -2, -1)) > 0

    @property
    def with_benign(self) -> Tensor:
        """Bool [N]: frames with a benign patch."""
        return self.benign.amax((-3, -2, -1)) > 0

    @property
    def clean(self) -> Tensor:
        """Bool [N]: frames without any patch."""
        return ~(self.attacked | self.with_benign)

    @property
    def hottest(self) -> Tensor:
        """Bool [N, 1, h, w]: in frames without an adversarial patch, the cells with the most shallow heat."""
        cells = self.shallow.flatten(1)
        count = max(1, round(HOTTEST_SHARE * cells.shape[1]))
        least = cells.topk(count, dim=1).values[:, -1]
        return (self.shallow >= least[:, None, None, None]) & ~self.attacked[:, None, None, None]

    def where(self, frames: Tensor) -> Examples:
        """The examples of ``frames``, bool or indices [M]."""
        columns: dict[str, Any] = {column.name: getattr(self, column.name) for column in fields(self)}
        for name, values in columns.items():
            columns[name] = values[frames] if isinstance(values, Tensor) else values
        return Examples(**columns)


def make_examples(segmenter: Segmenter, profile: Profile, split: Split, progress: Progress = silent) -> Examples:
    """The evidence of each frame of ``split`` clean, with an adversarial and with a benign patch.

    Raises:
        ProfileError: the profile belongs to another network.
    """
    defense = Defense(segmenter, profile)
    evidences, truths, benign = [], [], []
    with progress("Looking", "images", split.images) as advance, torch.inference_mode():
        for example in example_images(split):
            evidence = defense.analyze(segmenter.prepare(example.image))[1].evidence
            evidences.append(Evidence(evidence.shallow.cpu(), evidence.deep.cpu()))
            truths.append(coverage(example.patch, profile.grid))
            benign.append(coverage(example.benign, profile.grid))
            advance()
    return Examples(
        shallow=torch.cat([evidence.shallow for evidence in evidences]).float(),
        deep=torch.cat([evidence.deep for evidence in evidences]).float(),
        truth=torch.cat(truths),
        benign=torch.cat(benign),
        scene=torch.arange(len(evidences)) // IMAGES_A_FRAME,
        learned=profile.detector.head is not None,
    )


@dataclass(frozen=True)
class ExampleImage:
    """An image, uint8 [h, w, 3] RGB, with the masks of its adversarial and of its benign patch, bool [h, w]."""

    image: np.ndarray
    patch: np.ndarray
    benign: np.ndarray


def example_images(split: Split) -> Iterator[ExampleImage]:
    """`IMAGES_A_FRAME` images of each frame: as it is, with an adversarial patch, and with a benign picture."""
    generator = torch.Generator().manual_seed(split.seed)
    size = (split.patches[0].picture.shape[0], split.patches[0].picture.shape[1])
    patches = [patch.picture for patch in split.patches]
    others = benign_pictures(BENIGN_PICTURES, size, split.frames, split.seed)

    def pasted(frame: np.ndarray, choices: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        drawn = int(torch.randint(len(choices), (1,), generator=generator))
        return paste_at_random(frame, choices[drawn], PASTED, generator)

    for frame in split.frames:
        nothing = np.zeros(frame.shape[:2], bool)
        attacked, patch = pasted(frame, patches)
        with_benign, benign = pasted(frame, others)
        yield ExampleImage(frame, nothing, nothing)
        yield ExampleImage(attacked, patch, nothing)
        yield ExampleImage(with_benign, nothing, benign)


def coverage(mask: np.ndarray, grid: tuple[int, int]) -> Tensor:
    """The share of each cell of ``grid`` that ``mask``, bool [h, w], covers: [1, 1, *grid], 0..1."""
    return F.adaptive_avg_pool2d(torch.from_numpy(mask).float()[None, None], grid)
