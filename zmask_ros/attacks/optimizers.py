"""What moves patches along their gradients: Adam, and APGD, which needs no learning rate.

APGD is after Croce and Hein (ICML 2020): signed steps with momentum, whose length is halved at fixed places of the run
where the last stretch brought nothing, and which then goes on from the best patch so far. There, a stretch is judged by
the loss of one image; here every step shows other frames, and a stretch is judged by its mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from zmask_ros.attacks.recipe import APGD, Recipe

FINAL_LR = 0.1
"""Share of Adam's learning rate that is left at the last step."""
ADAM = ("step", "exp_avg", "exp_avg_sq")
"""What torch's Adam keeps of each tensor that it optimizes."""
FIRST_STEP = 0.25
"""APGD's first step, as a share of the printable range. The paper's 1 is for one image, not for many."""
MOMENTUM = 0.75
"""Weight of APGD's new direction against that of the step before."""
FIRST_STRETCH, SHORTER, LEAST_STRETCH = 0.22, 0.03, 0.06
"""APGD's stretches as shares of the run: the first, by how much each is shorter than the one before, the shortest."""


class PatchOptimizer(Protocol):
    """Moves the patches of a run, and can be written to a file between two steps."""

    def step(self, gradients: Sequence[Tensor], achieved: float) -> None:
        """Descend along ``gradients``, one for each leaf; ``achieved`` is what the step before the move was worth."""

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of its state, by name."""

    def record(self) -> dict[str, Any]:
        """The rest of its state, ready for JSON."""

    def restore(self, tensors: dict[str, Tensor], record: dict[str, Any], begun: bool) -> None:
        """Go on from what `tensors` and `record` gave; ``begun``: after at least one step."""


def optimizer_of(recipe: Recipe, leaves: Sequence[Tensor]) -> PatchOptimizer:
    """The optimizer that the recipe names, for the patches ``leaves``, each [n, 3, h, w] with n > 0."""
    return ApgdOptimizer(recipe, leaves) if recipe.optimizer == APGD else AdamOptimizer(recipe, leaves)


class AdamOptimizer:
    """Adam whose learning rate falls to a tenth along half a cosine; a `PatchOptimizer`."""

    def __init__(self, recipe: Recipe, leaves: Sequence[Tensor]) -> None:
        self._recipe, self._leaves = recipe, leaves
        self._adam = torch.optim.Adam(leaves, lr=recipe.lr)
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._adam, recipe.steps, recipe.lr * FINAL_LR)

    def step(self, gradients: Sequence[Tensor], achieved: float) -> None:
        """One step of Adam, kept within what can be printed."""
        for leaf, gradient in zip(self._leaves, gradients, strict=True):
            leaf.grad = gradient
        self._adam.step()
        self._schedule.step()
        with torch.no_grad():
            for leaf in self._leaves:
                leaf.clamp_(*self._recipe.printable)

    def tensors(self) -> dict[str, Tensor]:
        """Adam's moments."""
        states = [self._adam.state[leaf] for leaf in self._leaves]
        begun = [state for state in states if state]
        return {f"{name}.{n}": state[name] for n, state in enumerate(begun) for name in ADAM}

    def record(self) -> dict[str, Any]:
        """The schedule and the learning rate."""
        return {"schedule": self._schedule.state_dict(), "lr": self._adam.param_groups[0]["lr"]}

    def restore(self, tensors: dict[str, Tensor], record: dict[str, Any], begun: bool) -> None:
        """Take both back."""
        for n, leaf in enumerate(self._leaves if begun else ()):
            # Adam wants its count of steps on the CPU.
            places = {"step": torch.device("cpu")}
            state = {name: tensors[f"{name}.{n}"].clone().to(places.get(name, leaf.device)) for name in ADAM}
            self._adam.state[leaf] = state
        self._schedule.load_state_dict(record["schedule"])
        self._adam.param_groups[0]["lr"] = record["lr"]


class ApgdOptimizer:
    """Signed steps with momentum and halving; a `PatchOptimizer`."""

    def __init__(self, recipe: Recipe, leaves: Sequence[Tensor]) -> None:
        low, high = recipe.printable
        self._recipe, self._leaves = recipe, leaves
        self._ends = stretches(recipe.steps)
        self._length = FIRST_STEP * (high - low)
        self._before = [leaf.detach().clone() for leaf in leaves]
        self._best = [leaf.detach().clone() for leaf in leaves]
        self._best_mean: float | None = None
        self._index, self._sum, self._count = 0, 0.0, 0

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], achieved: float) -> None:
        """One step of APGD, kept within what can be printed."""
        if self._index == 0:
            # The patch may have been put in the place of noise since.
            self._before = [leaf.detach().clone() for leaf in self._leaves]
        self._sum, self._count = self._sum + achieved, self._count + 1
        if self._index + 1 in self._ends:
            self._end_stretch()
        share = MOMENTUM if self._index else 1.0
        for n, (leaf, gradient) in enumerate(zip(self._leaves, gradients, strict=True)):
            signed = (leaf - self._length * gradient.sign()).clamp(*self._recipe.printable)
            moved = leaf + share * (signed - leaf) + (1 - share) * (leaf - self._before[n])
            self._before[n] = leaf.detach().clone()
            leaf.copy_(moved.clamp(*self._recipe.printable))
        self._index += 1

    def _end_stretch(self) -> None:
        """Keep the patch if the stretch was the best so far; else go back to the best one, with half the step."""
        mean = self._sum / self._count
        self._sum, self._count = 0.0, 0
        if self._best_mean is None or mean > self._best_mean:
            self._best_mean, self._best = mean, [leaf.detach().clone() for leaf in self._leaves]
            return
        self._length /= 2
        for leaf, best in zip(self._leaves, self._best, strict=True):
            leaf.copy_(best)
        self._before = [best.clone() for best in self._best]

    def tensors(self) -> dict[str, Tensor]:
        """The patches of the step before, and the best ones."""
        kept = {"before": self._before, "best_leaf": self._best}
        return {f"{name}.{n}": tensor for name, tensors in kept.items() for n, tensor in enumerate(tensors)}

    def record(self) -> dict[str, Any]:
        """The step's length, and what the stretch has come to."""
        counts = {"index": self._index, "sum": self._sum, "count": self._count}
        return {"apgd": {"length": self._length, "best_mean": self._best_mean, **counts}}

    def restore(self, tensors: dict[str, Tensor], record: dict[str, Any], begun: bool) -> None:
        """Take all of it back."""
        kept = record["apgd"]
        self._length, self._best_mean = kept["length"], kept["best_mean"]
        self._index, self._sum, self._count = kept["index"], kept["sum"], kept["count"]
        self._before, self._best = (
            [tensors[f"{name}.{n}"].clone().to(leaf.device) for n, leaf in enumerate(self._leaves)]
            for name in ("before", "best_leaf")
        )


def stretches(steps: int) -> frozenset[int]:
    """The numbers of the steps, from 1, at which APGD's stretches end."""
    ends, place, length = set(), 0.0, FIRST_STRETCH
    while place + length < 1:
        place += length
        ends.add(max(1, round(place * steps)))
        length = max(length - SHORTER, LEAST_STRETCH)
    return frozenset(ends)
