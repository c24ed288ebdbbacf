"""From clean drives in bags to a profile: what is fitted by default, and the one streaming pass that fits it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np
import torch

from zmask_ros import __version__
from zmask_ros.defense import (
    ActivationTaps,
    Branch,
    CleanFit,
    Growth,
    Plan,
    Profile,
    ProfileError,
    Source,
    bind,
    working_grid,
)
from zmask_ros.defense.pooling import nearest_odd
from zmask_ros.segmenters import Segmenter

GRID_FRACTION = 8
# Shares of the image's height and width. The reference cascades four kernels, 0.43 to 0.05, on S: their product falls
# off towards the patch's border. Two on S, of which the last is one grid cell, keep it sharp.
SHALLOW_KERNELS = (0.11, 0.0)
DEEP_KERNELS = (0.11,)
GROWTH_SHARE = 0.3
CLOSING = 0.14
BLANK_SPREAD = 2.0
MAX_BLANK_SHARE = 0.5


def default_plan(segmenter: Segmenter) -> Plan:
    """Layer sets and kernels for ``segmenter``.

    Raises:
        LayerError: its description names a layer that the network does not have.
    """
    grid = working_grid(segmenter.input_size, GRID_FRACTION)

    def kernels(shares: tuple[float, ...]) -> tuple[tuple[int, int], ...]:
        return tuple((nearest_odd(share * grid[0]), nearest_odd(share * grid[1])) for share in shares)

    shallow = Branch(segmenter.description.shallow_layers, kernels(SHALLOW_KERNELS))
    deep = Branch(segmenter.description.deep_layers, kernels(DEEP_KERNELS))
    closing = nearest_odd(CLOSING * grid[0])
    growth = Growth(GROWTH_SHARE, (closing, closing))
    return Plan(bind(segmenter, shallow.layers + deep.layers), shallow, deep, growth, GRID_FRACTION, grid)


@dataclass(frozen=True)
class CleanFrame:
    """One frame of a clean drive: bag and topic name the drive, ``index`` counts its frames from 0.

    ``image`` is uint8 [H, W, 3] RGB of any size.
    """

    bag: str
    topic: str
    index: int
    image: np.ndarray


class ProfileFit:
    """Takes clean frames one after the other; memory does not grow with their number."""

    def __init__(self, segmenter: Segmenter, plan: Plan) -> None:
        self._segmenter = segmenter
        self._fit = CleanFit(plan)
        self._taps = ActivationTaps(segmenter.network, tuple(plan.binding.shapes))
        self._used: Counter[tuple[str, str]] = Counter()
        self._held_out: Counter[tuple[str, str]] = Counter()
        self._blank = 0

    @torch.inference_mode()
    def add(self, frame: CleanFrame) -> None:
        """Take one frame: preprocessing, one forward pass, statistics."""
        with self._taps as taps:
            self._segmenter.logits(self._segmenter.prepare(frame.image))
            self._fit.add(taps, frame.index)
        counter = self._held_out if CleanFit.is_held_out(frame.index) else self._used
        counter[frame.bag, frame.topic] += 1
        self._blank += bool(frame.image[::8, ::8].std() < BLANK_SPREAD)

    def add_all(self, frames: Iterable[CleanFrame]) -> None:
        """Take all of ``frames``."""
        for frame in frames:
            self.add(frame)

    def finish(self, false_alarm_rate: float) -> Profile:
        """The profile of all frames so far.

        Raises:
            ProfileError: too few frames, or frames in which there is nothing to see.
        """
        drives = dict.fromkeys([*self._used, *self._held_out])
        frames = self._used.total() + self._held_out.total()
        if self._blank > MAX_BLANK_SHARE * frames:
            raise ProfileError(
                f"{self._blank} of {frames} frames are one uniform colour: was the camera covered? "
                "Fit on drives that show the road."
            )
        sources = tuple(Source(*drive, frames=self._used[drive], held_out=self._held_out[drive]) for drive in drives)
        created = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return self._fit.finish(false_alarm_rate, sources, created, __version__)
