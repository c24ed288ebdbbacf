"""The defence over time: a glance for frames of a clean drive, one pass for those that show a patch that is known.

The state of a camera is one object that goes in and comes out; the network keeps none.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zmask_ros.defense.analyzer import Analysis, Evidence
from zmask_ros.defense.defense import Defense, DefenseResult, FirstPass, segment_again, some
from zmask_ros.defense.evidence.grid import area_resample
from zmask_ros.defense.masking.growth import OPEN
from zmask_ros.defense.resegmentation.stem import StemTap
from zmask_ros.defense.stage_timer import Stages
from zmask_ros.defense.streaming.camera_state import CameraState, Incoming, Judged, Lesson
from zmask_ros.defense.streaming.cascade import Looking
from zmask_ros.defense.streaming.replacement import Replacement, on_image
from zmask_ros.defense.streaming.tracking import Found, Tracker

KEYFRAME_INTERVAL_S = 0.5


class StreamingDefense(nn.Module):
    """`Defense` with a memory: see `step`.

    Args:
        defense: shared with whoever wants the whole analysis of each frame.
        keyframe_interval_s: after so many seconds a camera is analysed as a whole and a track learned anew; at least 0.
    """

    def __init__(self, defense: Defense, keyframe_interval_s: float = KEYFRAME_INTERVAL_S) -> None:
        super().__init__()
        self.defense = defense
        self.keyframe_interval_s = keyframe_interval_s
        self.tracker = Tracker(defense.profile).to(defense.segmenter.device)
        self._look = Looking(defense.profile, defense.analyzer, defense.segmenter.device)

    @torch.inference_mode()
    def step(
        self, x: Tensor, states: Sequence[CameraState], stamps_ns: Sequence[int]
    ) -> tuple[DefenseResult, tuple[CameraState, ...]]:
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
        frames = [Incoming(*pair, self.keyframe_interval_s) for pair in zip(states, stamps_ns, strict=True)]
        # The taps come second: the analysis sees what the network goes on with.
        searches = [frame.search for frame in frames]
        replaced = Replacement(self.defense.segmenter.network, self.tracker, searches, thresholds.masking)
        with replaced, self.defense.taps as taps, StemTap(self.defense.stem) as stem:
            first = FirstPass(self.defense.segmenter.logits(x))
            stages.mark("network")
            glances = [frame.glance(found) for frame, found in zip(frames, replaced.found, strict=True)]
            seen = self._look(taps, replaced.found, glances, thresholds.masking, stages)
        again = seen.analysis.score > thresholds.masking
        hidden, region = on_image(replaced.found, x), None
        # What is above the threshold is never left at a glance.
        if any(seen.whole) and bool(again.any()):
            where = some(again)
            hard = self.defense.mask_of(seen.analysis, where, (x.shape[-2], x.shape[-1]))
            # What is learned is the patch as the mask ends it, and not the cells around it.
            region = area_resample(hard, self.defense.profile.grid) > OPEN
            # Where something was taken out, the stem has not put out what it makes of the image.
            kept = stem.kept if hidden is None else None
            hidden = hard if hidden is None else torch.maximum(hidden, hard)
            labels = segment_again(self.defense.segmenter, x, hidden, where, first, kept)
            stages.mark("second pass")
        else:
            labels = first.labels
            stages.mark("labels")
        analysis = _as_found(seen.analysis, replaced.found)
        tracked = torch.tensor([found is not None for found in replaced.found], device=x.device) & ~again
        mask = torch.zeros_like(labels, dtype=torch.bool) if hidden is None else hidden[:, 0] > OPEN
        defended = DefenseResult(
            labels=labels,
            first=first,
            mask=mask,
            flagged=analysis.score > thresholds.attack,
            suspicious=again | tracked,
            thresholds=thresholds,
            analysis=analysis,
            stages_ms=stages.milliseconds(),
            tracked=tracked,
            fully_analyzed=tuple(seen.whole),
        )
        lessons = self._lessons(seen.analysis, region, again, replaced)
        judged = _judged(defended, replaced.found, lessons)
        return defended, tuple(frame.after(own) for frame, own in zip(frames, judged, strict=True))

    def _lessons(
        self, analysis: Analysis, region: Tensor | None, again: Tensor, replaced: Replacement
    ) -> list[Lesson | None]:
        """What is learned of each image that was masked: of ``again``, where its patch was not known before."""
        if region is None:
            return [None] * len(again)
        lessons: list[Lesson | None] = []
        for index, (masked, found) in enumerate(zip(again.tolist(), replaced.found, strict=True)):
            one = slice(index, index + 1)
            if not masked:
                lessons.append(None)
            elif found is not None:
                # A second patch.
                lessons.append(Lesson(None))
            else:
                features = self.tracker.features(replaced.activation[one])
                heat = float(analysis.heat[one][region[one]].mean())
                lessons.append(Lesson(self.tracker.learn(features, region[one], float(analysis.score[index]), heat)))
        return lessons


def _judged(defended: DefenseResult, found: Sequence[Found | None], lessons: Sequence[Lesson | None]) -> list[Judged]:
    """What came of each image."""
    if not any(defended.fully_analyzed) and all(one is None for one in found):
        # Nothing has to be fetched of images that were only glanced at.
        return [Judged(found=None, whole=False, flagged=False, lesson=None)] * len(found)
    finite, flagged = defended.analysis.score.isfinite().tolist(), defended.flagged.tolist()
    return [
        Judged(found=own, whole=whole and known, flagged=flag, lesson=lesson)
        for own, whole, known, flag, lesson in zip(
            found, defended.fully_analyzed, finite, flagged, lessons, strict=True
        )
    ]


def _as_found(beside: Analysis, found: Sequence[Found | None]) -> Analysis:
    """``beside`` with the heat and the score that the regions that are found again go by."""
    if all(one is None for one in found):
        return beside
    evidence = beside.evidence
    shallow, deep, mask, score = (t.clone() for t in (evidence.shallow, evidence.deep, beside.mask, beside.score))
    for index, one in enumerate(found):
        if one is not None:
            region = one.track.region[0]
            shallow[index][region] = deep[index][region] = one.track.heat**0.5
            mask[index][region] = 1.0
            score[index] = score[index].clamp_min(one.score)
    return Analysis(Evidence(shallow, deep), mask, score)
