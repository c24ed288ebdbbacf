"""Streaming mode against the full analysis of every frame, on drives whose patch moves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zmask_ros.evaluation.metrics.segmentation import Confusion, mean
from zmask_ros.evaluation.performance.streaming_drives import DriveFrame
from zmask_ros.evaluation.report.tables import Table, cell, percent
from zmask_ros.flags.flag import FrameState
from zmask_ros.runtime.camera import CameraResult, CameraStream, DefendedCamera

SHOWN_SHARE = 0.01
"""Share of the image that a patch must cover before it has to be flagged."""
MIOU_LOSS, RECALL_LOSS, LONGEST_DELAY, LONGEST_RELEASE = 0.01, 0.01, 2, 5
"""What streaming may lose against the full analysis, and how many frames late it may be."""


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
    full_results: list[CameraResult] = []
    streaming_results: list[CameraResult] = []
    shares: list[float] = []
    for frame in frames:
        shares.append(float(frame.patch.mean()))
        for confusion, results, state in ((full, full_results, None), (streaming, streaming_results, stream)):
            result = camera.process_image(frame.image, state, frame.stamp_ns)
            assert result.pictures is not None, result.reason
            confusion.add(result.pictures.labels, frame.labels, ~frame.patch)
            results.append(result)
            if state is None:
                undefended.add(result.pictures.undefended, frame.labels, ~frame.patch)
    covered = np.array(shares)
    own = _figures(full, full_results, covered), _figures(streaming, streaming_results, covered)
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
