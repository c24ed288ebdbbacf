"""What the calibration learns from: the evidence of frames with adversarial, with harmless and without patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from zmask_ros.defense.analysis import Evidence

# Of a negative frame's cells, the share that is looked at as its hottest.
HOTTEST_SHARE = 0.01
COVERED = 0.5


@dataclass(frozen=True)
class Examples:
    """Evidence of N frames, with what is true of them, on the working grid.

    A frame holds an adversarial patch, or a harmless one, or none.

    Attributes:
        shallow, deep: H_S and H_D, [N, 1, h, w], at least 0.
        truth: share of each cell that an adversarial patch covers, [N, 1, h, w], 0..1.
        harmless: the same of a harmless patch.
        scene: int [N]: examples of the same number were made from the same clean frame.
        learned: whether the evidence is an evidence head's.
    """

    shallow: Tensor
    deep: Tensor
    truth: Tensor
    harmless: Tensor
    scene: Tensor
    learned: bool = False

    @staticmethod
    def stack(
        evidences: Sequence[Evidence],
        truths: Sequence[Tensor],
        harmless: Sequence[Tensor],
        scenes: Sequence[int],
        learned: bool = False,
    ) -> Examples:
        """Examples of evidences and coverages of one frame each, [1, 1, h, w]."""
        shallow, deep = torch.cat([e.shallow for e in evidences]), torch.cat([e.deep for e in evidences])
        coverages = torch.cat(list(truths)), torch.cat(list(harmless))
        return Examples(shallow.float(), deep.float(), *coverages, torch.tensor(scenes), learned)

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def attacked(self) -> Tensor:
        """bool [N]: frames with an adversarial patch."""
        return self.truth.amax((-3, -2, -1)) > 0

    @property
    def disguised(self) -> Tensor:
        """bool [N]: frames with a harmless patch."""
        return self.harmless.amax((-3, -2, -1)) > 0

    @property
    def clean(self) -> Tensor:
        """bool [N]: frames without any patch."""
        return ~(self.attacked | self.disguised)

    @property
    def hottest(self) -> Tensor:
        """bool [N, 1, h, w]: in frames without an adversarial patch, the cells with the most shallow heat."""
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
