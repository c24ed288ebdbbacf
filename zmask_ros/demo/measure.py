"""The figures of a recorded drive: what the defense did, against the exact truth of the street world."""

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
from zmask_ros.demo.recording import RecordedFlag, read_flags
from zmask_ros.demo.scenario import Scenario
from zmask_ros.evaluation.metrics.segmentation import Confusion, detection_rates
from zmask_ros.flags.flag import FrameState
from zmask_ros.flags.topics import ATTACK_TOPIC
from zmask_ros.io.bags.recorded_pictures import RecordedPictures
from zmask_ros.runtime.camera import DefendedCamera
from zmask_ros.runtime.patch_truth import SHOWN_SHARE, mask_iou
from zmask_ros.segmenters import UNLABELLED

# Segmentations that are compared: without patch, not defended, with exactly the patch masked, and defended.
CASES = ("clean", "attacked", "oracle", "defended")


def _figure(meaning: str) -> Any:
    return field(metadata={"meaning": meaning})


@dataclass(frozen=True)
class DemoFigures:
    """The figures of a demo, in the order in which they are shown; None where they are not defined."""

    frames: int = _figure("in the drive")
    frames_sent: int = _figure("by the camera")
    flags_received: int = _figure("by the recorder")
    frames_unknown: int = _figure("flags without verdict")
    frames_attacked: int = _figure("patch in sight")
    frames_over_1_percent: int = _figure("patch over 1 % of the image: A")
    recall: float | None = _figure("attacks found in A")
    false_alarm_rate: float | None = _figure("frames without patch")
    mask_iou: float | None = _figure("mask and patch in A")
    miou_clean: float | None = _figure("as A, without patch")
    miou_attacked: float | None = _figure("A, not defended")
    miou_oracle: float | None = _figure("A, the exact patch masked")
    miou_defended: float | None = _figure("A, defended")
    node_latency_ms_p50: float | None = _figure("image in to flag out")
    node_latency_ms_p99: float | None = _figure("image in to flag out")
    playback_rate: float | None = _figure("1 is real time")
    seconds: float = _figure("this run")


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
        """What the flag says; unknown without one."""
        return FrameState.UNKNOWN if self.flag is None else self.flag.state

    @property
    def counted(self) -> bool:
        """Whether the patch is large enough to demand that it be found."""
        return self.cover > SHOWN_SHARE


@dataclass
class Measurement:
    """What is gathered frame by frame.

    Attributes:
        confusions: of the segmentation in each case of `CASES`, outside the patch where it is large enough.
        outcomes: of the frames, in order.
    """

    confusions: dict[str, Confusion]
    outcomes: list[Outcome] = field(default_factory=list)


def measure(
    scenario: Scenario, picture: np.ndarray, bag: Path, camera: DefendedCamera, advance: Callable[[], None]
) -> Measurement:
    """Compare the recorded drive with the truth.

    Args:
        picture: what the carrier showed, uint8 [h, w, 3] RGB.
        bag: as `record_drive` made it.
        camera: gives the labels without the defense, of these frames and of the same without the picture.
        advance: called after each frame.

    Raises:
        BagError: the bag cannot be read, or lacks a topic.
    """
    attacked, clean = scenario.drive(picture), scenario.drive(None)
    classes = len(camera.segmenter.classes)
    found = Measurement({case: Confusion(classes) for case in CASES})
    flags = read_flags(bag, f"{NAMESPACE}/{ATTACK_TOPIC}")
    with ExitStack() as stack:
        published = {
            name: stack.enter_context(RecordedPictures(bag, f"{NAMESPACE}/zmask/{name}"))
            for name in ("mask", "segmentation")
        }
        for index in range(len(attacked)):
            stamp_ns = attacked.stamp_ns(index)
            cover, iou = 0.0, math.nan
            if scenario.shows_picture(index):
                truth = attacked[index]
                cover = float(truth.patch_mask.mean())
                if cover > SHOWN_SHARE:
                    planes = {name: pictures.plane_at(stamp_ns) for name, pictures in published.items()}
                    iou = _count(found.confusions, truth, clean[index].image, planes, camera)
            found.outcomes.append(Outcome(index, stamp_ns, cover, flags.get(stamp_ns), iou))
            advance()
    return found


def _count(
    confusions: dict[str, Confusion],
    truth: StreetFrame,
    clean_image: np.ndarray,
    published: dict[str, np.ndarray | None],
    camera: DefendedCamera,
) -> float:
    """Count the labels of one frame; returns the mask's IoU. What was not published is wrong everywhere."""
    unmasked = np.zeros(truth.labels.shape, bool)
    labels = {
        "clean": camera.masked_labels(clean_image, unmasked),
        "attacked": camera.masked_labels(truth.image, unmasked),
        "oracle": camera.masked_labels(truth.image, truth.patch_mask),
        "defended": published["segmentation"],
    }
    nothing = np.full(truth.labels.shape, UNLABELLED, np.uint8)
    for case, plane in labels.items():
        confusions[case].add(nothing if plane is None else plane, truth.labels, ~truth.patch_mask)
    mask = published["mask"]
    return 0.0 if mask is None else mask_iou(mask, truth.patch_mask)


def summarize(found: Measurement, scenario: Scenario, counts: DriveCounts, seconds: float) -> DemoFigures:
    """Sum up a drive.

    Args:
        counts: what the camera counted.
        seconds: that the whole demo took.
    """
    outcomes = found.outcomes
    cover = np.array([outcome.cover for outcome in outcomes])
    flagged = np.array([outcome.state is FrameState.ATTACK for outcome in outcomes])
    counted = cover > SHOWN_SHARE
    recall, false_alarm_rate = detection_rates(flagged, counted, counted | (cover == 0))
    flags = [outcome.flag for outcome in outcomes if outcome.flag is not None]
    p50, p99 = np.percentile([flag.latency_ms for flag in flags], (50, 99)) if flags else (math.nan, math.nan)
    overlaps = [outcome.mask_iou for outcome in outcomes if outcome.counted]
    return DemoFigures(
        frames=len(outcomes),
        frames_sent=counts.frames_sent,
        flags_received=len(flags),
        frames_unknown=sum(flag.state is FrameState.UNKNOWN for flag in flags),
        frames_attacked=int((cover > 0).sum()),
        frames_over_1_percent=int(counted.sum()),
        recall=_known(recall),
        false_alarm_rate=_known(false_alarm_rate),
        mask_iou=_known(float(np.mean(overlaps))) if overlaps else None,
        **{f"miou_{case}": _known(confusion.miou()) for case, confusion in found.confusions.items()},
        node_latency_ms_p50=_known(float(p50)),
        node_latency_ms_p99=_known(float(p99)),
        playback_rate=_known(_playback_rate(flags, scenario.rate_hz)),
        seconds=seconds,
    )


def _known(figure: float) -> float | None:
    return None if math.isnan(figure) else figure


def unflagged_frames(found: Measurement, counts: DriveCounts) -> int:
    """How many of the frames that were sent got no flag, as the camera or as the recorder counts, whichever is more."""
    recorded = sum(outcome.flag is not None for outcome in found.outcomes)
    return max(counts.flags_missing, counts.frames_sent - recorded)


def _playback_rate(flags: list[RecordedFlag], rate_hz: float) -> float:
    if len(flags) < 2:
        return math.nan
    wall_s = (flags[-1].received_ns - flags[0].received_ns) / 1e9
    return (len(flags) - 1) / rate_hz / wall_s if wall_s > 0 else math.nan
