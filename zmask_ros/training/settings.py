"""What can be chosen about the training of a profile, checked in one place."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from zmask_ros.flags.alarm import VoteRule
from zmask_ros.validation import Settings

LEAST_ADVERSARIAL_STEPS = 300
"""For about the first half of these, all adversaries are still noise and a head learns nothing."""


def _enough_to_learn(steps: int) -> int:
    """A training that ends before it begins would leave a head as it was, and say nothing."""
    if 0 < steps < LEAST_ADVERSARIAL_STEPS:
        raise ValueError(
            f"{steps} steps are too few for the head to learn: --rivals {LEAST_ADVERSARIAL_STEPS} at least."
        )
    return steps


Rate = Annotated[float, Field(gt=0, lt=1)]
"""A share of clean frames."""
AdversarialSteps = Annotated[int, Field(ge=0), AfterValidator(_enough_to_learn)]


@dataclass(frozen=True)
class FitSettings(Settings):
    """How clean statistics are fitted.

    Attributes:
        false_alarm_rate: share of clean frames that may be flagged, in 0..1, exclusive.
        variant: kernels, sigma and mask growth: ``ours``, or ``paper`` as in the Z-Mask paper, to compare with.
    """

    false_alarm_rate: Rate = 0.001
    variant: Literal["ours", "paper"] = "ours"


@dataclass(frozen=True)
class CalibrationSettings(Settings):
    """How a fitted profile is calibrated.

    Attributes:
        select_layers: choose layers and kernels anew, and fit them on the clean frames.
        graded_patches: so many patches of graded strength are trained first.
        graded_steps: optimization steps of each of these.
        adversarial_steps: training steps of an evidence head against adversaries; 0: it is left as it is.
        false_alarm_rate: share of clean frames that may be flagged, in 0..1, exclusive; None: that of the profile.
        precaution_rate: share of clean frames that may be masked, in 0..1; at most the other one: only what is flagged.
        vote: how many flagged frames of how many call an attack; it is written into the profile.
    """

    select_layers: bool = False
    graded_patches: Annotated[int, Field(ge=0)] = 0
    graded_steps: Annotated[int, Field(ge=1)] = 60
    adversarial_steps: AdversarialSteps = 0
    false_alarm_rate: Rate | None = None
    precaution_rate: Annotated[float, Field(ge=0, lt=1)] = 0.05
    vote: VoteRule = VoteRule()


@dataclass(frozen=True)
class ScreenSettings(Settings):
    """How a screen is trained.

    Attributes:
        adversarial_steps: of its training, against adversaries who adapt to it.
        rate: share of clean frames that it may hand on to the main detector, in 0..1, exclusive.
    """

    adversarial_steps: AdversarialSteps = 1000
    rate: Rate = 0.15
