"""The defenses that ours is compared with, by the names that plans and tables use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from zmask_ros.defense import Profile
from zmask_ros.evaluation.baselines.interface import Baseline, PlainThreshold, SingleLayer
from zmask_ros.evaluation.baselines.published_defenses import LocalGradientSmoothing, channel_mean, hyperneuron
from zmask_ros.segmenters import Segmenter


@dataclass(frozen=True)
class BaselineEntry:
    """How one baseline is made.

    Attributes:
        make: Makes it from the network and the first profile of an evaluation; its threshold is set afterwards.
        passes: What a frame costs at most, in passes of the plain network: for estimates of time.
        learns: Whether it is a `LearningBaseline`, which learns from clean frames before its threshold is set.
    """

    make: Callable[[Segmenter, Profile], Baseline]
    passes: float
    learns: bool = False


def single_layer(segmenter: Segmenter, first: Profile) -> SingleLayer:
    """The trivial defense on the last layer of S, the deepest of those that are spatially exact."""
    return SingleLayer(segmenter, first.detector.shallow.layers[-1])


COMPARED = {
    "plain threshold": BaselineEntry(lambda segmenter, first: PlainThreshold(segmenter, first.without_head()), 2.2),
    "single layer": BaselineEntry(single_layer, 2.2, learns=True),
    "HN": BaselineEntry(hyperneuron, 1.2, learns=True),
    "FPDA": BaselineEntry(channel_mean, 1.1, learns=True),
    "LGS": BaselineEntry(lambda segmenter, first: LocalGradientSmoothing(segmenter), 2.4),
}
