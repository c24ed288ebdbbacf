"""All that a run judges frames by: the clean network, the undefended one, the oracle, ours, and other defences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from zmask_ros.defense import Profile
from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.baselines.detectors import FeatureDetector, LocalGradientSmoothing, compressed, hyperneuron
from zmask_ros.evaluation.baselines.interface import Defence, Ours, PlainThreshold, Undefended, set_threshold
from zmask_ros.evaluation.metrics.records import Judge, Verdict
from zmask_ros.evaluation.protocol.frames import Parts
from zmask_ros.evaluation.protocol.plan import COMPARED
from zmask_ros.runtime.camera import labels_without
from zmask_ros.segmenters import Segmenter

CLEAN, NONE, ORACLE = "clean", "none", "oracle"
BOUNDS = (CLEAN, NONE, ORACLE)
"""What the other figures lie between: no attack, no defence, and the true mask."""
PASSES = {CLEAN: 0.1, NONE: 1.0, ORACLE: 1.1, "plain threshold": 2.2, "HN": 1.2, "FPDA": 1.1, "LGS": 2.4}
OUR_PASSES = 2.3
"""What a frame costs at most, in passes of the plain network: for estimates of time."""


@dataclass(frozen=True)
class NamedProfile:
    """A profile to evaluate: its name in tables, where it lies, and the SHA-256 of its file, hexadecimal."""

    name: str
    path: str
    digest: str
    profile: Profile


class Judges:
    """Makes judges by name, each when it is first asked for.

    Args:
        segmenter: the network.
        profiles: of our defence; the first is the one that adaptive attacks know.
        parts: the compared detectors learn from the statistics part and are thresholded on the thresholds part.
        false_alarm_rate: that they are thresholded for.

    Raises:
        ZmaskError: two profiles have one name, or the name of another judge.
    """

    def __init__(
        self, segmenter: Segmenter, profiles: tuple[NamedProfile, ...], parts: Parts, false_alarm_rate: float
    ) -> None:
        names = [profile.name for profile in profiles]
        for name in names:
            if names.count(name) > 1 or name in PASSES:
                raise ZmaskError(f"'{name}' names something else already: name the profile as in --profile mine=PATH.")
        self.profiles = profiles
        self._segmenter, self._parts, self._rate = segmenter, parts, false_alarm_rate
        self._defences: dict[str, Defence] = {}

    def judge(self, name: str, advance: Callable[[], None] = lambda: None) -> Judge:
        """The judge called ``name``; ``advance`` is called for every frame that it learns from first."""
        if name == CLEAN:
            return lambda frame: _as_it_is(frame.clean)
        if name == ORACLE:
            return lambda frame: _as_it_is(labels_without(self._segmenter, frame.image, frame.hidden))
        defence = self.defence(name, advance)
        return lambda frame: defence.process(frame.image)

    def defence(self, name: str, advance: Callable[[], None] = lambda: None) -> Defence:
        """The defence called ``name``, ready for use."""
        if name not in self._defences:
            self._defences[name] = self._make(name, advance)
        return self._defences[name]

    def learned_frames(self, name: str) -> int:
        """How many clean frames a defence sees before it is ready for use."""
        if name not in COMPARED or name in self._defences:
            return 0
        return len(self._parts.thresholds) + (len(self._parts.statistics) if name in ("HN", "FPDA") else 0)

    def _make(self, name: str, advance: Callable[[], None]) -> Defence:
        ours = {named.name: named.profile for named in self.profiles}
        if name == NONE:
            return Undefended(self._segmenter)
        if name in ours:
            return Ours(self._segmenter, ours[name], name)
        first = self.profiles[0].profile
        # The last deep layer: these detectors were made for features that lie far from the image.
        layer = first.detector.deep.layers[-1]
        defence: FeatureDetector | PlainThreshold | LocalGradientSmoothing
        if name == "plain threshold":
            defence = PlainThreshold(self._segmenter, first.without_head())
        elif name == "LGS":
            defence = LocalGradientSmoothing(self._segmenter)
        else:
            defence = (hyperneuron if name == "HN" else compressed)(self._segmenter, layer)
            defence.fit([scene.image for scene in self._parts.statistics], advance)
        set_threshold(defence, [scene.image for scene in self._parts.thresholds], self._rate, advance)
        return defence


def _as_it_is(labels: np.ndarray) -> Verdict:
    return Verdict(0.0, False, np.zeros(labels.shape, bool), labels, labels)


def passes(name: str) -> float:
    """What one frame costs a judge at most, in passes of the plain network."""
    return PASSES.get(name, OUR_PASSES)
