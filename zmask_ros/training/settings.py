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
        variant: evidence, kernels, sigma and mask growth: ``ours``, with the head that was trained on other networks;
            ``mean-z``, without it; or ``paper``, as in the Z-Mask paper, to compare with.
        trial: whether a patch is tried on the network, so that the alarm lies between clean frames and patches.
    """

    false_alarm_rate: Rate = 0.001
    variant: Literal["ours", "mean-z", "paper"] = "ours"
    trial: bool = True


@dataclass(frozen=True)
class CalibrationSettings(Settings):
    """How a fitted profile is calibrated.

    Attributes:
        select_layers: choose layers and kernels anew, and fit them on the clean frames.
        graded_patches: so many patches of graded strength are trained, after the head where its layers are kept.
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


@dataclass(frozen=True)
class PreparationSettings(Settings):
    """How the best profile is looked for that can be had in the time given.

    Attributes:
        false_alarm_rate: share of clean frames that may be flagged, in 0..1, exclusive.
        precaution_rate: share of clean frames that may be masked without being flagged, in 0..1, exclusive.
        frames: about so many clean frames, evenly over all drives.
        patch_steps: optimization steps of each patch that profiles are compared on, where there is time for them.
        least_patch_steps: steps where there is not; fewer, if these would take more than half of the time.
        shown_frames: clean frames that the head is shown, with patches and benign pictures, where there is time.
        drawn_pictures: of other roads, that it is shown as benign pictures beside those that are given, where there is
            time; 0: none.
        head_steps: of the head's first round, and of its last lesson; it takes a third of them in each further round.
        patience: so many comparisons in a row that find no better profile end a preparation that has no budget: more
            than there are rounds until each attacker has had a turn.
        compared_frames: attacked frames of each kind that profiles are compared on.
        reported_frames: of each kind, of the drive that is held out for the report.
        screen_steps: training steps of a screen, where there is time for them; 0: one of the start is fitted anew.
        screen: whether the profile has a screen at all.
    """

    false_alarm_rate: Rate = 0.001
    precaution_rate: Rate = 0.05
    frames: Annotated[int, Field(ge=50)] = 600
    patch_steps: Annotated[int, Field(ge=1)] = 240
    least_patch_steps: Annotated[int, Field(ge=1)] = 80
    shown_frames: Annotated[int, Field(ge=1)] = 90
    drawn_pictures: Annotated[int, Field(ge=0)] = 110
    head_steps: Annotated[int, Field(ge=3)] = 2000
    patience: Annotated[int, Field(ge=1)] = 8
    compared_frames: Annotated[int, Field(ge=1)] = 10
    reported_frames: Annotated[int, Field(ge=1)] = 24
    screen_steps: AdversarialSteps = 1000
    screen: bool = True


@dataclass(frozen=True)
class FineTuningSettings(Settings):
    """How a network is fine-tuned against attackers.

    Attributes:
        steps: of the network, each with one of an attacker.
        learning_rate: at its highest.
        seed: of every random choice.
    """

    steps: Annotated[int, Field(ge=1)] = 2000
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 3e-4
    seed: int = 0
