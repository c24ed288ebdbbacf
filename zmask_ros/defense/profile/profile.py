"""The profile: everything that fitting learns and the node loads, as one object."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from zmask_ros.defense.drift.reference import DriftReference
from zmask_ros.defense.evidence.grid import Size
from zmask_ros.defense.evidence.head import Head
from zmask_ros.defense.evidence.overactivation import Branch
from zmask_ros.defense.masking.growth import Growth
from zmask_ros.defense.profile.detector import Detector, Screen, Threshold, statistics_key
from zmask_ros.errors import ZmaskError
from zmask_ros.flags.alarm import VoteRule

OURS = "ours"
"""Variant of a profile: the plan of this project."""
PAPER = "paper"
"""Variant of a profile: the plan of the paper."""
NOT_FINITE = "The clean statistics are not finite: the network overflows on some of the frames."


class ProfileError(ZmaskError):
    """A profile that is missing, damaged, or belongs to something else."""


@dataclass(frozen=True)
class Binding:
    """What a profile belongs to; it is refused for any other network, layers, resolution or preprocessing.

    Attributes:
        segmenter: name of the segmenter, for people; the digest decides.
        digest: SHA-256 of its weights.
        input_size: (height, width) of the network's input.
        mean: of the RGB channels, subtracted in preprocessing.
        std: of the RGB channels, divided by in preprocessing.
        shapes: (channels, height, width) of each tapped layer at that input size.
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
            ProfileError: the two differ; the message names what differs, with both values.
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
            if self.digest == other.digest:
                advice = "describe the network as it was, or run zmask fit again"
            elif self.segmenter == other.segmenter:
                advice = "use the weights that it was fitted on, or run zmask fit again"
            else:
                advice = f"name the network {self.segmenter}, or fit a profile for {other.segmenter} with zmask fit"
            raise ProfileError(f"The profile was fitted on something else: {found}. So {advice}.")


@dataclass(frozen=True)
class Source:
    """One drive that went into the statistics.

    Attributes:
        bag: name of the bag.
        topic: name of the image topic.
        frames: number of frames that are in the statistics.
        held_out: number of frames that were held out for the threshold.
    """

    bag: str
    topic: str
    frames: int
    held_out: int


MergeKey = tuple[int, Branch, Branch, Growth, str, str]
"""Grid fraction, S and D with their kernels, growth and variant of a profile, and the digest of a transferable head."""


def merge_key(
    grid_fraction: int, shallow: Branch, deep: Branch, growth: Growth, variant: str, head: Head | None
) -> MergeKey | None:
    """What must be equal in profiles that are merged; None: nothing can be merged with one that has this head.

    A head that sees channels was trained on their statistics; one that sees descriptors goes with any.
    """
    if head is not None and not head.transfers:
        return None
    return grid_fraction, shallow, deep, growth, variant, "" if head is None else head.digest


@dataclass(frozen=True)
class Profile:
    """What fitting learns of one network in one camera's world, and the node loads.

    Attributes:
        binding: what it belongs to.
        detector: tells attacked frames from clean ones.
        screen: sees frames of a stream before the detector does; None: every frame is fully analyzed.
        sources: the drives it was fitted on.
        created: ISO 8601 date and time, UTC.
        tool_version: of zmask_ros.
        notes: sentences about how it was made, for people.
        variant: which plan it was fitted by: ``ours``, or ``paper``.
        vote: how many flagged frames of how many call an attack.
        drift: by which it is told whether the profile fits a camera; None: there were too few frames, and in old
            profiles.
    """

    binding: Binding
    detector: Detector
    screen: Screen | None = None
    sources: tuple[Source, ...] = ()
    created: str = ""
    tool_version: str = ""
    notes: tuple[str, ...] = ()
    variant: str = OURS
    vote: VoteRule = field(default_factory=VoteRule)
    drift: DriftReference | None = None

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers whose activations the defense needs, each once."""
        return tuple(dict.fromkeys(self.detector.layers + self._screened))

    @property
    def bound_layers(self) -> tuple[str, ...]:
        """All layers that the profile has statistics of, and the layer of the mask's edge, each once."""
        return tuple(dict.fromkeys(self.detector.bound_layers + self._screened))

    @property
    def _screened(self) -> tuple[str, ...]:
        return () if self.screen is None else self.screen.head.branch.layers

    @property
    def grid(self) -> Size:
        """Height and width of the detector's working grid G."""
        return self.detector.grid(self.binding.input_size)

    @property
    def frames(self) -> int:
        """Number of clean frames behind the statistics."""
        return sum(source.frames for source in self.sources)

    @property
    def merge_key(self) -> MergeKey | None:
        """What must be equal in profiles that are merged; None: it cannot be merged, see `merge_key`."""
        own = self.detector
        return merge_key(own.grid_fraction, own.shallow, own.deep, own.growth, self.variant, own.head)

    def with_detector(self, detector: Detector) -> Profile:
        """The same with another detector for the same layers, or for some of them."""
        return replace(self, detector=detector)._with_own_binding()

    def without_screen(self) -> Profile:
        """The same without its screen: every frame is fully analyzed."""
        return replace(self, screen=None)._with_own_binding()

    def without_head(self) -> Profile:
        """The same without what adversarial training made: no head, so the evidence is mean z-scores, and no screen."""
        return self.without_screen().with_detector(self.detector.without_head())

    def of_screen(self) -> Profile:
        """A profile whose detector is the screen of this one, which must have one: to train it, and to attack it."""
        assert self.screen is not None
        alone = replace(self, detector=self.screen.detector(self.detector), screen=None)
        return alone._with_own_binding()

    def with_screen(self, alone: Profile, threshold: Threshold) -> Profile:
        """The same with the head of ``alone`` for its screen: the inverse of `of_screen`."""
        head, plain = alone.detector.head, self.without_screen()
        assert head is not None
        layers = head.branch.layers
        own = {name: alone.detector.statistics[statistics_key("head", name)] for name in layers}
        shapes = plain.binding.shapes | {name: alone.binding.shapes[name] for name in layers}
        return replace(plain, screen=Screen(head, own, threshold), binding=replace(plain.binding, shapes=shapes))

    def with_notes(self, beginning: str, *notes: str) -> Profile:
        """The same with these notes in the place of those with this beginning."""
        kept = (note for note in self.notes if not note.startswith(beginning))
        return replace(self, notes=(*kept, *notes))

    def _with_own_binding(self) -> Profile:
        """The same, bound to those layers only that it has statistics of."""
        shapes = {name: self.binding.shapes[name] for name in self.bound_layers}
        return replace(self, binding=replace(self.binding, shapes=shapes))

    def check_finite(self) -> None:
        """Refuse a profile with a NaN or an infinity, since it would never flag anything.

        Raises:
            ProfileError: the profile holds one.
        """
        parts = (self.detector, self.screen, self.drift)
        if not all(part is None or part.finite for part in parts):
            raise ProfileError(NOT_FINITE)
