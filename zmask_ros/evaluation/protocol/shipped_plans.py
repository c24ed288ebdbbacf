"""The plans that come with the package: the published one, a short one of the same kind, and a quick one."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from zmask_ros.attacks import Recipe
from zmask_ros.attacks.recipe import patch_side
from zmask_ros.attacks.strength import STRENGTHS, recipes
from zmask_ros.evaluation.protocol.plan import ADAPTIVE, FULL, GRADED, SEEN, Attack, EvaluationPlan
from zmask_ros.segmenters import Segmenter

SIZES = {"small": 0.2, "medium": 0.3, "large": 0.4}
"""Side of a patch as a share of the height of the network's input: 3, 7 and 12 % of an image of 4:3 at full scale."""
GRADES = (("medium", 0.5), ("medium", 0.75), ("large", 0.5), ("large", 0.75))
"""Sizes and strengths of the graded patches; strength 1 is the attack of full strength."""
PREFERRED_TARGET = "Tree"
PARTS, BATCH = 4, 2
FIRST_SEED = 9001
"""Seeds of the patches count up from here."""
PATIENT_STEPS = 250
"""Of the first run of an attacker who goes on; each further run doubles the steps."""
PATIENT_SEED = 9501
"""Seeds of these runs count up from here."""
Spec = tuple[Attack, int, str, dict[str, Any]]
"""An attack without its recipe, and of that the steps, the size, one of `SIZES`, and further entries."""


def published_plan(segmenter: Segmenter) -> EvaluationPlan:
    """The published evaluation: three sizes, two objectives, graded strengths, six adaptive families, each twice."""
    names = list(segmenter.classes)
    targeted = {"objective": "targeted", "target": PREFERRED_TARGET if PREFERRED_TARGET in names else names[0]}
    split = Attack("untargeted split", FULL)
    specs: list[Spec] = []
    for size in SIZES:
        specs += [_untargeted(size, 120), (Attack(f"targeted {size}", FULL), 120, size, targeted)]
    specs += [_graded(size, beta, 40) for size, beta in GRADES]
    specs.append((split, 120, "small", {"patches": PARTS}))
    for family in ("flag", "mask", "both", "overmask"):
        specs += _converged(family, "untargeted large", "large", adaptive=family)
    specs += _converged("split", split.name, "small", adaptive="both", patches=PARTS)
    specs += _converged("decoys", split.name, "small", adaptive="mask", patches=PARTS, decoys=PARTS // 2)
    return EvaluationPlan("published", _attacks(segmenter, specs), attacked_frames=34, hard_frames=24)


def quick_plan(segmenter: Segmenter) -> EvaluationPlan:
    """A plan of a few minutes: three patches and few frames, too few to judge a defense by."""
    both = _adaptive("both", "untargeted large", "large", 15, adaptive="both")
    attacks = _attacks(segmenter, [_untargeted("large", 20), _graded("large", 0.5, 10), both])
    return EvaluationPlan("quick", attacks, learned_frames=30, test_frames=30, attacked_frames=12, hard_frames=5)


def short_plan(segmenter: Segmenter) -> EvaluationPlan:
    """Less than an hour of the published plan: large patches, two of the adaptive families, each of them twice."""
    specs: list[Spec] = [_untargeted("medium", 120), _untargeted("large", 120), _graded("large", 0.5, 40)]
    for family in ("flag", "both"):
        specs += _converged(family, "untargeted large", "large", adaptive=family)
    return EvaluationPlan("short", _attacks(segmenter, specs), attacked_frames=34, hard_frames=10)


PLANS = {"published": published_plan, "short": short_plan, "quick": quick_plan}


def with_strength(plan: EvaluationPlan, name: str, segmenter: Segmenter) -> EvaluationPlan:
    """The plan with the attackers of a `strength` added: families that bind the score and double their steps.

    Every run of a family goes on from the one before, and its table says what the last doubling changed.
    """
    strength, seeds = STRENGTHS[name], itertools.count(PATIENT_SEED)
    if not strength.attackers:
        return plan
    side = patch_side(SIZES["large"], segmenter.input_size)
    base = Recipe(size=(side, side), steps=PATIENT_STEPS, batch=BATCH, eot=plan.seen, adaptive="flag")
    reference = next((attack.name for attack in plan.attacks if attack.name == "untargeted large"), None)
    attacks: list[Attack] = []
    for attacker, recipe in recipes(strength, base).items():
        family, before = f"bound, {attacker}", None
        for doubling in range(strength.doublings + 1):
            steps = PATIENT_STEPS * 2 ** max(0, doubling - 1)
            own = replace(recipe, steps=steps, seed=next(seeds))
            run = f"{family}, {PATIENT_STEPS * 2**doubling}"
            attacks.append(Attack(run, ADAPTIVE, own, start=before, reference=reference, family=family))
            before = run
    return replace(plan, name=f"{plan.name}, strength {name}", attacks=plan.attacks + tuple(attacks))


def _untargeted(size: str, steps: int) -> Spec:
    return Attack(f"untargeted {size}", FULL), steps, size, {}


def _graded(size: str, beta: float, steps: int) -> Spec:
    return Attack(f"beta {beta:g} {size}", GRADED, start=f"untargeted {size}"), steps, size, {"beta": beta}


def _adaptive(family: str, reference: str, size: str, steps: int, **entries: Any) -> Spec:
    """An attack that starts from the patch that does the most without a defense, and learns to evade."""
    return Attack(family, ADAPTIVE, start=reference, reference=reference, family=family), steps, size, entries


def _converged(family: str, reference: str, size: str, **entries: Any) -> list[Spec]:
    """An adaptive family twice: the second time from noise and another seed, and with double the steps."""
    again = Attack(f"{family}, from noise", ADAPTIVE, reference=reference, family=family)
    return [_adaptive(family, reference, size, 50, **entries), (again, 100, size, entries)]


def _attacks(segmenter: Segmenter, specs: list[Spec]) -> tuple[Attack, ...]:
    attacks = []
    for seed, (attack, steps, size, entries) in enumerate(specs, FIRST_SEED):
        side = patch_side(SIZES[size], segmenter.input_size)
        recipe = Recipe(size=(side, side), steps=steps, batch=BATCH, eot=SEEN, seed=seed, **entries)
        attacks.append(replace(attack, recipe=recipe))
    return tuple(attacks)
