"""What the defence did on the recorded drive, against the exact truth of the street world."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from zmask_ros.data.street import StreetFrame
from zmask_ros.demo.drive import NAMESPACE, DriveCounts
from zmask_ros.demo.recording import RecordedFlag, Track, read_flags
from zmask_ros.demo.scenario import Scenario
from zmask_ros.evaluation.metrics.segmentation import Confusion, count_detections, mask_iou
from zmask_ros.flags.flag import FrameState
from zmask_ros.flags.topics import ATTACK_TOPIC
from zmask_ros.runtime.camera import DefendedCamera
from zmask_ros.segmenters import UNLABELLED

# A patch that covers less than this share of the image is too small to demand that it be found.
COUNTED_COVER = 0.01
MEANINGS = {
    "frames": "in the drive",
    "frames_sent": "by the camera",
    "flags_received": "by the recorder: all",
    "frames_unknown": "flags without verdict: 0",
    "frames_attacked": "patch in sight",
    "frames_over_1_percent": "patch over 1 % of the image: A",
    "recall": "attacks found in A: >= 0.95",
    "false_alarm_rate": "frames without patch: <= 0.01",
    "mask_iou": "mask and patch in A: >= 0.7",
    "miou_clean": "as A, without patch",
    "miou_attacked": "A, not defended: <= clean - 0.10",
    "miou_oracle": "A, the exact patch masked",
    "miou_defended": "A, defended: >= clean - 0.03",
    "node_latency_ms_p50": "image in to flag out",
    "node_latency_ms_p99": "image in to flag out",
    "playback_rate": "1 is real time",
    "seconds": "this run",
}


@dataclass(frozen=True)
class Outcome:
    """One frame of the drive.

    Attributes:
        cover: share of the image that the patch covers, 0..1.
        flag: None if none was recorded.
        mask_iou: of the published mask and the exact patch; NaN where the patch is not counted.
    """

    index: int
    stamp_ns: int
    cover: float
    flag: RecordedFlag | None
    mask_iou: float

    @property
    def state(self) -> FrameState:
        return FrameState.UNKNOWN if self.flag is None else self.flag.state

    @property
    def counted(self) -> bool:
        """Whether the patch is large enough to demand that it be found."""
        return self.cover > COUNTED_COVER


@dataclass
class Measurement:
    """What is gathered frame by frame; the confusions count pixels outside the patch where it is large enough."""

    clean: Confusion
    attacked: Confusion
    oracle: Confusion
    defended: Confusion
    outcomes: list[Outcome] = field(default_factory=list)


def measure(
    scenario: Scenario, picture: np.ndarray, bag: Path, camera: DefendedCamera, advance: Callable[[], None]
) -> Measurement:
    """Compare the recorded drive with the truth.

    Args:
        picture: what the carrier showed, uint8 [h, w, 3] RGB.
        bag: as `record_drive` made it.
        camera: gives the labels for the same frames without the picture.
        advance: called after each frame.

    Raises:
        BagError: the bag cannot be read, or lacks a topic.
    """
    attacked, clean = scenario.drive(picture), scenario.drive(None)
    classes = len(camera.segmenter.classes)
    found = Measurement(Confusion(classes), Confusion(classes), Confusion(classes), Confusion(classes))
    with ExitStack() as stack:
        recorded = _Recorded(bag, stack)
        for index in range(len(attacked)):
            stamp_ns = attacked.stamp_ns(index)
            cover, iou = 0.0, math.nan
            if scenario.shows_picture(index):
                truth = attacked[index]
                cover = float(truth.patch_mask.mean())
                if cover > COUNTED_COVER:
                    iou = _count(found, truth, clean[index].image, recorded, camera)
            found.outcomes.append(Outcome(index, stamp_ns, cover, recorded.flags.get(stamp_ns), iou))
            advance()
    return found


class _Recorded:
    def __init__(self, bag: Path, stack: ExitStack) -> None:
        self.flags = read_flags(bag, f"{NAMESPACE}/{ATTACK_TOPIC}")
        self.mask, self.defended, self.undefended = (
            stack.enter_context(Track(bag, f"{NAMESPACE}/zmask/{name}"))
            for name in ("mask", "segmentation", "undefended")
        )


def _count(
    found: Measurement, truth: StreetFrame, clean_image: np.ndarray, recorded: _Recorded, camera: DefendedCamera
) -> float:
    """Count the labels of one frame; returns the mask's IoU. What was not published is wrong everywhere."""
    nothing = np.full(truth.labels.shape, UNLABELLED, np.uint8)
    outside = ~truth.patch_mask
    for confusion, track in ((found.attacked, recorded.undefended), (found.defended, recorded.defended)):
        labels = track.plane_at(truth.stamp_ns)
        confusion.add(nothing if labels is None else labels, truth.labels, outside)
    pictures = camera.process_image(clean_image).pictures
    found.clean.add(nothing if pictures is None else pictures.undefended, truth.labels, outside)
    found.oracle.add(camera.masked_labels(truth.image, truth.patch_mask), truth.labels, outside)
    mask = recorded.mask.plane_at(truth.stamp_ns)
    return 0.0 if mask is None else mask_iou(mask, truth.patch_mask)


def summarise(found: Measurement, scenario: Scenario, counts: DriveCounts, seconds: float) -> dict[str, Any]:
    """The figures of `MEANINGS`, JSON-ready; None where there is nothing to tell from."""
    outcomes = found.outcomes
    cover = np.array([outcome.cover for outcome in outcomes])
    flagged = np.array([outcome.state is FrameState.ATTACK for outcome in outcomes])
    counted = cover > COUNTED_COVER
    detections = count_detections(flagged, counted, counted | (cover == 0))
    flags = [outcome.flag for outcome in outcomes if outcome.flag is not None]
    p50, p99 = np.percentile([flag.latency_ms for flag in flags], (50, 99)) if flags else (math.nan, math.nan)
    figures = {
        "frames": len(outcomes),
        "frames_sent": counts.frames_sent,
        "flags_received": len(flags),
        "frames_unknown": sum(flag.state is FrameState.UNKNOWN for flag in flags),
        "frames_attacked": int((cover > 0).sum()),
        "frames_over_1_percent": int(counted.sum()),
        "recall": detections.recall,
        "false_alarm_rate": detections.false_alarm_rate,
        "mask_iou": float(np.mean([outcome.mask_iou for outcome in outcomes if outcome.counted]))
        if counted.any()
        else math.nan,
        "miou_clean": found.clean.miou(),
        "miou_attacked": found.attacked.miou(),
        "miou_oracle": found.oracle.miou(),
        "miou_defended": found.defended.miou(),
        "node_latency_ms_p50": float(p50),
        "node_latency_ms_p99": float(p99),
        "playback_rate": _playback_rate(flags, scenario.rate_hz),
        "seconds": seconds,
    }
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in figures.items()}


def _playback_rate(flags: list[RecordedFlag], rate_hz: float) -> float:
    if len(flags) < 2:
        return math.nan
    wall_s = (flags[-1].received_ns - flags[0].received_ns) / 1e9
    return (len(flags) - 1) / rate_hz / wall_s if wall_s > 0 else math.nan
