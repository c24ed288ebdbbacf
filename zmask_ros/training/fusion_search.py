"""Train several fusion blocks and keep the one that would help most.

How much the cells of patches weigh against all others decides how sure a block must be before it opens. Pixels alone
cannot say what is right: a block that opens early also opens on clean frames and blurs the score; one that opens late
leaves the mask to its growth. So blocks of several weights are trained, and frames decide.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zmask_ros.defense.masking.growth import Growth
from zmask_ros.defense.masking.mask_edge import EDGE_BAND
from zmask_ros.progress import Advance, no_advance
from zmask_ros.training.examples import Examples
from zmask_ros.training.fusion import EPOCHS, balanced_pixels, train_fusion
from zmask_ros.training.metrics import frame_scores, mean_iou
from zmask_ros.training.plans import SOLID

PATCH_SHARES = (0.3, 0.1, 0.03, 0.01, 0.003)
SEEDS = 2
GROWTH_SHARES = (0.3, 0.6, 1.0)
CLOSINGS = (1, 3, 7, 11)
REACHES = (1.0, 0.1, 0.05, 0.03, 0.02)
SELECT_EVERY = 4
SELECTED_ATTACKS = 48
TRAININGS = len(PATCH_SHARES) * SEEDS


@dataclass(frozen=True)
class FusionCandidate:
    """A fusion block with the growth that suits it.

    Attributes:
        scalars: float [8].
        growth: how far its mask grows.
        expected_iou: mean intersection over union of mask and patch over attacked frames, 0..1; a frame that would not
            be masked counts 0, and what refinement cuts off does not count.
        patch_share: weight of patches that it was trained with; 0 where it was not trained.
    """

    scalars: Tensor
    growth: Growth
    expected_iou: float
    patch_share: float


def candidate_growths(growth: Growth) -> tuple[Growth, ...]:
    """What is tried for a block: all shares, closings and reaches, with rectangle completion, and ``growth`` itself."""
    tried = itertools.product(GROWTH_SHARES, CLOSINGS, REACHES)
    return (growth, *(Growth(share, (window, window), reach, growth.edge, SOLID) for share, window, reach in tried))


def search_fusion(
    examples: Examples,
    untrained: Sequence[Tensor],
    tried: Sequence[Growth],
    masked_rate: float = 0.0,
    advance: Advance = no_advance,
    epochs: int = EPOCHS,
) -> tuple[FusionCandidate, ...]:
    """Fusion blocks for ``examples``, that with the highest `expected_iou` first; those ``untrained`` are among them.

    Every fourth scene, with all that was made of it, takes no part in the training and decides.

    Args:
        examples: attacked and clean ones, of at least ``SELECT_EVERY`` scenes.
        untrained: float [8] each; training starts from the first one.
        tried: growths for each block; the first one goes with the first untrained block.
        masked_rate: share of clean frames that may be masked, 0..1: a frame that scores lower is not.
        advance: counts epochs, `TRAININGS` times ``epochs`` in all.
        epochs: of each training.
    """
    selecting = examples.scene % SELECT_EVERY == SELECT_EVERY - 1
    training, deciding = examples.where(~selecting), examples.where(selecting)
    start, *others = untrained
    blocks = [_best_growth(start, tried[:1], deciding, masked_rate, 0.0)]
    blocks += [_best_growth(other, tried, deciding, masked_rate, 0.0) for other in others]
    for patch_share in PATCH_SHARES:
        pixels = balanced_pixels(training, patch_share)
        for seed in range(SEEDS):
            scalars = train_fusion(pixels, start, seed, epochs, advance)
            blocks.append(_best_growth(scalars, tried, deciding, masked_rate, patch_share))
    return tuple(sorted(blocks, key=lambda block: block.expected_iou, reverse=True))


@torch.inference_mode()
def _best_growth(
    scalars: Tensor, tried: Sequence[Growth], deciding: Examples, masked_rate: float, weight: float
) -> FusionCandidate:
    scores = frame_scores(scalars, deciding)
    attacks = deciding.attacked.nonzero().flatten()[:SELECTED_ATTACKS]
    found = scores[attacks] > scores[deciding.clean].quantile(1 - masked_rate)
    attacked = deciding.where(attacks)
    ious = [mean_iou(scalars, growth, attacked, found, 0 if growth.edge is None else EDGE_BAND) for growth in tried]
    best = max(range(len(tried)), key=ious.__getitem__)
    return FusionCandidate(scalars, tried[best], ious[best], weight)
