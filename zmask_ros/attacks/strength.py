"""How much effort an attack is worth: which attackers there are, and how long each goes on.

After the idea of AutoAttack (Croce and Hein, ICML 2020): several attackers that fail in different ways and have nothing
to set by hand; what counts is the worst of all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from zmask_ros.attacks.recipe import CROSS_ENTROPY, PENALTY, STAYS_BELOW, Recipe

StrengthName = Literal["quick", "standard", "full"]
QUICK, STANDARD, FULL = STRENGTH_NAMES = get_args(StrengthName)
LENGTHS_EVERY = 10
FAST: dict[str, Any] = {"lengths_every": LENGTHS_EVERY, "folded": True}
"""What makes a step cheap and changes hardly anything else."""
ATTACKERS: dict[str, dict[str, Any]] = {
    "grouped": {},
    "apgd margin": {"optimizer": "apgd", "loss": "margin"},
    "resisting": {"loss": "resisting"},
    "apgd ratio": {"optimizer": "apgd", "loss": "ratio"},
    "apgd focal": {"optimizer": "apgd", "loss": "focal"},
}
"""The attackers by name, each as what it changes in a recipe; the strongest first, as far as was seen."""
PENALIZED: dict[str, Any] = {
    "loss": CROSS_ENTROPY,
    "evasion": PENALTY,
    "adaptive_weight": 0.3,
    "margin": 0.0,
    "lr": 0.03,
    "smoothness": 0.0,
}
"""One that knows the defense, with a penalty on its score instead of a bound: what it changes in a recipe."""


@dataclass(frozen=True)
class Strength:
    """An effort.

    Attributes:
        attackers: names in `ATTACKERS`; empty: the recipe as it is.
        doublings: at most so many times the steps are doubled.
        costs: in steps of the recipe, for people.
        misses: what it does not find, for people.
    """

    attackers: tuple[str, ...]
    doublings: int
    costs: str
    misses: str

    def most_steps(self, recipe: Recipe) -> int:
        """Steps that each attacker takes at most."""
        return int(recipe.steps * 2**self.doublings)


STRENGTHS: dict[str, Strength] = {
    QUICK: Strength(
        (),
        0,
        "the recipe's steps, once",
        "attackers with patience: what it does not break may well break in ten times the time",
    ),
    STANDARD: Strength(
        ("grouped", "apgd margin"),
        2,
        "two attackers, each up to 4 times the recipe's steps; a step takes about half as long as in quick",
        "attackers who go on for longer, and losses that fail elsewhere",
    ),
    FULL: Strength(
        tuple(ATTACKERS),
        5,
        "five attackers, each up to 32 times the recipe's steps: hours on a CPU",
        "attackers that nobody has thought of: it is a lower bound of what can be done, not an upper one",
    ),
}


def recipes(strength: Strength, recipe: Recipe) -> dict[str, Recipe]:
    """The recipes of an effort's attackers, by name; one who wants to stay below a threshold binds the score."""
    if not strength.attackers:
        return {"recipe": recipe}
    bound: dict[str, Any] = {"evasion": "constraint"} if recipe.adaptive in STAYS_BELOW else {}
    return {name: replace(recipe, **FAST, **bound, **ATTACKERS[name]) for name in strength.attackers}
