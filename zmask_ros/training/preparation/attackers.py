"""The attackers of a preparation: those whose patches profiles are compared on, and those of the rounds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from zmask_ros.attacks import Recipe
from zmask_ros.attacks.recipe import CONSTRAINT, RESISTING, SHARE, patch_side
from zmask_ros.attacks.strength import FAST, PENALIZED
from zmask_ros.training.adversaries import ALIKE, SEEN
from zmask_ros.training.preparation.standing import ADAPTIVE, ADAPTIVE_ALIKE, ADAPTIVE_PENALIZED, KNOWING, PLAIN

SMALL, GRADED = "plain, small", "graded"
KINDS = (PLAIN, SMALL, GRADED, *KNOWING)
"""Of the patches that profiles are compared on."""
BEGUN_PLAIN = (GRADED, ADAPTIVE)
"""Of them, those that begin with what harms most, a patch that knows nothing of the defense, instead of noise."""
LASTING = LEARNED_PLAIN, LEARNED_SMALL = "plain, to learn from", "plain, small, to learn from"
"""Patches that the head learns from, and must never forget."""
SIDE, SMALL_SIDE = 0.4, 0.25
"""Of these patches, as shares of the input's height."""
GRADED_BETA = 0.6
ROUND_SEED = 50
"""Of the adaptive patch of the first round; they count up from here."""


@dataclass(frozen=True)
class Turn:
    """How the attacker of a round goes about it.

    Attributes:
        entries: of his recipe, beside those of the adaptive patch.
        side: of his patch, as a share of the input's height.
        begins_plain: with a patch that knows nothing of the defense, instead of noise.
    """

    entries: dict[str, Any] = field(default_factory=dict)
    side: float = SIDE
    begins_plain: bool = False


ALIKE_SIDE = 0.36
"""Of patches that are always seen alike, which cover as much of the image as others do on the average."""
TURNS = (
    Turn(begins_plain=True),
    Turn({"loss": RESISTING, "eot": ALIKE}, ALIKE_SIDE),
    Turn({"adaptive": "both", "evasion": SHARE}),
    Turn({"eot": ALIKE}, ALIKE_SIDE),
    Turn(side=0.31),
    Turn({"eot": ALIKE, **PENALIZED}, ALIKE_SIDE),
    Turn(PENALIZED),
)
"""Of the attackers: what one of them finds hidden, another one may see."""


def patch_recipes(input_size: tuple[int, int], steps: int) -> dict[str, Recipe]:
    """How the patches are made that profiles are compared on, by kind."""
    large, small, alike = (patch_side(share, input_size) for share in (SIDE, SMALL_SIDE, ALIKE_SIDE))
    # With two images a step a patch gets stronger in the same time than with four.
    begun = Recipe((large, large), steps, batch=2, lr=0.06, gamma=1.0, eot=SEEN, **FAST)
    adaptive = replace(begun, seed=3, adaptive="flag", evasion=CONSTRAINT)
    return {
        PLAIN: begun,
        SMALL: replace(begun, size=(small, small), seed=1),
        GRADED: replace(begun, seed=2, beta=GRADED_BETA),
        ADAPTIVE: adaptive,
        ADAPTIVE_ALIKE: replace(adaptive, size=(alike, alike), seed=4, loss=RESISTING, eot=ALIKE),
        ADAPTIVE_PENALIZED: replace(adaptive, seed=5, **PENALIZED),
    }


def turn_of(number: int) -> Turn:
    """Whose turn it is in a round; rounds count from 1."""
    return TURNS[(number - 1) % len(TURNS)]


def round_recipe(input_size: tuple[int, int], steps: int, number: int) -> Recipe:
    """How the patch of a round is made; rounds count from 1."""
    turn = turn_of(number)
    side = patch_side(turn.side, input_size)
    adaptive = patch_recipes(input_size, steps)[ADAPTIVE]
    return replace(adaptive, size=(side, side), seed=ROUND_SEED + number, **turn.entries)
