"""The population of attackers that an evidence head is trained against."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from zmask_ros.attacks import Attacker, EotRanges, FrameStack, Recipe
from zmask_ros.attacks.checkpoint import AttackState
from zmask_ros.attacks.patch_attack import TransformSampler, make_step
from zmask_ros.attacks.render import AttackedView
from zmask_ros.defense import Defense
from zmask_ros.segmenters import Segmenter

SEEN = EotRanges(scale=(0.6, 1.0), rotation_deg=(-8.0, 8.0), contrast=(0.8, 1.1), noise=(0.0, 0.02), blur=(0.0, 0.7))
UNRIPE = 20
"""Steps in which a new rival is still noise, that nobody is to call an attack."""
LIFE = (80, 160)
"""Steps that a rival lives."""


@dataclass(frozen=True)
class Kind:
    """A kind of rival: side of its patches as a share of the image's height, and entries of its recipe."""

    share: float
    entries: dict[str, object] = field(default_factory=dict)


KINDS = (
    Kind(0.4, {"adaptive": "flag"}),
    Kind(0.4),
    Kind(0.2, {"patches": 4, "adaptive": "flag"}),
    Kind(0.4, {"objective": "targeted"}),
    Kind(0.4, {"adaptive": "both"}),
    Kind(0.3, {"adaptive": "flag", "adaptive_weight": 0.35}),
    Kind(0.2, {"patches": 4}),
    Kind(0.4, {"adaptive": "mask"}),
    Kind(0.4, {"adaptive": "flag", "adaptive_weight": 0.7}),
    Kind(0.25, {"objective": "targeted"}),
    Kind(0.2, {"patches": 4, "adaptive": "both"}),
    Kind(0.4, {"beta": 0.7}),
    Kind(0.4, {"objective": "targeted", "adaptive": "flag"}),
    Kind(0.2),
    Kind(0.3, {"adaptive": "overmask", "adaptive_weight": 0.35}),
    Kind(0.2, {"patches": 4, "decoys": 2, "adaptive": "mask"}),
)


@dataclass
class Rival:
    """One attacker with its patches, who knows the defence as it is at each moment."""

    number: int
    kind: Kind
    attacker: Attacker
    training: AttackState

    @staticmethod
    def begin(defense: Defense, segmenter: Segmenter, kind: Kind, number: int, seed: int) -> Rival:
        """A rival with patches of noise."""
        recipe = _recipe(segmenter, kind, seed)
        attacker = Attacker.against(segmenter, recipe, defense)
        return Rival(number, kind, attacker, AttackState.start(recipe, segmenter.device))

    @property
    def ripe(self) -> bool:
        """Whether its patches are more than noise."""
        return self.training.index > UNRIPE

    @property
    def finished(self) -> bool:
        """Whether it has lived long enough."""
        return self.training.index >= self.training.recipe.steps

    def act(self, stack: FrameStack) -> AttackedView:
        """One step of the attack; what the images looked like before it."""
        draw = TransformSampler(self.training.recipe, self.attacker.renderer.segmenter.input_size)
        return make_step(self.attacker, stack, self.training, draw)


def _recipe(segmenter: Segmenter, kind: Kind, seed: int) -> Recipe:
    side = max(8, round(kind.share * segmenter.input_size[0]))
    chosen = np.random.default_rng(seed)
    entries = dict(kind.entries)
    if entries.get("objective") == "targeted":
        entries["target"] = str(chosen.choice([entry.name for entry in segmenter.classes]))
    steps = int(chosen.integers(*LIFE))
    # Two images, and only those pixels that resist: many cheap steps against a head that moves.
    return Recipe((side, side), steps, batch=2, lr=0.06, gamma=1.0, seed=seed, eot=SEEN, **entries)  # type: ignore[arg-type]
