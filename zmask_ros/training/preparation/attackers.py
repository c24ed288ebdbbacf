"""The attackers of a preparation: those whose patches profiles are compared on, and those of the rounds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from zmask_ros.attacks import Recipe
from zmask_ros.attacks.recipe import CONSTRAINT, RESISTING, SHARE, patch_side
from zmask_ros.attacks.strength import PENALIZED
from zmask_ros.training.adversaries import ALIKE, PLAIN_SIDE, plain_recipe
from zmask_ros.training.preparation.standing import (
    ADAPTIVE,
    ADAPTIVE_ALIKE,
    ADAPTIVE_BOTH,
    ADAPTIVE_SHARE,
    KNOWING,
    PLAIN,
)

SMALL, GRADED = "plain, small", "graded"
KINDS = (PLAIN, SMALL, GRADED, *KNOWING)
"""Of the patches that profiles are compared on."""
BEGUN_PLAIN = (GRADED, ADAPTIVE, ADAPTIVE_BOTH)
"""Of them, those that begin with what harms most, a patch that knows nothing of the defense, instead of noise."""
LASTING = LEARNED_PLAIN, LEARNED_SMALL = "plain, to learn from", "plain, small, to learn from"
"""Patches that the head learns from, and must never forget."""
TIMED = {PLAIN: 5, ADAPTIVE: 6, ADAPTIVE_BOTH: 2}
"""Kinds whose steps are timed, each with how many patches of a preparation take about as long for a step.

Those are all that profiles are compared on, all that last, and those against what comes of the rounds. A step takes
5 to 30 forward passes, by network and kind.
"""
SMALL_SIDE = 0.25
"""Of small patches, as a share of the input's height."""
GRADED_BETA = 0.6
FIRST_SEED = 51
"""Of the patches of the first turn; they count up from here."""


@dataclass(frozen=True)
class RoundAttacker:
    """How an attacker of the rounds goes about it, who knows the head.

    Attributes:
        name: unique among them.
        entries: of his recipe, beside those of a patch that binds the score.
        side: of his patches, as a share of the input's height.
        begins_plain: with a patch that knows nothing of the defense, instead of noise.
    """

    name: str
    entries: dict[str, Any] = field(default_factory=dict)
    side: float = PLAIN_SIDE
    begins_plain: bool = False


@dataclass(frozen=True)
class Turn:
    """An attacker's turn, one in each round; ``number`` counts from 0."""

    number: int

    @property
    def attacker(self) -> RoundAttacker:
        """Whose turn it is."""
        return ROUND_ATTACKERS[self.number % len(ROUND_ATTACKERS)]

    @property
    def patch_name(self) -> str:
        """What his patches are called among those that the head learns from."""
        return f"{ADAPTIVE}, round {self.number + 1}, {self.attacker.name}"

    def recipe(self, input_size: tuple[int, int], steps: int) -> Recipe:
        """How his patches are made."""
        side = patch_side(self.attacker.side, input_size)
        adaptive = patch_recipes(input_size, steps)[ADAPTIVE]
        return replace(adaptive, size=(side, side), seed=FIRST_SEED + self.number, **self.attacker.entries)


ALIKE_SIDE = 0.36
"""Of patches that are always seen alike, which cover as much of the image as others do on the average."""
ROUND_ATTACKERS = (
    RoundAttacker("bound", begins_plain=True),
    RoundAttacker("resisting, alike", {"loss": RESISTING, "eot": ALIKE}, ALIKE_SIDE),
    RoundAttacker("both", {"adaptive": "both", "evasion": SHARE}),
    RoundAttacker("bound, alike", {"eot": ALIKE}, ALIKE_SIDE),
    RoundAttacker("bound, smaller", side=0.31),
    RoundAttacker("penalty, alike", {"eot": ALIKE, **PENALIZED}, ALIKE_SIDE),
    RoundAttacker("penalty", PENALIZED),
)
"""Who take turns: what one of them finds hidden, another one may see. More kinds did not help, see docs/tools.md."""


def patch_recipes(input_size: tuple[int, int], steps: int) -> dict[str, Recipe]:
    """How the patches are made that profiles are compared on, by kind."""
    small, alike = (patch_side(share, input_size) for share in (SMALL_SIDE, ALIKE_SIDE))
    begun = plain_recipe(input_size, steps)
    adaptive = replace(begun, seed=3, adaptive="flag", evasion=CONSTRAINT)
    return {
        PLAIN: begun,
        SMALL: replace(begun, size=(small, small), seed=1),
        GRADED: replace(begun, seed=2, beta=GRADED_BETA),
        ADAPTIVE: adaptive,
        ADAPTIVE_ALIKE: replace(adaptive, size=(alike, alike), seed=4, loss=RESISTING, eot=ALIKE),
        ADAPTIVE_SHARE: replace(adaptive, seed=6, evasion=SHARE),
        ADAPTIVE_BOTH: replace(adaptive, seed=7, adaptive="both", evasion=SHARE),
    }
