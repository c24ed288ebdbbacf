"""The patches of an evaluation: how they are trained, and how they are put into test frames."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zmask_ros.attacks import AttackFrame, EotRanges, PatchResult, Recipe, Step, paste_at_random, train_patch
from zmask_ros.defense import Profile
from zmask_ros.evaluation.metrics.records import TestFrame, without
from zmask_ros.evaluation.protocol.frames import Scene
from zmask_ros.segmenters import Segmenter


@dataclass(frozen=True)
class TestSet:
    """Test scenes with what the undefended network sees in them.

    Attributes:
        scenes: The scenes, in order.
        clean: The network's labels of each, uint8 [H, W].
    """

    __test__ = False

    scenes: Sequence[Scene]
    clean: Sequence[np.ndarray]

    def truth(self, index: int) -> np.ndarray:
        """The labels of a scene; where it has none, the network's labels of it while it is clean."""
        labels = self.scenes[index].labels
        return self.clean[index] if labels is None else labels

    def frames(
        self, chosen: Sequence[int], change: Callable[[int], tuple[np.ndarray, np.ndarray]]
    ) -> Iterator[TestFrame]:
        """The chosen scenes, each with the image and the hidden pixels that ``change`` makes of its index."""
        for index in chosen:
            image, hidden = change(index)
            scene = self.scenes[index]
            truth = without(self.truth(index), hidden)
            yield TestFrame(scene.name, scene.drive, image, truth, hidden, self.clean[index])


def train(
    segmenter: Segmenter,
    scenes: Sequence[Scene],
    recipe: Recipe,
    profile: Profile,
    progress: Callable[[Step], None],
    state: Path | None = None,
    start: Tensor | None = None,
) -> PatchResult:
    """Optimize patches over ``scenes`` from ``start``; with a ``state`` file it resumes where it was interrupted."""
    frames: list[AttackFrame] = [(scene.image, scene.labels) for scene in scenes]
    result = train_patch(segmenter, frames, recipe, progress, profile=profile, state=state, start=start)
    if state is not None:
        state.unlink(missing_ok=True)
    return result


def paste(
    scene: Scene, patches: np.ndarray, seen: EotRanges, segmenter: Segmenter, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """``scene`` with the patches in it: image uint8 [H, W, 3] and the patches' pixels, bool [H, W].

    Where they are depends only on the scene's name and on ``seed``: all patches of one size are seen alike.
    """
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed}:{scene.name}".encode()))
    larger = scene.image.shape[0] / segmenter.input_size[0]
    ranges = replace(seen, scale=(seen.scale[0] * larger, seen.scale[1] * larger))
    return paste_at_random(scene.image, patches, ranges, generator)
