"""Streaming mode: one frame of each of several cameras at a time, with what is remembered of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zmask_ros.defense.analyzer import Analysis, Evidence
from zmask_ros.defense.defense import Defense, DefenseResult, FirstPass, Thresholds
from zmask_ros.defense.evidence.grid import area_resample
from zmask_ros.defense.evidence.taps import try_layers
from zmask_ros.defense.masking.soft_region import OPEN
from zmask_ros.defense.resegmentation.stem import StemOutput, StemTap
from zmask_ros.defense.stage_timer import StageTimer
from zmask_ros.defense.streaming.activation_inpainting import ActivationInpainting, tracked_mask
from zmask_ros.defense.streaming.camera_state import CameraState, FrameOutcome, IncomingFrame
from zmask_ros.defense.streaming.cascade import Cascade, CascadeResult
from zmask_ros.defense.streaming.sighting import Sighting, sighted
from zmask_ros.defense.streaming.tracking import PatchTrack, TrackedPatch, Tracker

KEYFRAME_INTERVAL_S = 0.5
"""Seconds between two keyframes, unless another interval is given."""


class StreamingDefense(nn.Module):
    """`Defense` with a memory: see `step`.

    Args:
        defense: the whole analysis of each frame; it may be shared.
        keyframe_interval_s: seconds after which a camera's frame is fully analyzed and its track learned again, if
            not earlier; at least 0.
    """

    def __init__(self, defense: Defense, keyframe_interval_s: float = KEYFRAME_INTERVAL_S) -> None:
        super().__init__()
        self.defense = defense
        self.keyframe_interval_s = keyframe_interval_s
        self.tracker = Tracker(defense.profile).to(defense.segmenter.device)
        self._copied = try_layers(defense.segmenter, [self.tracker.layer])[self.tracker.layer].overwritten
        self.cascade = Cascade(defense.profile, defense.analyzer, defense.segmenter)

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
        first, seen, inpainting, stem_output = self._analyze(x, frames, thresholds, timer)
        # A score of the screen alone is never above the threshold.
        repeated = seen.suspicious if any(seen.full) and bool(seen.suspicious.any()) else None
        removed = tracked_mask(inpainting.tracked, x)
        segmentation = self.defense.segment(
            x, first, seen.analysis, repeated, seen.attacked, stem_output, timer, removed
        )
        analysis = _with_tracked(seen.analysis, inpainting.tracked)
        found_again = torch.tensor([patch is not None for patch in inpainting.tracked], device=x.device)
        result = DefenseResult(
            labels=segmentation.labels,
            first=first,
            mask=segmentation.mask,
            # Only what is called an attack is followed.
            flagged=seen.attacked | found_again,
            suspicious=segmentation.suspicious | found_again,
            thresholds=thresholds,
            analysis=analysis,
            stages_ms=timer.milliseconds(),
            tracked=found_again & ~segmentation.suspicious,
            fully_analyzed=tuple(seen.full),
        )
        outcomes = self._outcomes(frames, seen, segmentation.by_analysis, inpainting)
        return result, tuple(frame.after(outcome) for frame, outcome in zip(frames, outcomes, strict=True))

    def _analyze(
        self, x: Tensor, frames: Sequence[IncomingFrame], thresholds: Thresholds, timer: StageTimer
    ) -> tuple[FirstPass, CascadeResult, ActivationInpainting, StemOutput | None]:
        """The one pass over ``x``: known patches are removed on the way, and the rest goes through the cascade.

        Returns:
            What the network said, what the cascade says, what was removed, and the output of the network's stem, if
            that is the images' own.
        """
        network, searches = self.defense.segmenter.network, [frame.search for frame in frames]
        # The taps come second: the analysis sees what the network goes on with.
        with (
            ActivationInpainting(network, self.tracker, searches, thresholds.attack, self._copied) as inpainting,
            self.defense.taps as taps,
            StemTap(self.defense.stem) as stem,
        ):
            first = FirstPass(self.defense.segmenter.scores(x), (x.shape[-2], x.shape[-1]))
            timer.mark("network")
            may_screen = [frame.may_screen(patch) for frame, patch in zip(frames, inpainting.tracked, strict=True)]
            seen = self.cascade(taps, inpainting.tracked, may_screen, thresholds, timer)
        untouched = all(patch is None for patch in inpainting.tracked)
        return first, seen, inpainting, stem.output if untouched else None

    def _outcomes(
        self,
        frames: Sequence[IncomingFrame],
        seen: CascadeResult,
        masked: Tensor | None,
        inpainting: ActivationInpainting,
    ) -> list[FrameOutcome]:
        """What came of each image.

        Args:
            frames: of the cameras.
            seen: what the cascade says, outside of tracked patches.
            masked: the pixels that the analysis masks, 0 or 1, [B, 1, h, w]; None: none.
            inpainting: the tracked patches, and the activation of the tracker's layer.
        """
        if not any(seen.full):
            # Nothing has to be fetched from the device for images that only the screen saw.
            return [FrameOutcome(patch) for patch in inpainting.tracked]
        score = seen.analysis.score
        attacked, suspicious, finite = seen.attacked.tolist(), seen.suspicious.tolist(), score.isfinite().tolist()
        outcomes = []
        for index, (frame, patch, full) in enumerate(zip(frames, inpainting.tracked, seen.full, strict=True)):
            sighting = track = None
            if masked is not None and full and patch is None and attacked[index]:
                image = slice(index, index + 1)
                # The patch is learned as its mask ends, and without the cells around it.
                region = area_resample(masked[image], self.tracker.grid) > OPEN
                sighting = sighted(frame.earlier, region, float(score[index]), frame.stamp_ns)
                track = self._learn(sighting, seen.analysis.heat[image], inpainting.activation[image], seen.thresholds)
            outcomes.append(FrameOutcome(patch, full and finite[index], full and suspicious[index], sighting, track))
        return outcomes

    def _learn(self, sighting: Sighting, heat: Tensor, activation: Tensor, thresholds: Thresholds) -> PatchTrack | None:
        """The track of an attack; None: it is not relied on yet, or it cannot be tracked.

        Args:
            sighting: of the attack, the last time in this image.
            heat: of the image, [1, 1, h, w].
            activation: of the tracker's layer, [1, C, H, W].
            thresholds: of the analysis.
        """
        if not sighting.clear(thresholds):
            return None
        region = sighting.region
        return self.tracker.learn(self.tracker.features(activation), region, sighting.score, float(heat[region].mean()))


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
