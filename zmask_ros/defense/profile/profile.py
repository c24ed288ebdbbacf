"""The profile: everything that fitting learns and the node loads, as one object."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from zmask_ros.defense.evidence.grid import Size, working_grid
from zmask_ros.defense.evidence.head import Head
from zmask_ros.defense.evidence.overactivation import Branch
from zmask_ros.defense.evidence.statistics import LayerStatistics
from zmask_ros.defense.masking.growth import Growth
from zmask_ros.errors import ZmaskError
from zmask_ros.flags.vote import VoteRule

OURS = "ours"
PAPER = "paper"


class ProfileError(ZmaskError):
    """A profile that is missing, damaged, or belongs to something else."""


@dataclass(frozen=True)
class Binding:
    """What a profile belongs to: it is refused for any other network, layers, resolution or preprocessing.

    Attributes:
        segmenter: name of the segmenter, for people; the digest decides.
        digest: SHA-256 of its weights.
        input_size: (height, width) of the network's input.
        mean, std: preprocessing of the RGB channels.
        shapes: each tapped layer's (channels, height, width) at that input size.
    """

    segmenter: str
    digest: str
    input_size: Size
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    shapes: dict[str, tuple[int, int, int]]

    def check(self, other: Binding) -> None:
        """Refuse unless ``other`` is the same.

        Raises:
            ProfileError: what differs, each with both values.
        """
        differences = []
        if self.digest != other.digest:
            differences.append(
                f"network (profile: {self.segmenter} {self.digest[:12]}, here: {other.segmenter} {other.digest[:12]})"
            )
        for title, mine, theirs in (
            ("input size", self.input_size, other.input_size),
            ("mean", self.mean, other.mean),
            ("std", self.std, other.std),
            ("layers", sorted(self.shapes), sorted(other.shapes)),
        ):
            if mine != theirs:
                differences.append(f"{title} (profile: {mine}, here: {theirs})")
        for layer in self.shapes.keys() & other.shapes.keys():
            if self.shapes[layer] != other.shapes[layer]:
                differences.append(f"shape of {layer} (profile: {self.shapes[layer]}, here: {other.shapes[layer]})")
        if differences:
            found = "; ".join(differences)
            raise ProfileError(f"The profile was fitted on something else: {found}. Run zmask fit again.")


@dataclass(frozen=True)
class RateInterval:
    """How far the true false-alarm rate of a threshold may be from the one that was asked for.

    Attributes:
        low, high: bounds of the rate, 0..1.
        confidence: probability that they hold, 0..1, as far as the frames are independent.
        exceeded: how many of ``frames`` clean frames were flagged by thresholds that they had no part in.
    """

    low: float
    high: float
    confidence: float
    exceeded: int
    frames: int


@dataclass(frozen=True)
class Threshold:
    """When a frame is called attacked, or masked: ``score > value``.

    Attributes:
        value: tau, at least 0.
        false_alarm_rate: the share of clean frames that was asked for, in 0..1.
        frames: number of held-out clean frames it was set from.
        highest_clean_score: the largest score among them.
        interval: of the false-alarm rate; None where there were too few frames, or in a profile from before there
            were intervals.
    """

    value: float
    false_alarm_rate: float
    frames: int
    highest_clean_score: float
    interval: RateInterval | None = None


@dataclass(frozen=True)
class Screen:
    """What looks at each frame in streaming mode, and says which ones the whole analysis has to see.

    Attributes:
        head: a small evidence head of its own; its layers' statistics are keyed ``screen:layer``.
        threshold: the score above which the whole analysis is done; a share of the clean frames exceeds it.
    """

    head: Head
    threshold: Threshold


@dataclass(frozen=True)
class Source:
    """One drive that went into the statistics: bag, topic, frames used, frames held out for the threshold."""

    bag: str
    topic: str
    frames: int
    held_out: int


@dataclass(frozen=True)
class Profile:
    """Clean statistics, fusion block and threshold for one network on one camera's world.

    Attributes:
        binding: what it belongs to.
        grid_fraction: the working grid G is the input size divided by this.
        shallow, deep: the layer sets S and D, with their kernels on G.
        growth: how far the mask grows.
        statistics: clean statistics of every layer in S, in D, of the head and of the screening; keyed by
            ``branch:layer``, as a layer may be in several.
        fusion: float32 [8], scalars of the fusion block.
        threshold: when a frame is called attacked.
        precaution: when a frame is masked although it is not called attacked, set for a higher rate of clean frames;
            None: never.
        sources: the drives it was fitted on.
        created: ISO 8601 date and time, UTC.
        tool_version: of zmask_ros.
        notes: sentences on how it came about, for people.
        variant: which plan it was fitted by: ``ours``, or ``paper``.
        vote: how many flagged frames of how many call an attack.
        head: the evidence head that calibration trained; None: the evidence are the mean z-scores of S and D.
        screen: what looks at frames first in streaming mode; None: every frame is analysed as a whole.
    """

    binding: Binding
    grid_fraction: int
    shallow: Branch
    deep: Branch
    growth: Growth
    statistics: dict[str, LayerStatistics]
    fusion: Tensor
    threshold: Threshold
    sources: tuple[Source, ...] = ()
    created: str = ""
    tool_version: str = ""
    notes: tuple[str, ...] = field(default=())
    variant: str = OURS
    vote: VoteRule = field(default_factory=VoteRule)
    head: Head | None = None
    precaution: Threshold | None = None
    screen: Screen | None = None

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that the defence looks at, each once."""
        analysed = self.shallow.layers + self.deep.layers if self.head is None else self.head.branch.layers
        return tuple(dict.fromkeys(analysed + self._screened + self._edge))

    @property
    def bound_layers(self) -> tuple[str, ...]:
        """All layers that the profile has statistics of, and that of the mask's edge, each once."""
        learned = () if self.head is None else self.head.branch.layers
        return tuple(dict.fromkeys(self.shallow.layers + self.deep.layers + learned + self._screened + self._edge))

    @property
    def _screened(self) -> tuple[str, ...]:
        return () if self.screen is None else self.screen.head.branch.layers

    @property
    def _edge(self) -> tuple[str, ...]:
        return () if self.growth.edge is None else (self.growth.edge,)

    @property
    def masking_threshold(self) -> float:
        """The score above which a frame is masked in any case; infinite where there is none."""
        return math.inf if self.precaution is None else self.precaution.value

    @property
    def grid(self) -> Size:
        """Height and width of the working grid G."""
        return working_grid(self.binding.input_size, self.grid_fraction)

    @property
    def frames(self) -> int:
        """Number of clean frames behind the statistics."""
        return sum(source.frames for source in self.sources)

    def check_finite(self) -> None:
        """Refuse a profile that would never flag anything, because it holds a NaN or an infinity.

        Raises:
            ProfileError: it does.
        """
        screening = None if self.screen is None else self.screen.threshold
        thresholds = [t.value for t in (self.threshold, self.precaution, screening) if t is not None]
        calibration = torch.cat([self.fusion, torch.tensor(thresholds)])
        finite = [statistics.moments.finite for statistics in self.statistics.values()]
        heads = (self.head, None if self.screen is None else self.screen.head)
        learned = [tensor for head in heads if head is not None for tensor in head.tensors.values()]
        if not all(finite) or not all(bool(torch.isfinite(tensor).all()) for tensor in (calibration, *learned)):
            raise ProfileError(NOT_FINITE)


NOT_FINITE = "The clean statistics are not finite: the network overflows on some of the frames."


def statistics_key(branch: str, layer: str) -> str:
    """Key of a layer's statistics within ``branch``: ``shallow``, ``deep``, ``head`` or ``screen``."""
    return f"{branch}:{layer}"


def without_head(profile: Profile) -> Profile:
    """``profile`` with the mean z-scores of S and D for evidence, but the fusion block and threshold that it had."""
    plain = replace(without_screen(profile), head=None)
    return _only_bound(plain, "head")


def without_screen(profile: Profile) -> Profile:
    """``profile`` that has every frame analysed as a whole."""
    return _only_bound(replace(profile, screen=None), "screen")


def _only_bound(profile: Profile, dropped: str) -> Profile:
    """``profile`` without the statistics of the branch that is ``dropped``, and layers that nothing looks at."""
    kept = {key: own for key, own in profile.statistics.items() if not key.startswith(statistics_key(dropped, ""))}
    shapes = {name: profile.binding.shapes[name] for name in profile.bound_layers}
    return replace(profile, statistics=kept, binding=replace(profile.binding, shapes=shapes))
