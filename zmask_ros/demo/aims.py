"""What the demo should reach, and whether it did."""

from __future__ import annotations

from dataclasses import dataclass

from zmask_ros.demo.measure import DemoFigures


@dataclass(frozen=True)
class Aim:
    """A bound of one figure of the demo.

    Attributes:
        figure: name of the figure in `DemoFigures`.
        least: whether the bound is the least that is good enough, not the most.
        bound: of the figure; what is added to the figure ``beside``, where there is one.
        beside: name of the figure that the bound is relative to; empty if it is absolute.
    """

    figure: str
    least: bool
    bound: float
    beside: str = ""

    def __str__(self) -> str:
        sign = ">=" if self.least else "<="
        if not self.beside:
            return f"{sign} {self.bound:g}"
        offset = f" {'-' if self.bound < 0 else '+'} {abs(self.bound):g}" if self.bound else ""
        return f"{sign} {self.beside}{offset}"

    def met(self, figures: DemoFigures) -> bool | None:
        """Whether the figure is good enough; None where it, or the one beside it, is not defined."""
        value = getattr(figures, self.figure)
        beside = getattr(figures, self.beside) if self.beside else 0.0
        if value is None or beside is None:
            return None
        bound = beside + self.bound
        return bool(value >= bound if self.least else value <= bound)


AIMS = (
    Aim("flags_received", True, 0, "frames_sent"),
    Aim("frames_unknown", False, 0),
    Aim("recall", True, 0.95),
    Aim("false_alarm_rate", False, 0.01),
    Aim("mask_iou", True, 0.7),
    Aim("miou_attacked", False, -0.1, "miou_clean"),
    Aim("miou_defended", True, -0.03, "miou_clean"),
    # On two cores that do nothing else.
    Aim("playback_rate", True, 0.9),
)


@dataclass(frozen=True)
class AimVerdict:
    """One aim with what came of it.

    Attributes:
        aim: in words, such as ``>= 0.95``.
        met: whether it was reached; None where its figure is not defined.
    """

    aim: str
    met: bool | None

    @property
    def mark(self) -> str:
        """The aim and the word for what came of it."""
        return f"{self.aim}: {'not measured' if self.met is None else 'met' if self.met else 'MISSED'}"


def judge(figures: DemoFigures) -> dict[str, AimVerdict]:
    """Each aim by the name of its figure."""
    return {aim.figure: AimVerdict(str(aim), aim.met(figures)) for aim in AIMS}


def verdict(figures: DemoFigures) -> str:
    """Sentences on the aims that were missed, and on the share of real time."""
    missed = ", ".join(name for name, found in judge(figures).items() if found.met is False)
    sentence = f"Aims missed: {missed}." if missed else "No aim was missed."
    if figures.playback_rate is None:
        return sentence
    share = f"{figures.playback_rate:.2f} of real time"
    return f"{sentence} Camera and defense ran at {share}, in lockstep: each frame waits for its flag."
