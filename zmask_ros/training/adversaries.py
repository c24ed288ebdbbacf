"""The population of attackers that an evidence head is trained against."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from zmask_ros.attacks import Attacker, EotRanges, FrameStack, Recipe
from zmask_ros.attacks.checkpoint import AttackState, Snapshot
from zmask_ros.attacks.patch_attack import TransformSampler, make_step
from zmask_ros.attacks.recipe import patch_side
from zmask_ros.attacks.render import AttackedView
from zmask_ros.attacks.strength import FAST
from zmask_ros.defense import Defense
from zmask_ros.segmenters import Segmenter

SEEN = EotRanges(scale=(0.6, 1.0), rotation_deg=(-8.0, 8.0), contrast=(0.8, 1.1), noise=(0.0, 0.02), blur=(0.0, 0.7))
ALIKE = EotRanges(scale=(0.97, 1.03), rotation_deg=(-3.0, 3.0))
"""Of who knows from where the patch will be seen: he reaches more, and hides better."""
PLAIN_SIDE = 0.4
"""Of the patch of `plain_recipe`, as a share of the input's height."""
WARM_UP_STEPS = 20
"""Steps in which a new adversary is still noise, that nobody is to call an attack."""
LIFETIME_STEPS = (80, 160)
"""Steps that an adversary lives."""


def plain_recipe(input_size: tuple[int, int], steps: int) -> Recipe:
    """A patch of an attacker who knows nothing of the defense, seen at many sizes and from all sides."""
    side = patch_side(PLAIN_SIDE, input_size)
    # With two images a step a patch gets stronger in the same time than with four.
    return Recipe((side, side), steps, batch=2, lr=0.06, gamma=1.0, eot=SEEN, **FAST)


@dataclass(frozen=True)
class AdversaryKind:
    """A kind of adversary.

    Attributes:
        share: side of its patches, as a share of the image's height.
        entries: of its recipe.
        lifetime: steps that it lives, at least and less than.
    """

    share: float
    entries: dict[str, object] = field(default_factory=dict)
    lifetime: tuple[int, int] = LIFETIME_STEPS


ADVERSARY_KINDS = (
    AdversaryKind(0.4, {"adaptive": "flag"}),
    AdversaryKind(0.4),
    AdversaryKind(0.2, {"patches": 4, "adaptive": "flag"}),
    AdversaryKind(0.4, {"objective": "targeted"}),
    AdversaryKind(0.4, {"adaptive": "both"}),
    AdversaryKind(0.3, {"adaptive": "flag", "adaptive_weight": 0.35}),
    AdversaryKind(0.2, {"patches": 4}),
    AdversaryKind(0.4, {"adaptive": "mask"}),
    AdversaryKind(0.4, {"adaptive": "flag", "adaptive_weight": 0.7}),
    AdversaryKind(0.25, {"objective": "targeted"}),
    AdversaryKind(0.2, {"patches": 4, "adaptive": "both"}),
    AdversaryKind(0.4, {"beta": 0.7}),
    AdversaryKind(0.4, {"objective": "targeted", "adaptive": "flag"}),
    AdversaryKind(0.2),
    AdversaryKind(0.3, {"adaptive": "overmask", "adaptive_weight": 0.35}),
    AdversaryKind(0.2, {"patches": 4, "decoys": 2, "adaptive": "mask"}),
)


@dataclass
class Adversary:
    """One attacker with its patches, who knows the defense as it is at each moment.

    Attributes:
        number: its place among the adversaries.
        kind: what it wants.
        attacker, attack: how it goes about it, and how far it is.
    """

    number: int
    kind: AdversaryKind
    attacker: Attacker
    attack: AttackState

    @staticmethod
    def begin(
        defense: Defense | None,
        segmenter: Segmenter,
        kind: AdversaryKind,
        number: int,
        seed: int,
    ) -> Adversary:
        """An adversary with patches of noise; one whose kind knows no defense needs none."""
        recipe = _recipe(segmenter, kind, seed)
        attacker = Attacker.against(segmenter, recipe, defense)
        return Adversary(number, kind, attacker, AttackState.start(recipe, segmenter.device))

    @property
    def warmed_up(self) -> bool:
        """Whether its patches are more than noise."""
        return self.attack.index > WARM_UP_STEPS

    @property
    def finished(self) -> bool:
        """Whether it has lived long enough."""
        return self.attack.index >= self.attack.recipe.steps

    def state(self) -> dict[str, Any]:
        """What `restored` needs to go on from here, apart from its kind and the defense."""
        snapshot = self.attack.snapshot()
        return {"seed": self.attack.recipe.seed, "record": snapshot.record, "tensors": snapshot.tensors}

    @staticmethod
    def restored(
        defense: Defense | None, segmenter: Segmenter, kind: AdversaryKind, number: int, state: dict[str, Any]
    ) -> Adversary:
        """The adversary that a `state` was taken of."""
        own = Adversary.begin(defense, segmenter, kind, number, state["seed"])
        snapshot = Snapshot(state["record"], state["tensors"])
        return replace(own, attack=AttackState.restored(snapshot, own.attack.recipe, segmenter.device))

    def step(self, stack: FrameStack) -> AttackedView:
        """One step of the attack; what the images looked like before it."""
        draw = TransformSampler(self.attack.recipe, self.attacker.renderer.segmenter.input_size)
        return make_step(self.attacker, stack, self.attack, draw)


def _recipe(segmenter: Segmenter, kind: AdversaryKind, seed: int) -> Recipe:
    side = patch_side(kind.share, segmenter.input_size)
    chosen = np.random.default_rng(seed)
    entries = {"eot": SEEN} | kind.entries
    if entries.get("objective") == "targeted":
        entries["target"] = str(chosen.choice(list(segmenter.classes)))
    steps = int(chosen.integers(*kind.lifetime))
    # Two images, and only those pixels that resist: many cheap steps against a head that moves.
    return Recipe((side, side), steps, batch=2, lr=0.06, gamma=1.0, seed=seed, **entries)  # type: ignore[arg-type]
