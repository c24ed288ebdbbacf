"""Streaming mode: one frame of each of several cameras at a time, with what is remembered of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zmask_ros.defense.analyzer import Analysis, Evidence
from zmask_ros.defense.defense import Defense, DefenseResult, FirstPass
from zmask_ros.defense.evidence.grid import area_resample
from zmask_ros.defense.evidence.taps import try_layers
from zmask_ros.defense.masking.soft_region import OPEN
from zmask_ros.defense.resegmentation.stem import StemOutput, StemTap
from zmask_ros.defense.stage_timer import StageTimer
from zmask_ros.defense.streaming.activation_inpainting import ActivationInpainting, tracked_mask
from zmask_ros.defense.streaming.camera_state import CameraState, FrameOutcome, IncomingFrame, TrackUpdate
from zmask_ros.defense.streaming.cascade import Cascade, CascadeResult
from zmask_ros.defense.streaming.tracking import TrackedPatch, Tracker

KEYFRAME_INTERVAL_S = 0.5
"""Seconds between two keyframes, unless another interval is given."""


class StreamingDefense(nn.Module):
    """`Defense` with a memory: see `step`.

    Args:
        defense: the whole analysis of each frame; it may be shared.
        keyframe_interval_s: seconds after which a camera's frame is fully analyzed and its track learned again; at
            least 0.
    """

    def __init__(self, defense: Defense, keyframe_interval_s: float = KEYFRAME_INTERVAL_S) -> None:
        super().__init__()
        self.defense = defense
        self.keyframe_interval_s = keyframe_interval_s
        self.tracker = Tracker(defense.profile).to(defense.segmenter.device)
        self._copied = try_layers(defense.segmenter, [self.tracker.layer])[self.tracker.layer].overwritten
        self.cascade = Cascade(defense.profile, defense.analyzer, defense.segmenter.device)

    @torch.inference_mode()
    def step(
        self, x: Tensor, states: Sequence[CameraState], stamps_ns: Sequence[int]
    ) -> tuple[DefenseResult, tuple[CameraState, ...]]:
        """Defend one frame of each of B cameras, all in one pass.

        Args:
            x: normalized images, [B, 3, h, w].
            states: of the cameras.
            stamps_ns: when the frames were taken, in nanoseconds.

        Returns:
            What the defense says of the frames, and the cameras' new states.
        """
        timer = StageTimer(x.device)
        # Read once: they may be changed from another thread.
        thresholds = self.defense.thresholds
        frames = [IncomingFrame(*pair, self.keyframe_interval_s) for pair in zip(states, stamps_ns, strict=True)]
        first, seen, inpainting, stem_output = self._analyze(x, frames, thresholds.masking, timer)
        suspicious = seen.analysis.score > thresholds.masking
        # A score of the screen alone is never above the threshold.
        repeated = suspicious if any(seen.full) and bool(suspicious.any()) else None
        removed = tracked_mask(inpainting.tracked, x)
        segmentation = self.defense.segment(x, first, seen.analysis, repeated, stem_output, timer, removed)
        analysis = _with_tracked(seen.analysis, inpainting.tracked)
        tracked = torch.tensor([patch is not None for patch in inpainting.tracked], device=x.device) & ~suspicious
        result = DefenseResult(
            labels=segmentation.labels,
            first=first,
            mask=segmentation.mask,
            flagged=analysis.score > thresholds.attack,
            suspicious=suspicious | tracked,
            thresholds=thresholds,
            analysis=analysis,
            stages_ms=timer.milliseconds(),
            tracked=tracked,
            fully_analyzed=tuple(seen.full),
        )
        updates = self._track_updates(seen.analysis, segmentation.by_analysis, suspicious, inpainting)
        outcomes = _outcomes(result, inpainting.tracked, updates)
        return result, tuple(frame.after(outcome) for frame, outcome in zip(frames, outcomes, strict=True))

    def _analyze(
        self, x: Tensor, frames: Sequence[IncomingFrame], masking: float, timer: StageTimer
    ) -> tuple[FirstPass, CascadeResult, ActivationInpainting, StemOutput | None]:
        """The one pass over ``x``: known patches are removed on the way, and the rest goes through the cascade.

        Returns:
            What the network said, what the cascade says, what was removed, and the output of the network's stem, if
            that is the images' own.
        """
        searches = [frame.search for frame in frames]
        network = self.defense.segmenter.network
        # The taps come second: the analysis sees what the network goes on with.
        with (
            ActivationInpainting(network, self.tracker, searches, masking, self._copied) as inpainting,
            self.defense.taps as taps,
            StemTap(self.defense.stem) as stem,
        ):
            first = FirstPass(self.defense.segmenter.logits(x))
            timer.mark("network")
            may_screen = [frame.may_screen(patch) for frame, patch in zip(frames, inpainting.tracked, strict=True)]
            seen = self.cascade(taps, inpainting.tracked, may_screen, masking, timer)
        untouched = all(patch is None for patch in inpainting.tracked)
        return first, seen, inpainting, stem.output if untouched else None

    def _track_updates(
        self, analysis: Analysis, masked: Tensor | None, suspicious: Tensor, inpainting: ActivationInpainting
    ) -> list[TrackUpdate | None]:
        """What is learned of each image that the analysis masked.

        Args:
            analysis: of the images, outside of tracked patches.
            masked: the pixels that it masked, 0 or 1, [B, 1, h, w]; None: none.
            suspicious: bool [B], the images that it masked.
            inpainting: the tracked patches, and the activation of the tracker's layer.
        """
        if masked is None:
            return [None] * len(suspicious)
        # The patch is learned as its mask ends, and without the cells around it.
        region = area_resample(masked, self.tracker.grid) > OPEN
        updates: list[TrackUpdate | None] = []
        for index, (learned, patch) in enumerate(zip(suspicious.tolist(), inpainting.tracked, strict=True)):
            image = slice(index, index + 1)
            if not learned:
                updates.append(None)
            elif patch is not None:
                # A second patch: there is no track of both.
                updates.append(TrackUpdate(None))
            else:
                features = self.tracker.features(inpainting.activation[image])
                score, heat = float(analysis.score[index]), float(analysis.heat[image][region[image]].mean())
                updates.append(TrackUpdate(self.tracker.learn(features, region[image], score, heat)))
        return updates


def _outcomes(
    result: DefenseResult, tracked: Sequence[TrackedPatch | None], updates: Sequence[TrackUpdate | None]
) -> list[FrameOutcome]:
    """What came of each image."""
    if not any(result.fully_analyzed) and all(patch is None for patch in tracked):
        # Nothing has to be fetched from the device for images that only the screen saw.
        return [FrameOutcome(tracked=None, fully_analyzed=False, flagged=False, track_update=None)] * len(tracked)
    finite, flagged = result.analysis.score.isfinite().tolist(), result.flagged.tolist()
    return [
        FrameOutcome(patch, full and known, flag, update)
        for patch, full, known, flag, update in zip(
            tracked, result.fully_analyzed, finite, flagged, updates, strict=True
        )
    ]


def _with_tracked(analysis: Analysis, tracked: Sequence[TrackedPatch | None]) -> Analysis:
    """An analysis of what is outside of tracked patches, with the heat and the score of these patches."""
    if all(patch is None for patch in tracked):
        return analysis
    evidence = analysis.evidence
    shallow, deep, mask, score = (t.clone() for t in (evidence.shallow, evidence.deep, analysis.mask, analysis.score))
    for index, patch in enumerate(tracked):
        if patch is not None:
            region = patch.region[0]
            shallow[index][region] = deep[index][region] = patch.track.heat**0.5
            mask[index][region] = 1.0
            score[index] = score[index].clamp_min(patch.score)
    return Analysis(Evidence(shallow, deep), mask, score)
