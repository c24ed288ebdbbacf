"""The evidence head: which channels count, learned against attackers who adapt to it.

Z-Mask takes the mean over all channels of a layer (Eq. 2), so an attacker who keeps most of them in range has won. The
head sees the same quantities, the z-score of each channel after box pooling and the energy of its z-scores, in several
layers at once, and weighs them: a linear map of every cell of the working grid to a few hidden values, two small
convolutions that see what surrounds a cell, since a patch has parts that over-activate nothing by themselves, and a
linear map of both. All of it is differentiable, so that attacks go through it; adversarial training trains it against
such attacks.

From the features f of `head_features`, the heat of a cell is this (equations H4 to H6 of docs/method.md):

    h = relu(inner f + inner_bias)
    c = relu(far * relu(near * h + near_bias) + far_bias)    with * a convolution
    heat = softplus(outer [h, c] + outer_bias)
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zmask_ros.defense.evidence.descriptors import DescriptorFeatures
from zmask_ros.defense.evidence.feature_kind import FeatureKind
from zmask_ros.defense.evidence.grid import resample
from zmask_ros.defense.evidence.head_features import HeadFeatures
from zmask_ros.defense.evidence.overactivation import Activations, Branch

HIDDEN = 32
"""Number of hidden values of a cell that come from its own features."""
CONTEXT = 16
"""Number of hidden values of a cell that come from what surrounds it."""
DILATIONS = (2, 4)
"""Dilations of the two convolutions over 3 x 3 cells: together they see 13 x 13."""
SCORED_SHARE = 0.03
"""Share of the cells of the working grid whose mean heat, the hottest, is the score: a small patch, but more than a
traffic sign."""
PRIOR = 0.05
"""Probability of a patch that an untrained head gives every cell."""


@dataclass(frozen=True)
class Head:
    """A head's layers and weights, as a profile keeps them.

    Attributes:
        branch: its layers with kernels.
        kind: what it sees of them.
        inner: float [HIDDEN, F], weights of the F features, in the order of `HeadFeatures`.
        inner_bias: float [HIDDEN].
        near, near_bias: of the first convolution, float [CONTEXT, HIDDEN, 3, 3] and [CONTEXT].
        far, far_bias: of the second one, float [CONTEXT, CONTEXT, 3, 3] and [CONTEXT].
        outer: float [HIDDEN + CONTEXT].
        outer_bias: float [1].
    """

    branch: Branch
    kind: FeatureKind
    inner: Tensor
    inner_bias: Tensor
    near: Tensor
    near_bias: Tensor
    far: Tensor
    far_bias: Tensor
    outer: Tensor
    outer_bias: Tensor

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The weights by name."""
        return {name: getattr(self, name) for name in WEIGHTS}

    @property
    def transfers(self) -> bool:
        """Whether it is not bound to a network: it was trained on others."""
        return not self.kind.of_channels

    @property
    def digest(self) -> str:
        """SHA-256 of its layers and weights, hexadecimal."""
        digest = hashlib.sha256(f"{self.kind.value} {self.branch}".encode())
        for tensor in self.tensors.values():
            digest.update(tensor.float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


Features = HeadFeatures | DescriptorFeatures
"""What a head sees: groups of features, each on a grid of its own."""
WEIGHTS = tuple(entry.name for entry in fields(Head) if entry.name not in ("branch", "kind"))
"""Names of the weights of a head, in the order of its fields."""


def untrained_head(branch: Branch, features: int, seed: int, kind: FeatureKind = FeatureKind.ENERGIES) -> Head:
    """A head with random weights.

    Args:
        branch: its layers with kernels.
        features: number of features that it takes.
        seed: of the random weights.
        kind: what it sees of its layers.
    """
    generator = torch.Generator().manual_seed(seed)

    def weights(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) * (2 / math.prod(shape[1:])) ** 0.5

    seen = HIDDEN + CONTEXT
    return Head(
        branch,
        kind,
        inner=weights(HIDDEN, features),
        inner_bias=torch.zeros(HIDDEN),
        near=weights(CONTEXT, HIDDEN, 3, 3),
        near_bias=torch.zeros(CONTEXT),
        far=weights(CONTEXT, CONTEXT, 3, 3),
        far_bias=torch.zeros(CONTEXT),
        outer=torch.randn(seen, generator=generator) * (1 / seen) ** 0.5,
        outer_bias=torch.logit(torch.tensor([PRIOR])),
    )


class EvidenceHead(nn.Module):
    """A heat map, at least 0, from the taps of one forward pass.

    `1 - exp(-heat)` is the probability that a cell shows a patch.

    Args:
        head: layers and weights.
        features: of the layers of ``head``.
    """

    inner: Tensor
    inner_bias: Tensor
    near: Tensor
    near_bias: Tensor
    far: Tensor
    far_bias: Tensor
    outer: Tensor
    outer_bias: Tensor

    def __init__(self, head: Head, features: Features) -> None:
        super().__init__()
        self.branch, self.kind = head.branch, head.kind
        self.features = features
        for name, weights in head.tensors.items():
            self.register_parameter(name, nn.Parameter(weights.float().clone(), requires_grad=False))

    def forward(self, taps: Activations) -> Tensor:
        """The heat map [B, 1, *grid] of the activations of the head's layers."""
        return self.heat(group(taps) for group in self.features.groups)

    def seen(self, taps: Activations) -> list[Tensor]:
        """What the heat is computed from, whatever the weights are: of each group of features [B, C, h, w]."""
        return self.features.seen(taps)

    def heat_of_seen(self, seen: Sequence[Tensor]) -> Tensor:
        """The heat map [B, 1, *grid] of what `seen` gave."""
        return self.heat(self.features.of_seen(seen))

    def heat(self, groups: Iterable[list[Tensor]]) -> Tensor:
        """The heat map [B, 1, *grid] of the features of all groups, each in several parts [B, C_i, h, w]."""
        # Linear maps and interpolation commute, constants as well: the few hidden maps are resized, not many features.
        bias = self.inner_bias / len(self.features.groups)
        weighted = zip(self.inner.split(self.features.counts, 1), groups, strict=True)
        first, *others = [resample(linear(parts, w, bias), self.features.grid) for w, parts in weighted]
        hidden = sum(others, first).relu_()
        near = _dilated_convolution(hidden, self.near, self.near_bias, DILATIONS[0])
        context = _dilated_convolution(near, self.far, self.far_bias, DILATIONS[1])
        return F.softplus(linear([hidden, context], self.outer[None], self.outer_bias))


def _dilated_convolution(x: Tensor, weights: Tensor, bias: Tensor, dilation: int) -> Tensor:
    """A convolution of [B, C, h, w] over 3 x 3 cells that keeps its size, with zeros beyond the border; at least 0."""
    return F.conv2d(x, weights, bias, padding=dilation, dilation=dilation).relu_()


def linear(parts: list[Tensor], weights: Tensor, bias: Tensor) -> Tensor:
    """A linear map of the channels of every cell.

    It is computed by products of matrices, which channels-last maps are already; a convolution would join them first.

    Args:
        parts: whose channels are mapped together, each [B, C_i, h, w].
        weights: [K, sum of C_i].
        bias: [K].

    Returns:
        [B, K, h, w].
    """
    batch, _, height, width = parts[0].shape
    first, *others = [part.permute(0, 2, 3, 1).flatten(0, 2) for part in parts]
    weight, *weights_of_others = [piece.T for piece in weights.split([part.shape[1] for part in parts], 1)]
    mapped = torch.addmm(bias, first, weight)
    for other, weight in zip(others, weights_of_others, strict=True):
        mapped.addmm_(other, weight)
    return mapped.view(batch, height, width, -1).permute(0, 3, 1, 2)


def head_score(heat: Tensor) -> Tensor:
    """The score [B] of heat maps [B, 1, h, w]: mean heat of the hottest `SCORED_SHARE` of the cells, at least 0.

    The mean over the mask of Eq. 6 would let one hot traffic sign weigh as much as a patch.
    """
    cells = heat.flatten(1)
    return cells.topk(max(1, round(SCORED_SHARE * cells.shape[1])), dim=1).values.mean(1)
