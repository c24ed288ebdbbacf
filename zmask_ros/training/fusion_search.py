"""Train several fusion blocks and keep the one that would help most.

How much the cells of patches weigh against all others decides how sure a block must be before it opens. Pixels alone
cannot say what is right: a block that opens early also opens on clean frames and blurs the score; one that opens late
leaves the mask to its growth. So blocks of several weights are trained, and frames decide.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zmask_ros.defense.masking.growth import Growth
from zmask_ros.defense.masking.mask_edge import EDGE_BAND
from zmask_ros.training.examples import Examples
from zmask_ros.training.figures import frame_scores, mean_iou
from zmask_ros.training.fusion import EPOCHS, balanced_pixels, train_fusion

PATCH_SHARES = (0.3, 0.1, 0.03, 0.01, 0.003)
SEEDS = 2
GROWTH_SHARES = (0.3, 0.6, 1.0)
CLOSINGS = (1, 3, 7, 11)
REACHES = (1.0, 0.1, 0.05, 0.03, 0.02)
SOLID = 0.4
SELECT_EVERY = 4
SELECTED_ATTACKS = 48
RUNS = len(PATCH_SHARES) * SEEDS
TRAINING_STEPS = RUNS * EPOCHS


@dataclass(frozen=True)
class Block:
    """A fusion block with the growth that suits it.

    Attributes:
        scalars: float [8].
        growth: how far its mask grows.
        worth: mean overlap of mask and patch over attacked frames, where one counts 0 that would not be masked; what
            refinement cuts off does not count; 0..1.
        patch_share: weight of patches that it was trained with; 0 where it was not trained.
    """

    scalars: Tensor
    growth: Growth
    worth: float
    patch_share: float


def growths(growth: Growth) -> tuple[Growth, ...]:
    """What is tried for a block: growths of all shares, closings and reaches, completed, and ``growth`` itself."""
    tried = itertools.product(GROWTH_SHARES, CLOSINGS, REACHES)
    return (growth, *(Growth(share, (window, window), reach, growth.edge, SOLID) for share, window, reach in tried))


def choose_block(
    examples: Examples,
    untrained: Sequence[Tensor],
    tried: Sequence[Growth],
    masked_rate: float = 0.0,
    progress: Callable[[], None] = lambda: None,
    epochs: int = EPOCHS,
) -> tuple[Block, ...]:
    """Blocks for ``examples``, the most worthy first; those ``untrained`` are among them.

    Every fourth scene, with all that was made of it, takes no part in the training and decides on the worth.

    Args:
        examples: attacked and clean ones, of at least ``SELECT_EVERY`` scenes.
        untrained: float [8] each; training starts from the first one.
        tried: growths for each block; the first one goes with the first untrained block.
        masked_rate: share of clean frames that may be masked, 0..1: a frame that scores lower is not.
        progress: called ``TRAINING_STEPS`` times.
        epochs: of each training.
    """
    selecting = examples.scene % SELECT_EVERY == SELECT_EVERY - 1
    training, judging = examples.where(~selecting), examples.where(selecting)
    start, *others = untrained
    blocks = [_best_growth(start, tried[:1], judging, masked_rate, 0.0)]
    blocks += [_best_growth(other, tried, judging, masked_rate, 0.0) for other in others]
    for patch_share in PATCH_SHARES:
        pixels = balanced_pixels(training, patch_share)
        for seed in range(SEEDS):
            scalars = train_fusion(pixels, start, seed, epochs, progress)
            blocks.append(_best_growth(scalars, tried, judging, masked_rate, patch_share))
    return tuple(sorted(blocks, key=lambda block: block.worth, reverse=True))


@torch.inference_mode()
def _best_growth(
    scalars: Tensor, tried: Sequence[Growth], judging: Examples, masked_rate: float, weight: float
) -> Block:
    scores = frame_scores(scalars, judging)
    attacks = judging.attacked.nonzero().flatten()[:SELECTED_ATTACKS]
    found = scores[attacks] > scores[judging.clean].quantile(1 - masked_rate)
    attacked = judging.where(attacks)
    worths = [mean_iou(scalars, growth, attacked, found, 0 if growth.edge is None else EDGE_BAND) for growth in tried]
    best = max(range(len(tried)), key=worths.__getitem__)
    return Block(scalars, tried[best], worths[best], weight)
