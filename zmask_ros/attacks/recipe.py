"""All that decides how a patch turns out, as one value that is kept beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, WrapValidator
from pydantic.dataclasses import dataclass

from zmask_ros.attacks.eot import EotRanges
from zmask_ros.errors import AttackError
from zmask_ros.validation import Settings

Objective = Literal["untargeted", "targeted", "hiding"]
Adaptive = Literal["none", "flag", "mask", "both", "overmask", "stream"]
Optimizer = Literal["adam", "apgd"]
Loss = Literal["grouped", "cross_entropy", "resisting", "margin", "ratio", "focal"]
Evasion = Literal["share", "penalty", "constraint"]
UNTARGETED, TARGETED, HIDING = OBJECTIVES = get_args(Objective)
ADAPTIVE = get_args(Adaptive)
ADAM, APGD = OPTIMIZERS = get_args(Optimizer)
GROUPED, CROSS_ENTROPY, RESISTING, LOGIT_MARGIN, RATIO, FOCAL = LOSSES = get_args(Loss)
SHARE, PENALTY, CONSTRAINT = EVASIONS = get_args(Evasion)
STREAM = "stream"
STAYS_BELOW = ("flag", STREAM)
"""What the adaptive attackers know of the defense who want nothing but to stay below its thresholds."""


def _as_written(value: Any, validate: Callable[[Any], float]) -> float:
    """A whole number stays one: equal recipes have equal JSON, by which finished work is known again."""
    number = validate(value)
    return value if isinstance(value, int) else number


Number = Annotated[float, WrapValidator(_as_written)]
Weight = Annotated[Number, Field(ge=0)]
Share = Annotated[Number, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, strict=True)]
LEAST_SIDE = 8
"""Of a patch, pixels."""
Side = Annotated[int, Field(ge=LEAST_SIDE, strict=True)]
LATER = ("optimizer", "loss", "evasion", "margin", "lengths_every", "folded")
"""Entries that the first recipes did not have; see `Recipe.entries`."""


def patch_side(share: float, input_size: tuple[int, int]) -> int:
    """The side in pixels of a square patch that takes this share of the height of an input of (height, width)."""
    return max(LEAST_SIDE, round(share * input_size[0]))


@dataclass(frozen=True)
class Recipe(Settings):
    """How to optimize patches; equal recipes, frames and networks give equal patches.

    Attributes:
        size: (height, width) in patch pixels; at scale 1 also in pixels of the segmenter's input.
        steps: Adam steps, >= 1.
        batch: images a step, >= 1.
        lr: Adam's learning rate for colors in 0..1, > 0; it falls to a tenth along half a cosine. APGD takes none.
        gamma: weight of pixels still correct against those already wrong, 0..1; None: the share still correct.
        smoothness: weight of the smoothness gradient against the attack's, >= 0, both of length 1.
        printable: darkest and brightest printable value, within 0..1.
        eot: how the patch may be seen.
        seed: of every random choice.
        objective: ``untargeted``: all pixels to anything else; ``targeted``: all pixels to the class ``target``;
            ``hiding``: the pixels of the class ``target`` to anything else.
        target: a class's name; None for an untargeted attack.
        beta: strength of a graded patch, 0..1: ``1 - beta`` weighs low over-activation against the attack.
        non_printability: weight of the non-printability gradient, >= 0, as ``smoothness``.
        palette: file of printable colors, see `printing.read_palette`; None: the built-in one.
        auxiliary: weight of the network's auxiliary outputs against its main one, >= 0.
        shape: picture whose alpha channel, or else brightness, says where the patch is; None: a whole rectangle.
        patches: so many patches of ``size`` in every image at once, >= 1.
        decoys: so many of these only over-activate, to draw the defense away from the others; < ``patches``.
        adaptive: what the attack knows of the defense: ``none``; ``flag``: stays below the threshold; ``mask``:
            spoils what is segmented again under the mask; ``both``; ``overmask``: has the view masked; ``stream``: as
            ``flag``, and stays below the threshold of the screen as well, which sees most frames of a stream.
        adaptive_weight: of the defense's gradient against the attack's, 0..1, both of length 1.
        restarts: so many whole runs from other starts, >= 1; the best patch of all is kept.
        optimizer: ``adam``, or ``apgd``: signed steps with momentum that are halved on the way, see `optimizers`.
        loss: of a pixel. ``grouped``: cross-entropy (of a hidden class: the lead of the others), pixels that resist and
            those won apart, by ``gamma``. The others take all pixels together: ``cross_entropy``; ``resisting``:
            cross-entropy on those that resist alone; ``margin``: difference of logits; ``ratio``: that difference over
            the spread of the logits; ``focal``: cross-entropy weighed by how much the pixel resists.
        evasion: how an attacker who wants to stay below the threshold weighs that. ``share``: by ``adaptive_weight``,
            both gradients of length 1; ``penalty``: adds ``adaptive_weight`` times the logarithm of the score's excess
            to the loss, as it is; ``constraint``: by a multiplier that grows while images are above the limit and falls
            while none is, see `balance`. The last two belong to the attackers ``flag`` and ``stream``.
        margin: how far below the threshold a constraint wants the score, as a difference of logarithms, >= 0.
        lengths_every: the lengths of the gradients are measured every so many steps, >= 1; the steps between take one
            backward pass for all terms together.
        folded: the network's batch normalization is folded into its convolutions while it is attacked, which is faster
            and equal but for rounding.
    """

    owner = "The recipe"
    refusal = AttackError

    size: tuple[Side, Side] = (128, 256)
    steps: Count = 250
    batch: Count = 4
    lr: Annotated[Number, Field(gt=0)] = 0.04
    gamma: Share | None = None
    smoothness: Weight = 0.1
    printable: tuple[Share, Share] = (0.03, 0.97)
    eot: EotRanges = EotRanges()
    seed: Annotated[int, Field(strict=True)] = 0
    objective: Objective = UNTARGETED
    target: str | None = None
    beta: Share = 1.0
    non_printability: Weight = 0.0
    palette: str | None = None
    auxiliary: Weight = 0.0
    shape: str | None = None
    patches: Count = 1
    decoys: Annotated[int, Field(ge=0, strict=True)] = 0
    adaptive: Adaptive = "none"
    adaptive_weight: Share = 0.5
    restarts: Count = 1
    optimizer: Optimizer = "adam"
    loss: Loss = "grouped"
    evasion: Evasion = "share"
    margin: Weight = 0.2
    lengths_every: Count = 1
    folded: bool = False

    def __post_init__(self) -> None:
        low, high = self.printable
        if low >= high:
            raise ValueError(f"The recipe's printable must ascend, not {low}..{high}.")
        if (self.objective == UNTARGETED) == bool(self.target):
            raise ValueError(
                f"The recipe's objective {self.objective} with the target {self.target} is impossible: "
                "targeted and hiding attacks name a class, untargeted ones do not."
            )
        if self.decoys >= self.patches:
            raise ValueError(f"The recipe's decoys must be fewer than the {self.patches} patches, not {self.decoys}.")
        if self.evasion != SHARE and self.adaptive not in STAYS_BELOW:
            raise ValueError(
                f"The recipe's evasion {self.evasion} binds the score, which only the adaptive attackers flag and "
                f"stream want: set adaptive to one of them, not {self.adaptive}."
            )

    @property
    def knows_the_defense(self) -> bool:
        """Whether a profile of the defense is needed."""
        return self.adaptive != "none" or self.beta < 1 or self.decoys > 0

    def entries(self) -> dict[str, Any]:
        """The recipe as JSON has it; entries that came later stand in it only where they are used.

        So recipes of finished work, which is known again by them, keep their entries.
        """
        later = {own.name for own in fields(self) if own.name in LATER and getattr(self, own.name) == own.default}
        return {name: value for name, value in asdict(self).items() if name not in later}

    def to_json(self) -> str:
        """The recipe as a JSON object, for `from_json`."""
        return json.dumps(self.entries(), indent=2)

    @staticmethod
    def from_json(text: str) -> Recipe:
        """The recipe that `to_json` wrote, or that is kept beside a patch; entries left out have their defaults.

        Raises:
            AttackError: ``text`` is no such JSON, or a value is out of its range.
        """
        try:
            entries = json.loads(text)
        except ValueError as error:
            raise AttackError(f"This is not a recipe of an attack: {error}.") from error
        recipe = entries.get("recipe", entries) if isinstance(entries, dict) else entries
        if not isinstance(recipe, dict):
            raise AttackError(f"This is not a recipe of an attack: it must be a JSON object, not {recipe!r}.")
        return Recipe(**recipe)
