"""All that an evaluation runs over its frames: the clean network, the undefended one, the oracle, and the baselines."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from zmask_ros.defense import Profile, load_profile
from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.baselines.interface import Baseline, LearningBaseline, Ours, segment, set_threshold
from zmask_ros.evaluation.baselines.registry import COMPARED
from zmask_ros.evaluation.metrics.records import Evaluator, Verdict
from zmask_ros.evaluation.protocol.frames import Parts
from zmask_ros.progress import Advance, no_advance
from zmask_ros.runtime.camera import labels_without
from zmask_ros.segmenters import Segmenter

CLEAN, NONE, ORACLE = BOUNDS = ("clean", "none", "oracle")
"""What the other figures lie between: no attack, no defense, and the true mask."""


@dataclass(frozen=True)
class NamedProfile:
    """A profile to evaluate.

    Attributes:
        name: The title of its row in tables.
        path: The name of its file.
        digest: SHA-256 of its file, hexadecimal.
        profile: Its content.
    """

    name: str
    path: str
    digest: str
    profile: Profile

    @staticmethod
    def load(name: str, path: Path) -> NamedProfile:
        """The profile in the file ``path``."""
        profile = load_profile(path)
        return NamedProfile(name, path.name, hashlib.sha256(path.read_bytes()).hexdigest(), profile)


class Evaluators:
    """Makes evaluators by name, each when it is first asked for.

    Args:
        segmenter: The network.
        profiles: Profiles of our defense; adaptive attacks know the first.
        parts: Compared detectors learn from the statistics part, and the thresholds part sets their thresholds.
        false_alarm_rate: The rate that these thresholds are set for, 0..1, exclusive.

    Raises:
        ZmaskError: Two profiles have one name, or a profile has the name of another evaluator.
    """

    def __init__(
        self, segmenter: Segmenter, profiles: tuple[NamedProfile, ...], parts: Parts, false_alarm_rate: float
    ) -> None:
        names = [profile.name for profile in profiles]
        for name in names:
            if names.count(name) > 1 or name in (*BOUNDS, *COMPARED):
                raise ZmaskError(f"'{name}' names something else already: name the profile as in --profile mine=PATH.")
        self.profiles = profiles
        self._segmenter, self._parts, self._rate = segmenter, parts, false_alarm_rate
        self._baselines: dict[str, Baseline] = {}

    def evaluator(self, name: str, advance: Advance = no_advance) -> Evaluator:
        """The evaluator called ``name``; each clean frame that it learns from first is one step of ``advance``."""
        bounds: dict[str, Evaluator] = {
            CLEAN: lambda frame: Verdict.unmasked(frame.clean),
            NONE: lambda frame: Verdict.unmasked(segment(self._segmenter, frame.image)),
            ORACLE: lambda frame: Verdict.unmasked(labels_without(self._segmenter, frame.image, frame.hidden)),
        }
        if name in bounds:
            return bounds[name]
        baseline = self.baseline(name, advance)
        return lambda frame: baseline.process(frame.image)

    def baseline(self, name: str, advance: Advance = no_advance) -> Baseline:
        """The baseline or profile called ``name``, ready for use; ``advance`` as for `evaluator`."""
        if name in self._baselines:
            return self._baselines[name]
        ours = {named.name: named.profile for named in self.profiles}
        if name in ours:
            baseline: Baseline = Ours(self._segmenter, ours[name])
        else:
            baseline = COMPARED[name].make(self._segmenter, self.profiles[0].profile)
            if isinstance(baseline, LearningBaseline):
                baseline.fit([scene.image for scene in self._parts.statistics], advance)
            set_threshold(baseline, [scene.image for scene in self._parts.thresholds], self._rate, advance)
        self._baselines[name] = baseline
        return baseline

    def learned_frames(self, name: str) -> int:
        """The number of clean frames that an evaluator still has to learn from."""
        if name not in COMPARED or name in self._baselines:
            return 0
        return len(self._parts.thresholds) + (len(self._parts.statistics) if COMPARED[name].learns else 0)
