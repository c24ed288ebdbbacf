"""How the terms of an attack are weighed against each other, and with how many backward passes.

The terms are combined linearly, so that the sum can be taken of their gradients or, with the same result, of their
losses before these are differentiated once. A term's gradient counts with the length 1 whatever its loss's scale is:
its own length has to be known, and it changes slowly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from zmask_ros.attacks.losses import gradient_of, raw_gradient

KEPT_LENGTH = 0.5
"""Share of a known length that stays when it is measured again."""
KEPT_SHARE = 0.9
"""Share of the running mean of images above the limit that stays at each step."""
TOLERATED = 0.05
"""Share of images above the limit at which the multiplier stays as it is."""
RATE = 0.15
"""How fast the multiplier's logarithm follows the violation, for each step."""
FIRST_MULTIPLIER, LEAST_MULTIPLIER, MOST_MULTIPLIER = 0.5, 0.01, 100.0


@dataclass
class Balance:
    """What the weights of an attack's terms have become in the course of its run.

    Attributes:
        lengths: of the terms' gradients, running means, by the terms' names; empty where each step measures them.
        multiplier: of the constraint on the score, see `observe`.
        above: running mean of the share of images above the constraint's limit, 0..1; None before the first step.
    """

    lengths: dict[str, float] = field(default_factory=dict)
    multiplier: float = FIRST_MULTIPLIER
    above: float | None = None

    def observe(self, share: float) -> None:
        """A step had this share of its images, 0..1, above the limit: dual ascent on the constraint's violation.

        The constraint is on a share, which has no slope, and the patch descends a hinge in its place (Cotter et al.,
        2019, call it a proxy constraint). The multiplier moves on a logarithmic scale: no step size has to be chosen.
        """
        self.above = share if self.above is None else KEPT_SHARE * self.above + (1 - KEPT_SHARE) * share
        moved = self.multiplier * math.exp(RATE * (self.above - TOLERATED))
        self.multiplier = min(max(moved, LEAST_MULTIPLIER), MOST_MULTIPLIER)


class Gradients(Protocol):
    """Turns losses into what is combined linearly, and the combination into a gradient."""

    def of(self, name: str, loss: Tensor, patch: Tensor) -> Tensor:
        """What stands for the scalar ``loss`` in sums; ``name`` tells an attack's terms apart."""

    def total(self, combined: Tensor, patch: Tensor) -> Tensor:
        """The gradient of a sum, in the shape of ``patch``."""


class EachMeasured:
    """Each term's gradient of length 1, with a backward pass of its own; `Gradients`."""

    def of(self, name: str, loss: Tensor, patch: Tensor) -> Tensor:
        """The gradient divided by its length; 0 where the patch has no part in it."""
        return gradient_of(loss, patch)

    def total(self, combined: Tensor, patch: Tensor) -> Tensor:
        """The sum is the gradient already."""
        return combined


@dataclass(frozen=True)
class OnePass:
    """Losses over the known lengths of their gradients, for one backward pass; `Gradients`.

    Attributes:
        lengths: running means by term, see `Balance`; a term that has none yet is measured.
    """

    lengths: dict[str, float]

    def of(self, name: str, loss: Tensor, patch: Tensor) -> Tensor:
        """The loss over the length of its gradient; 0 where the patch has no part in it."""
        if name not in self.lengths:
            measure(self.lengths, name, loss, patch)
        length = self.lengths.get(name)
        return loss.detach() * 0.0 if length is None else loss / length

    def total(self, combined: Tensor, patch: Tensor) -> Tensor:
        """The gradient of the sum."""
        return raw_gradient(combined, patch) if combined.requires_grad else torch.zeros_like(patch)


@dataclass(frozen=True)
class Measuring:
    """As `OnePass`, but every length is measured, with a backward pass for each; `Gradients`."""

    lengths: dict[str, float]

    def of(self, name: str, loss: Tensor, patch: Tensor) -> Tensor:
        """The gradient over the running mean of its length."""
        gradient = measure(self.lengths, name, loss, patch)
        length = self.lengths.get(name)
        return gradient if length is None else gradient / length

    def total(self, combined: Tensor, patch: Tensor) -> Tensor:
        """The sum is the gradient already."""
        return combined


class AsTheyAre:
    """Losses that are added as they are, whatever the lengths of their gradients; `Gradients`."""

    def of(self, name: str, loss: Tensor, patch: Tensor) -> Tensor:
        """The loss itself."""
        return loss

    def total(self, combined: Tensor, patch: Tensor) -> Tensor:
        """The gradient of the sum."""
        return raw_gradient(combined, patch)


def measure(lengths: dict[str, float], name: str, loss: Tensor, patch: Tensor) -> Tensor:
    """The gradient of ``loss``, whose length enters the running mean in ``lengths`` unless it is 0."""
    gradient = raw_gradient(loss, patch)
    if length := float(gradient.norm()):
        known = lengths.get(name, length)
        lengths[name] = KEPT_LENGTH * known + (1 - KEPT_LENGTH) * length
    return gradient
