"""Train the fusion block on patches of graded strength (Z-Mask, AAAI 2023, Section 4) and on negatives.

The paper minimizes the pixels' cross-entropy with Adam over frames with patches. Here frames with benign patches and
with none count as much, and the gate has a loss of its own: shallow heat that deep layers do not share must not pass.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from zmask_ros.defense.evidence.fusion import NUM_SCALARS, deep_gate, soft_mask
from zmask_ros.progress import Advance, no_advance
from zmask_ros.training.examples import COVERED, Examples

LEARNING_RATE = 0.01
EPOCHS = 250
GATE_WEIGHT = 0.25
MOST_PIXELS = 40_000
BATCH_PIXELS = 4096
# Starts differ from the given one by this much, as deviations of the logarithm of the w and of the b.
START_SPREAD = 0.2
SMALLEST = 1e-6


@dataclass(frozen=True)
class Pixels:
    """Cells of the working grid, one a row; all [P].

    Attributes:
        shallow, deep: H_S and H_D.
        truth: share of the cell that an adversarial patch covers.
        mask_weight: weight in the loss of the mask.
        gate_weight: weight in the loss of the gate.
    """

    shallow: Tensor
    deep: Tensor
    truth: Tensor
    mask_weight: Tensor
    gate_weight: Tensor

    def where(self, rows: Tensor) -> Pixels:
        """The cells in ``rows``, indices [Q]."""
        return Pixels(*(getattr(self, column.name)[rows] for column in fields(self)))


def train_fusion(
    pixels: Pixels,
    start: Tensor,
    seed: int,
    epochs: int = EPOCHS,
    advance: Advance = no_advance,
) -> Tensor:
    """Scalars [8] of a fusion block for ``pixels``, from `balanced_pixels`.

    All four w stay positive, so that more heat opens the block further: the growth of the mask relies on that.

    Args:
        start: float [8], with positive w, such as `clean_fusion` gives; seeds above 0 begin somewhere near it.
        seed: of the start and of the order of the cells.
        epochs: passes over the cells, at least 1.
        advance: counts epochs.
    """
    generator = torch.Generator().manual_seed(seed)
    kept = pixels.where(torch.randperm(len(pixels.truth), generator=generator)[:MOST_PIXELS])
    jitter = START_SPREAD * torch.randn(NUM_SCALARS, generator=generator) * (seed > 0)
    free = (_to_free(start) + jitter).requires_grad_()
    optimizer = torch.optim.Adam([free], lr=LEARNING_RATE)
    for _ in range(epochs):
        for rows in torch.randperm(len(kept.truth), generator=generator).split(BATCH_PIXELS):
            optimizer.zero_grad()
            training_loss(_to_scalars(free), kept.where(rows)).backward()
            optimizer.step()
        advance()
    return _to_scalars(free).detach()


def balanced_pixels(examples: Examples, patch_share: float = 0.5) -> Pixels:
    """All cells, weighted: ``patch_share`` of the weight lies on patches.

    The rest of attacked frames, clean frames and benign ones have equal parts of what is left.

    For the gate the weight lies on patches and on the hottest cells of frames without one, half and half.

    Args:
        patch_share: 0..1, exclusive; the less, the more certain the block must be before it opens.

    Raises:
        ValueError: there are no attacked frames, or no others.
    """
    if not bool(examples.attacked.any()) or not bool((~examples.attacked).any()):
        raise ValueError("the fusion block is trained on attacked frames and on others; one of the two is missing")
    truth = examples.truth
    kinds = (examples.attacked, examples.clean, examples.with_benign)
    groups = [(1 - truth) * chosen[:, None, None, None] for chosen in kinds if bool(chosen.any())]
    others = torch.stack([group / group.sum() for group in groups]).mean(0)
    mask_weight = patch_share * truth / truth.sum() + (1 - patch_share) * others
    patch, hottest = (truth > COVERED).float(), examples.hottest.float()
    gate_weight = patch / patch.sum().clamp_min(1) + hottest / hottest.sum()
    columns = (examples.shallow, examples.deep, truth, mask_weight, gate_weight / 2)
    return Pixels(*(column.flatten() for column in columns))


def training_loss(scalars: Tensor, pixels: Pixels) -> Tensor:
    """Cross-entropy of the mask, plus ``GATE_WEIGHT`` times that of the gate; a scalar, differentiable."""
    gate = deep_gate(scalars, pixels.deep)
    of_mask = _mask_loss(scalars, pixels, gate)
    inside = (pixels.truth > COVERED).to(gate)
    of_gate = (_cross_entropy(gate, inside) * pixels.gate_weight).sum() / pixels.gate_weight.sum().clamp_min(SMALLEST)
    return of_mask + GATE_WEIGHT * of_gate


def mask_loss(scalars: Tensor, pixels: Pixels) -> float:
    """Cross-entropy of the mask alone, weighted as ``pixels`` are; a mask of one half everywhere has 0.69."""
    return float(_mask_loss(scalars, pixels, deep_gate(scalars, pixels.deep)))


def _mask_loss(scalars: Tensor, pixels: Pixels, gate: Tensor) -> Tensor:
    mask = soft_mask(scalars, pixels.shallow, gate)
    return (_cross_entropy(mask, pixels.truth) * pixels.mask_weight).sum() / pixels.mask_weight.sum()


def _cross_entropy(probability: Tensor, truth: Tensor) -> Tensor:
    kept = probability.clamp(SMALLEST, 1 - SMALLEST)
    return -(truth * kept.log() + (1 - truth) * (1 - kept).log())


def _to_free(scalars: Tensor) -> Tensor:
    """The w by their logarithms, so that descent cannot make them negative; the b as they are."""
    return torch.stack([scalars[0::2].clamp_min(SMALLEST).log(), scalars[1::2]], 1).flatten()


def _to_scalars(free: Tensor) -> Tensor:
    return torch.stack([free[0::2].exp(), free[1::2]], 1).flatten()
