"""The defence over time: one pass for frames that show a patch that is known already.

The state of a camera is one object that goes in and comes out; the network keeps none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zmask_ros.defense.analysis import Analysis, Evidence, hard_mask
from zmask_ros.defense.defense import Defended, Defense, FirstPass, segment_again, some
from zmask_ros.defense.filling import fill_masked
from zmask_ros.defense.growth import OPEN
from zmask_ros.defense.pooling import area_resample
from zmask_ros.defense.stages import Stages
from zmask_ros.defense.stem import StemTap
from zmask_ros.defense.taps import find_layer
from zmask_ros.defense.tracking import Found, Track, Tracker
from zmask_ros.defense.vote import LONGEST_GAP_S

KEYFRAME_INTERVAL_S = 0.5
EDGE = 1
"""Cells around a replaced region in which the analysis sees its edge, and no second patch."""


@dataclass(frozen=True)
class StreamState:
    """All that is remembered of one camera.

    Attributes:
        track: the patch that is known; None: the next frame is watched.
        keyframe_ns: time of the frame that the track was learned on, in nanoseconds.
        last_ns: time of the last frame; None: there was none.
    """

    track: Track | None = None
    keyframe_ns: int = 0
    last_ns: int | None = None

    def search(self, stamp_ns: int, keyframe_interval_s: float) -> Search | None:
        """What to look for in a frame of this time: nothing after a jump in time, and where a keyframe is due."""
        if self.track is None or self.last_ns is None:
            return None
        elapsed_s, age_s = (stamp_ns - self.last_ns) / 1e9, (stamp_ns - self.keyframe_ns) / 1e9
        # A camera that does not say when its frames were taken is not followed: its keyframes would never be due.
        if not 0 < elapsed_s <= LONGEST_GAP_S or age_s >= keyframe_interval_s:
            return None
        return Search(self.track, elapsed_s)


@dataclass(frozen=True)
class Search:
    """A patch to be found again, and the seconds since it was last seen."""

    track: Track
    elapsed_s: float


class StreamingDefense(nn.Module):
    """`Defense` with a memory: see `step`.

    Args:
        defense: shared with whoever wants the whole analysis of each frame.
        keyframe_interval_s: a track is learned anew after so many seconds, at least 0.
    """

    def __init__(self, defense: Defense, keyframe_interval_s: float = KEYFRAME_INTERVAL_S) -> None:
        super().__init__()
        self.defense = defense
        self.keyframe_interval_s = keyframe_interval_s
        self.tracker = Tracker(defense.profile).to(defense.segmenter.device)

    @torch.inference_mode()
    def step(
        self, x: Tensor, states: Sequence[StreamState], stamps_ns: Sequence[int]
    ) -> tuple[Defended, tuple[StreamState, ...]]:
        """Defend one frame of each of B cameras, all in one pass.

        Args:
            x: normalised images, [B, 3, h, w].
            states: of the cameras.
            stamps_ns: when the frames were taken, in nanoseconds.

        Returns:
            What is said of the frames, and the cameras' new states.
        """
        stages = Stages(x.device)
        # Read once: they may be changed from another thread.
        thresholds = self.defense.thresholds
        searches = [s.search(t, self.keyframe_interval_s) for s, t in zip(states, stamps_ns, strict=True)]
        # The taps come second: the analysis sees what the network goes on with.
        replaced = Replacement(self.defense.segmenter.network, self.tracker, searches, thresholds.masking)
        with replaced, self.defense.taps as taps, StemTap(self.defense.stem) as stem:
            first = FirstPass(self.defense.segmenter.logits(x))
            stages.mark("network")
            beside = self._beside(self.defense.analyser(taps), replaced.found)
            again = beside.score > thresholds.masking
            repeated = bool(again.any())
            stages.mark("analysis")
        mask = _on(replaced.found, x)
        region = torch.zeros_like(beside.mask)
        if repeated:
            where = some(again)
            hard = self.defense.mask_of(beside, where, (x.shape[-2], x.shape[-1]))
            mask = torch.maximum(mask, hard)
            # What is learned is the patch as the mask ends it, and not the cells around it.
            region = area_resample(hard, self.defense.profile.grid)
            # Where something was taken out, the stem has not put out what it makes of the image.
            kept = stem.kept if all(one is None for one in replaced.found) else None
            labels = segment_again(self.defense.segmenter, x, mask, where, first, kept)
            stages.mark("second pass")
        else:
            labels = first.labels
            stages.mark("labels")
        after = [
            self._after(stamp, found, state, Keyframe(beside, region, index) if bool(again[index]) else None, replaced)
            for index, (state, stamp, found) in enumerate(zip(states, stamps_ns, replaced.found, strict=True))
        ]
        analysis = _as_found(beside, replaced.found)
        tracked = torch.tensor([found is not None for found in replaced.found], device=x.device) & ~again
        flagged, suspicious = analysis.score > thresholds.attack, again | tracked
        hidden, times = mask[:, 0] > OPEN, stages.milliseconds()
        defended = Defended(labels, first, hidden, flagged, suspicious, thresholds, analysis, times, tracked)
        return defended, tuple(after)

    def _beside(self, analysis: Analysis, found: Sequence[Found | None]) -> Analysis:
        """``analysis`` without the evidence in and next to regions that are found again."""
        if all(one is None for one in found):
            return analysis
        nothing = torch.zeros_like(analysis.mask)
        regions = torch.cat([nothing[:1] if one is None else one.track.region.to(nothing) for one in found])
        beside = 1 - F.max_pool2d(regions, 2 * EDGE + 1, 1, EDGE)
        evidence = Evidence(analysis.evidence.shallow * beside, analysis.evidence.deep * beside)
        mask = analysis.mask * beside
        return Analysis(evidence, mask, self.defense.analyser.score(evidence, mask), analysis.edge)

    def _after(
        self, stamp_ns: int, found: Found | None, state: StreamState, keyframe: Keyframe | None, replaced: Replacement
    ) -> StreamState:
        if keyframe is None:
            return StreamState(None if found is None else found.track, state.keyframe_ns, stamp_ns)
        if found is not None:
            # A second patch: the next frame is looked at as a whole, and a track learned for both.
            return StreamState(None, 0, stamp_ns)
        features = self.tracker.features(replaced.activation[keyframe.index : keyframe.index + 1])
        return StreamState(self.tracker.learn(features, *keyframe.lesson), stamp_ns, stamp_ns)


@dataclass(frozen=True)
class Keyframe:
    """A frame of a batch that was analysed as a whole and is suspicious."""

    analysis: Analysis
    regions: Tensor
    index: int

    @property
    def lesson(self) -> tuple[Tensor, float, float]:
        """Region, bool [1, 1, h, w], score and mean heat in the region."""
        region = self.regions[self.index : self.index + 1] > OPEN
        heat = self.analysis.heat[self.index : self.index + 1][region].mean()
        return region, float(self.analysis.score[self.index]), float(heat)


class Replacement:
    """Context manager: as the tracker's layer puts out its activation, known patches are taken out of it.

    Args:
        network: that runs once inside.
        tracker: finds them.
        searches: of each image of the batch; None: it is only watched.
        threshold: a patch whose score is not above it is left where it is.
    """

    def __init__(
        self, network: nn.Module, tracker: Tracker, searches: Sequence[Search | None], threshold: float
    ) -> None:
        self._layer = find_layer(network, tracker.layer)
        self._tracker = tracker
        self._searches = searches
        self._threshold = threshold
        self.found: list[Found | None] = [None] * len(searches)

    def __enter__(self) -> Replacement:
        self._handle = self._layer.register_forward_hook(self._replace)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.remove()

    def _replace(self, module: nn.Module, inputs: object, activation: Tensor) -> Tensor:
        self.activation = activation
        for index, search in enumerate(self._searches):
            if search is not None:
                features = self._tracker.features(activation[index : index + 1])
                found = self._tracker.find(features, search.track, search.elapsed_s)
                self.found[index] = found if found is not None and found.score > self._threshold else None
        if all(one is None for one in self.found):
            return activation
        return fill_masked(activation, _on(self.found, activation))


def _on(found: Sequence[Found | None], like: Tensor) -> Tensor:
    """The regions that are found again at the size of ``like`` [B, C, H, W]: [B, 1, H, W], 0 or 1."""
    nothing = like.new_zeros(1, 1, *like.shape[-2:])
    size = (like.shape[-2], like.shape[-1])
    return torch.cat([nothing if one is None else hard_mask(one.track.region.to(like), size) for one in found])


def _as_found(beside: Analysis, found: Sequence[Found | None]) -> Analysis:
    """``beside`` with the heat and the score that the regions that are found again go by."""
    evidence = beside.evidence
    shallow, deep, mask, score = (t.clone() for t in (evidence.shallow, evidence.deep, beside.mask, beside.score))
    for index, one in enumerate(found):
        if one is not None:
            region = one.track.region[0]
            shallow[index][region] = deep[index][region] = one.track.heat**0.5
            mask[index][region] = 1.0
            score[index] = score[index].clamp_min(one.score)
    return Analysis(Evidence(shallow, deep), mask, score)
