"""How fast the parts of an evaluation run on a machine."""

from __future__ import annotations

from dataclasses import dataclass

from zmask_ros.evaluation.protocol.evaluators import passes
from zmask_ros.evaluation.protocol.plan import Attack


@dataclass(frozen=True)
class Pace:
    """The speed of a machine, in seconds.

    Attributes:
        frame: Making one test frame and recording its result.
        network: One pass of the plain network.
        steps: One training step of an attack, by `kind_of` the attack.
    """

    frame: float
    network: float
    steps: dict[tuple[bool, int], float]

    def frame_seconds(self, evaluator: str) -> float:
        """One frame under one evaluator."""
        return self.frame + passes(evaluator) * self.network

    def step_seconds(self, attack: Attack) -> float:
        """One training step of an attack with a recipe."""
        return self.steps.get(kind_of(attack), 0.0)


def kind_of(attack: Attack) -> tuple[bool, int]:
    """What the time of a training step depends on: whether it knows the defense, and its number of patches."""
    assert attack.recipe is not None
    return attack.recipe.knows_the_defense, attack.recipe.patches
