"""Streaming mode against the full analysis of every frame, on drives whose patch moves.

The patch is on a truck of the street world, or pasted into a drive by attackers who aim at the tracking.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from zmask_ros.data.street import StreetDrive
from zmask_ros.data.textures.adverts import advert
from zmask_ros.evaluation.metrics.segmentation import Confusion, mean
from zmask_ros.evaluation.report.tables import Table, cell, percent
from zmask_ros.flags.flag import FrameState
from zmask_ros.runtime.camera import CameraResult, CameraStream, DefendedCamera
from zmask_ros.runtime.patch_truth import SHOWN_SHARE

Box = tuple[float, float, float]
"""Left and top of a square and its side, all as shares of the image's height."""
CleanDrive = Sequence[tuple[np.ndarray, np.ndarray]]
"""Images, uint8 [H, W, 3] RGB, with their labels, uint8 [H, W]."""
MIOU_LOSS, RECALL_LOSS, LONGEST_DELAY, LONGEST_RELEASE = 0.01, 0.01, 2, 5
"""What streaming may lose against the full analysis, and how many frames late it may be."""


@dataclass(frozen=True)
class DriveFrame:
    """A frame of a drive: its time, image uint8 [H, W, 3] RGB, labels uint8 [H, W], and the patch's pixels, bool."""

    stamp_ns: int
    image: np.ndarray
    labels: np.ndarray
    patch: np.ndarray


def truck_drive(seed: int, picture: np.ndarray, seconds: float, rate_hz: float) -> Iterator[DriveFrame]:
    """A street drive behind a truck that shows ``picture`` between a fifth and four fifths of the time."""
    shown = (0.2 * seconds, 0.8 * seconds)
    for frame in StreetDrive(seed, seconds, rate_hz, 640, 480, "truck", picture, *shown):
        yield DriveFrame(frame.stamp_ns, frame.image, frame.labels, frame.patch_mask)


@dataclass(frozen=True)
class Behavior:
    """What an attacker does over time.

    Attributes:
        title: A description for tables.
        boxes: ``boxes(i, N)`` is where the patch is seen in frame i of N, but not in the first and in the last fifth.
        disguise: Where a benign poster is seen, in any frame.
        decoys: As ``boxes``, where another patch is seen that is easy to find.
    """

    title: str
    boxes: Callable[[int, int], list[Box]]
    disguise: Callable[[int, int], list[Box]] = lambda index, count: []
    decoys: Callable[[int, int], list[Box]] = lambda index, count: []


def _swaying(index: int) -> Box:
    return 0.5 + 0.35 * math.sin(index / 15), 0.3 + 0.08 * math.cos(index / 10), 0.3 + 0.08 * math.sin(index / 12)


def _apart(index: int, count: int) -> list[Box]:
    away = max(0.0, index / count - 0.4)
    return [(0.5 - away, 0.35, 0.2), (0.7 + away, 0.35, 0.2)]


LEFT, MIDDLE, RIGHT = (0.15, 0.35, 0.25), (0.5, 0.35, 0.25), (0.9, 0.3, 0.25)
AFTER_A_KEYFRAME = 25
"""Frame of a drive at 15 Hz, whose keyframes are the multiples of 8 as long as nothing is found."""
BEHAVIORS = (
    Behavior("sways and changes its size", lambda i, n: [_swaying(i)]),
    Behavior("flickers, three frames on, three off", lambda i, n: [_swaying(i)] if i % 6 < 3 else []),
    Behavior("a second one appears between keyframes", lambda i, n: [LEFT, RIGHT] if i > 0.5 * n else [LEFT]),
    Behavior("splits in two", _apart),
    Behavior(
        "moves by more than a tenth of the image a frame", lambda i, n: [(0.5 + 0.5 * math.sin(i / 2.5), 0.35, 0.25)]
    ),
    Behavior(
        "poisons the track: half a poster at first",
        lambda i, n: [MIDDLE],
        lambda i, n: [(0.75, 0.35, 0.25)] if 0.2 * n <= i < 0.5 * n else [],
    ),
)
EVASIONS = (
    Behavior(
        "knows the screening, and comes right after a keyframe",
        lambda i, n: [_swaying(i)] if i >= AFTER_A_KEYFRAME else [],
    ),
    Behavior(
        "the same, beside another one that is found and followed",
        lambda i, n: [RIGHT] if i >= AFTER_A_KEYFRAME else [],
        decoys=lambda i, n: [LEFT],
    ),
)
"""Behaviors of attackers whose patch is made to be missed by the screening."""


def patched_drive(
    behavior: Behavior, drive: CleanDrive, patch: np.ndarray, rate_hz: float, decoy: np.ndarray | None = None
) -> Iterator[DriveFrame]:
    """A clean drive with the patch, and a decoy, pasted in as ``behavior`` has it."""
    poster, count = advert(np.random.default_rng(0), 256, 256), len(drive)
    for index, (clean, labels) in enumerate(drive):
        image, mask = clean.copy(), np.zeros(clean.shape[:2], bool)
        for box in behavior.disguise(index, count):
            _paste(image, poster, box)
        for picture, boxes in ((decoy, behavior.decoys), (patch, behavior.boxes)):
            if picture is not None and 0.2 * count <= index < 0.8 * count:
                for box in boxes(index, count):
                    mask[_paste(image, picture, box)] = True
        yield DriveFrame(round(index * 1e9 / rate_hz), image, labels, mask)


