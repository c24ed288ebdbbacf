"""The benign side of an adversarial training: clean frames and benign pictures, of which the hardest come back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zmask_ros.attacks import EotRanges, paste_at_random
from zmask_ros.data.textures.benign import benign_pictures, in_other_light
from zmask_ros.defense import Defense
from zmask_ros.segmenters import Segmenter

BENIGN_VIEWS = EotRanges(scale=(0.6, 1.0))
BENIGN_SIDES = (0.2, 0.3, 0.4, 0.5)
"""Of benign pictures, as shares of the image's height."""
PICTURES_A_SIDE = 60
LEAST_SIDE = 16
"""In pixels."""
HARD_IMAGES = 16
"""Of each kind of benign images, that come back."""
FRESH_IMAGES = 2
"""Of each kind in a batch, that were drawn by chance and not because they are hard."""
REMEMBERED_SCORES = 200
"""Of fresh clean frames, that the threshold is taken from."""
LEAST_THRESHOLD = 0.02
UNCHANGED_SHARE = 0.7
"""Of the fresh frames, that are shown in the light in which they were taken."""


def benign_pictures_for(input_size: tuple[int, int], frames: Sequence[np.ndarray], seed: int) -> list[np.ndarray]:
    """Benign pictures, uint8 [n, n, 3] RGB, of all sizes that fit into images of ``input_size``: (height, width)."""
    sides = [max(LEAST_SIDE, round(share * input_size[0])) for share in BENIGN_SIDES]
    return [picture for n in sides for picture in benign_pictures(PICTURES_A_SIDE, (n, n), frames, seed + n)]


class HardExamples:
    """The worst images of one kind so far."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self._worst: list[tuple[float, np.ndarray]] = []

    def draw(self) -> np.ndarray | None:
        """One of them, once there are enough. It is scored anew, and goes if the head takes it for benign by now."""
        if len(self._worst) < HARD_IMAGES - 1:
            return None
        return self._worst.pop(int(self._random.integers(len(self._worst))))[1]

    def add(self, score: float, image: np.ndarray) -> None:
        """Keep the image if it is among the worst."""
        worst = [*self._worst, (score, image)]
        self._worst = sorted(worst, key=lambda entry: entry[0], reverse=True)[:HARD_IMAGES]

    def state(self) -> list[tuple[float, Tensor]]:
        """All of them, for `restore`."""
        return [(score, torch.from_numpy(image)) for score, image in self._worst]

    def restore(self, state: list[tuple[float, Tensor]]) -> None:
        """Take those of a `state` instead."""
        self._worst = [(score, image.numpy()) for score, image in state]


class BenignBatches:
    """Clean frames, also in other light, and benign pictures in them; the worst of both come back."""

    def __init__(
        self, segmenter: Segmenter, defense: Defense, frames: Sequence[np.ndarray], seed: int, masked_share: float
    ) -> None:
        self._segmenter, self._defense, self._frames = segmenter, defense, frames
        self._masked_share = masked_share
        self._random = np.random.default_rng(seed)
        self._places = torch.Generator().manual_seed(seed)
        self._pictures = benign_pictures_for(segmenter.input_size, frames, seed)
        self._hard = (HardExamples(self._random), HardExamples(self._random))
        self._shown: list[tuple[HardExamples, np.ndarray]] = []
        self._scores: list[float] = []

    def next(self) -> tuple[Tensor, Tensor]:
        """The next batch: heat [B, 1, h, w] of the next images, differentiable in the head, and scores [B]."""
        self._shown = [
            (hard, image)
            for hard, make in zip(self._hard, (self._frame, self._with_benign), strict=True)
            for image in (*(make() for _ in range(FRESH_IMAGES)), hard.draw(), hard.draw())
            if image is not None
        ]
        x = torch.cat([self._segmenter.prepare(image) for _, image in self._shown])
        with self._defense.taps as taps:
            with torch.no_grad():
                self._segmenter.logits(x)
            analysis = self._defense.analyzer(taps)
        return analysis.evidence.shallow, analysis.score.detach()

    def remember(self, scores: Tensor) -> float:
        """Take note of the last batch's scores; the threshold that adversaries have to stay below from now on.

        Few clean frames exceed it, whatever the hardest images do: adversaries have to go where a frame is not even
        masked as a precaution.
        """
        self._scores = [*self._scores, *scores[:FRESH_IMAGES].tolist()][-REMEMBERED_SCORES:]
        for score, (hard, image) in zip(scores.tolist(), self._shown, strict=True):
            hard.add(score, image)
        return max(LEAST_THRESHOLD, float(np.quantile(self._scores, 1 - self._masked_share)))

    def state(self) -> dict[str, Any]:
        """All that the next batch depends on, apart from the frames and the defense, for `restore`.

        To be written at once: the next batch changes it.
        """
        return {
            "random": self._random.bit_generator.state,
            "places": self._places.get_state(),
            "hard": [hard.state() for hard in self._hard],
            "scores": self._scores,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self._random.bit_generator.state = state["random"]
        self._places.set_state(state["places"])
        for hard, own in zip(self._hard, state["hard"], strict=True):
            hard.restore(own)
        self._scores = state["scores"]

    def _frame(self) -> np.ndarray:
        frame = self._frames[int(self._random.integers(len(self._frames)))]
        return frame if self._random.random() < UNCHANGED_SHARE else in_other_light(frame, self._random)

    def _with_benign(self) -> np.ndarray:
        picture = self._pictures[int(self._random.integers(len(self._pictures)))]
        return paste_at_random(self._frame(), picture, BENIGN_VIEWS, self._places)[0]
