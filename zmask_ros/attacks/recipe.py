"""All that decides how a patch turns out, as one value that is kept beside it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from zmask_ros.attacks.eot import EotRanges
from zmask_ros.errors import AttackError

UNTARGETED, TARGETED, HIDING = OBJECTIVES = ("untargeted", "targeted", "hiding")
ADAPTIVE = ("none", "flag", "mask", "both", "overmask")
WHOLE = ("steps", "batch", "seed", "patches", "decoys", "restarts")
"""Entries that must be whole numbers in JSON."""


@dataclass(frozen=True)
class Recipe:
    """How to optimize patches; equal recipes, frames and networks give equal patches.

    Attributes:
        size: (height, width) in patch pixels; at scale 1 also in pixels of the segmenter's input.
        steps: Adam steps, >= 1.
        batch: images a step, >= 1.
        lr: Adam's learning rate for colors in 0..1, > 0; it falls to a tenth along half a cosine.
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
            spoils what is segmented again under the mask; ``both``; ``overmask``: has the view masked.
        adaptive_weight: of the defense's gradient against the attack's, 0..1, both of length 1.
        restarts: so many whole runs from other starts, >= 1; the best patch of all is kept.
    """

    size: tuple[int, int] = (128, 256)
    steps: int = 250
    batch: int = 4
    lr: float = 0.04
    gamma: float | None = None
    smoothness: float = 0.1
    printable: tuple[float, float] = (0.03, 0.97)
    eot: EotRanges = field(default_factory=EotRanges)
    seed: int = 0
    objective: str = "untargeted"
    target: str | None = None
    beta: float = 1.0
    non_printability: float = 0.0
    palette: str | None = None
    auxiliary: float = 0.0
    shape: str | None = None
    patches: int = 1
    decoys: int = 0
    adaptive: str = "none"
    adaptive_weight: float = 0.5
    restarts: int = 1

    def __post_init__(self) -> None:
        low, high = self.printable
        demands = {
            f"size must be at least 8x8, not {self.size[0]}x{self.size[1]}": min(self.size) >= 8,
            f"steps must be at least 1, not {self.steps}": self.steps >= 1,
            f"batch must be at least 1, not {self.batch}": self.batch >= 1,
            f"lr must be positive, not {self.lr}": self.lr > 0,
            f"gamma must lie within 0..1, not {self.gamma}": self.gamma is None or 0 <= self.gamma <= 1,
            f"smoothness must not be negative, as {self.smoothness} is": self.smoothness >= 0,
            f"printable must ascend within 0..1, not {low}..{high}": 0 <= low < high <= 1,
            f"objective must be one of {', '.join(OBJECTIVES)}, not {self.objective}": self.objective in OBJECTIVES,
            f"objective {self.objective} needs a class as target": self.objective == UNTARGETED or self.target,
            "target has no meaning in an untargeted attack": self.objective != UNTARGETED or not self.target,
            f"beta must lie within 0..1, not {self.beta}": 0 <= self.beta <= 1,
            f"non_printability must not be negative, as {self.non_printability} is": self.non_printability >= 0,
            f"auxiliary must not be negative, as {self.auxiliary} is": self.auxiliary >= 0,
            f"patches must be at least 1, not {self.patches}": self.patches >= 1,
            f"decoys must be fewer than the {self.patches} patches, not {self.decoys}": 0 <= self.decoys < self.patches,
            f"adaptive must be one of {', '.join(ADAPTIVE)}, not {self.adaptive}": self.adaptive in ADAPTIVE,
            f"adaptive_weight must lie within 0..1, not {self.adaptive_weight}": 0 <= self.adaptive_weight <= 1,
            f"restarts must be at least 1, not {self.restarts}": self.restarts >= 1,
        }
        for complaint, holds in demands.items():
            if not holds:
                raise AttackError(f"The recipe's {complaint}.")

    @property
    def knows_the_defense(self) -> bool:
        """Whether a profile of the defense is needed."""
        return self.adaptive != "none" or self.beta < 1 or self.decoys > 0

    def to_json(self) -> str:
        """The recipe as a JSON object, for `from_json`."""
        return json.dumps(asdict(self), indent=2)

    @staticmethod
    def from_json(text: str) -> Recipe:
        """The recipe that `to_json` wrote, or that is kept beside a patch; entries left out have their defaults.

        Raises:
            AttackError: ``text`` is no such JSON, or a value is out of its range.
        """
        try:
            entries = json.loads(text)
            return Recipe.from_dict(entries.get("recipe", entries) if isinstance(entries, dict) else entries)
        except (json.JSONDecodeError, TypeError, ValueError) as error:
            raise AttackError(f"This is not a recipe of an attack: {error}.") from error

    @staticmethod
    def from_dict(entries: dict[str, Any]) -> Recipe:
        """The recipe with the entries of `to_json`'s object; other names are refused with a TypeError."""
        if not isinstance(entries, dict):
            raise TypeError("it must be a JSON object")
        unknown = set(entries) - {f.name for f in fields(Recipe)}
        if unknown:
            raise TypeError(f"unknown entries {', '.join(sorted(unknown))}")
        for name in WHOLE:
            if name in entries and type(entries[name]) is not int:
                raise TypeError(f"{name} must be a whole number, not {entries[name]!r}")
        if "size" in entries and [type(length) for length in entries["size"]] != [int, int]:
            raise TypeError(f"size must be [height, width] in whole pixels, not {entries['size']!r}")
        if not isinstance(entries.get("eot", {}), dict):
            raise TypeError(f"eot must be a JSON object, not {entries['eot']!r}")
        ranges = {name: (float(low), float(high)) for name, (low, high) in entries.get("eot", {}).items()}
        pairs = {name: tuple(entries[name]) for name in ("size", "printable") if name in entries}
        return Recipe(**(entries | pairs | {"eot": EotRanges(**ranges)}))  # type: ignore[arg-type]