def _paste(image: np.ndarray, picture: np.ndarray, box: Box) -> tuple[slice, slice]:
    left, top, side = (round(share * image.shape[0]) for share in box)
    left, top = min(max(0, left), image.shape[1] - side), min(max(0, top), image.shape[0] - side)
    place = slice(top, top + side), slice(left, left + side)
    image[place] = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    return place


@dataclass(frozen=True)
class DriveFigures:
    """How the defense did in one mode over a drive; shares and mIoU are 0..1.

    Attributes:
        miou: mIoU of the defended segmentation outside of the patch.
        recall: Share of the frames in which the patch covers `SHOWN_SHARE` that are flagged.
        delay: Most frames from there to the first flag.
        release: Most frames that are still flagged once the patch is gone.
        false_alarms: Number of frames without a patch that are flagged.
        once: Share of the flagged frames that were segmented once.
        analyzed: Share of all frames that were analyzed as a whole.
    """

    miou: float
    recall: float
    delay: int
    release: int
    false_alarms: int
    once: float
    analyzed: float


@dataclass(frozen=True)
class StreamingComparison:
    """A drive, defended in both modes.

    Attributes:
        undefended: mIoU of the network without a defense, outside of the patch, 0..1.
        full: Figures with the full analysis of every frame.
        streaming: Figures in streaming mode.
    """

    undefended: float
    full: DriveFigures
    streaming: DriveFigures


def compare(camera: DefendedCamera, frames: Iterable[DriveFrame]) -> StreamingComparison:
    """A drive with the full analysis of every frame, and in streaming mode."""
    classes, stream = len(camera.segmenter.classes), CameraStream()
    undefended, full, streaming = (Confusion(classes) for _ in range(3))
    results: tuple[list[CameraResult], list[CameraResult]] = ([], [])
    shares: list[float] = []
    for frame in frames:
        shares.append(float(frame.patch.mean()))
        for confusion, kept, state in zip((full, streaming), results, (None, stream), strict=True):
            result = camera.process_image(frame.image, state, frame.stamp_ns)
            assert result.pictures is not None, result.reason
            confusion.add(result.pictures.labels, frame.labels, ~frame.patch)
            kept.append(result)
            if state is None:
                undefended.add(result.pictures.undefended, frame.labels, ~frame.patch)
    covered = np.array(shares)
    own = (_figures(*pair, covered) for pair in zip((full, streaming), results, strict=True))
    return StreamingComparison(undefended.miou(), *own)


def _figures(confusion: Confusion, results: Sequence[CameraResult], shares: np.ndarray) -> DriveFigures:
    flagged = np.array([result.state is FrameState.ATTACK for result in results])
    shown, gone = shares >= SHOWN_SHARE, shares == 0.0
    return DriveFigures(
        miou=confusion.miou(),
        recall=mean(flagged[shown]),
        delay=longest_start(shown.tolist(), (~flagged).tolist()),
        release=longest_start(gone.tolist(), flagged.tolist()) if shown.any() else 0,
        false_alarms=int((flagged & gone).sum()),
        once=mean([result.tracked for result in results if result.state is FrameState.ATTACK]),
        analyzed=mean([result.analyzed for result in results]),
    )


def longest_start(stretches: Sequence[bool], values: Sequence[bool]) -> int:
    """The longest run of true ``values`` that starts together with a stretch of true ``stretches``, within it."""
    longest, length, counting = 0, 0, False
    for index, inside in enumerate(stretches):
        if inside and (index == 0 or not stretches[index - 1]):
            length, counting = 0, True
        counting = counting and inside and values[index]
        length += counting
        longest = max(longest, length)
    return longest


def streaming_table(compared: Mapping[str, StreamingComparison]) -> Table:
    """Full analysis and streaming side by side; a row for each drive."""
    rows = [
        {
            "drive": title,
            "mIoU undefended": cell(both.undefended),
            "mIoU": f"{cell(full.miou)} / {cell(own.miou)}",
            "recall": f"{percent(full.recall)} / {percent(own.recall)}",
            "delay": f"{full.delay} / {own.delay}",
            "release": f"{full.release} / {own.release}",
            "false alarms": f"{full.false_alarms} / {own.false_alarms}",
            "segmented once": percent(own.once),
            "analysed": percent(own.analyzed),
            "aims met": "yes" if within_targets(full, own) else "**no**",
        }
        for title, both in compared.items()
        for full, own in ((both.full, both.streaming),)
    ]
    note = (
        "Each cell: the full analysis of every frame / streaming. Delay and release are in frames. Of streaming: "
        "*segmented once* is the share of its flagged frames, *analysed* of all its frames, as a whole."
    )
    return Table.of("Streaming against the full analysis", note, rows)


def within_targets(full: DriveFigures, streaming: DriveFigures) -> bool:
    """Whether streaming is nearly as good as the full analysis."""
    return (
        streaming.miou >= full.miou - MIOU_LOSS
        and streaming.recall >= full.recall - RECALL_LOSS
        and streaming.delay <= LONGEST_DELAY
        and streaming.release <= LONGEST_RELEASE
        and streaming.false_alarms <= full.false_alarms
    )
