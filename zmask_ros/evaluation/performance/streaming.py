"""Streaming mode against the full analysis of every frame, on drives whose patch moves, and attackers on the track."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from zmask_ros.data.street import StreetDrive
from zmask_ros.data.textures.adverts import advert
from zmask_ros.evaluation.metrics.segmentation import Confusion
from zmask_ros.evaluation.report.tables import Table, number, percent
from zmask_ros.flags.flag import FrameState
from zmask_ros.runtime.camera import CameraResult, CameraStream, DefendedCamera

SHOWN_SHARE = 0.01
"""Of the image that a patch must cover before it has to be flagged."""
AIMS = {"miou": 0.01, "recall": 0.01, "delay": 2, "release": 5}


@dataclass(frozen=True)
class Moment:
    """A frame of a drive: its time, image uint8 [H, W, 3] RGB, labels uint8 [H, W], and the patch's pixels, bool."""

    stamp_ns: int
    image: np.ndarray
    labels: np.ndarray
    patch: np.ndarray


@dataclass(frozen=True)
class Course:
    """What one way of defending made of a drive.

    Attributes:
        miou: of the defended segmentation outside of the patch, 0..1.
        recall: share of the frames in which the patch covers `SHOWN_SHARE` that are flagged.
        delay: the most frames from there to the first flag.
        release: the most frames that are still flagged once the patch is gone.
        false_alarms: frames without a patch that are flagged before it came, or later than that.
        once: share of the flagged frames that were segmented once.
        analysed: share of all frames that were analysed as a whole.
    """

    miou: float
    recall: float
    delay: int
    release: int
    false_alarms: int
    once: float
    analysed: float


@dataclass(frozen=True)
class Comparison:
    """A drive, defended in both ways.

    Attributes:
        undefended: mIoU of the network without a defence, outside of the patch, 0..1.
        full: with the full analysis of every frame.
        streaming: in streaming mode.
    """

    undefended: float
    full: Course
    streaming: Course


def compare(camera: DefendedCamera, moments: Iterable[Moment]) -> Comparison:
    """A drive with the full analysis of every frame, and in streaming mode."""
    ways: dict[str, CameraStream | None] = {"full": None, "streaming": CameraStream()}
    classes = len(camera.segmenter.classes)
    undefended, confusions = Confusion(classes), {way: Confusion(classes) for way in ways}
    results: dict[str, list[CameraResult]] = {way: [] for way in ways}
    shares = []
    for moment in moments:
        shares.append(float(moment.patch.mean()))
        for way, stream in ways.items():
            result = camera.process_image(moment.image, stream, moment.stamp_ns)
            assert result.pictures is not None, result.reason
            confusions[way].add(result.pictures.labels, moment.labels, ~moment.patch)
            results[way].append(result)
            if stream is None:
                undefended.add(result.pictures.undefended, moment.labels, ~moment.patch)
    courses = {way: _course(confusions[way], results[way], shares) for way in ways}
    return Comparison(undefended.miou(), **courses)


def _course(confusion: Confusion, results: Sequence[CameraResult], shares: Sequence[float]) -> Course:
    flagged = [result.state is FrameState.ATTACK for result in results]
    shown, gone = [share >= SHOWN_SHARE for share in shares], [share == 0.0 for share in shares]
    release = longest_beginning(gone, flagged) if any(shown) else 0
    found = [flag for flag, there in zip(flagged, shown, strict=True) if there]
    once = [result.tracked for result, flag in zip(results, flagged, strict=True) if flag]
    return Course(
        miou=confusion.miou(),
        recall=float(np.mean(found)) if found else math.nan,
        delay=longest_beginning(shown, [not flag for flag in flagged]),
        release=release,
        false_alarms=sum(flag and away for flag, away in zip(flagged, gone, strict=True)),
        once=float(np.mean(once)) if once else math.nan,
        analysed=float(np.mean([result.analyzed for result in results])),
    )


def longest_beginning(stretches: Sequence[bool], values: Sequence[bool]) -> int:
    """The most frames at the beginning of a stretch, in which ``stretches`` is true, that are true in ``values``."""
    longest, length, counting = 0, 0, False
    for index, inside in enumerate(stretches):
        if inside and (index == 0 or not stretches[index - 1]):
            length, counting = 0, True
        counting = counting and inside and values[index]
        length += counting
        longest = max(longest, length)
    return longest


def truck_drive(seed: int, picture: np.ndarray, seconds: float, rate_hz: float) -> Iterator[Moment]:
    """A street drive behind a truck that shows ``picture`` between a fifth and four fifths of the time."""
    shown = (0.2 * seconds, 0.8 * seconds)
    for frame in StreetDrive(seed, seconds, rate_hz, 640, 480, "truck", picture, *shown):
        yield Moment(frame.stamp_ns, frame.image, frame.labels, frame.patch_mask)


Box = tuple[float, float, float]
"""Left and top of a square and its side, all as shares of the image's height."""


@dataclass(frozen=True)
class Behaviour:
    """What an attacker does over time.

    Attributes:
        title: in words.
        boxes: of N frames, where the patch is seen in the i-th one: ``boxes(i, N)``.
        disguise: of the same, where a harmless poster is seen.
        decoys: of the same, where another patch is seen, which anybody would find.
    """

    title: str
    boxes: Callable[[int, int], list[Box]]
    disguise: Callable[[int, int], list[Box]] = lambda index, count: []
    decoys: Callable[[int, int], list[Box]] = lambda index, count: []


def _between(index: int, count: int, boxes: list[Box]) -> list[Box]:
    """Nothing in the first and in the last fifth of the drive."""
    return boxes if 0.2 * count <= index < 0.8 * count else []


def _swaying(index: int) -> Box:
    return 0.5 + 0.35 * math.sin(index / 15), 0.3 + 0.08 * math.cos(index / 10), 0.3 + 0.08 * math.sin(index / 12)


def _apart(index: int, count: int) -> list[Box]:
    away = max(0.0, index / count - 0.4)
    return [(0.5 - away, 0.35, 0.2), (0.7 + away, 0.35, 0.2)]


AFTER_A_KEYFRAME = 25
"""Frame of a drive at 15 Hz, whose keyframes are the multiples of 8 as long as nothing is found."""
BEHAVIOURS = (
    Behaviour("sways and changes its size", lambda i, n: _between(i, n, [_swaying(i)])),
    Behaviour("flickers, three frames on, three off", lambda i, n: _between(i, n, [_swaying(i)] if i % 6 < 3 else [])),
    Behaviour(
        "a second one appears between keyframes",
        lambda i, n: _between(i, n, [(0.15, 0.35, 0.25), *([(0.9, 0.3, 0.25)] if i > 0.5 * n else [])]),
    ),
    Behaviour("splits in two", lambda i, n: _between(i, n, _apart(i, n))),
    Behaviour(
        "moves by more than a tenth of the image a frame",
        lambda i, n: _between(i, n, [(0.5 + 0.5 * math.sin(i / 2.5), 0.35, 0.25)]),
    ),
    Behaviour(
        "poisons the track: half a poster at first",
        lambda i, n: _between(i, n, [(0.5, 0.35, 0.25)]),
        lambda i, n: [(0.75, 0.35, 0.25)] if 0.2 * n <= i < 0.5 * n else [],
    ),
)
EVASIONS = (
    Behaviour(
        "knows the screening, and comes right after a keyframe",
        lambda i, n: _between(i, n, [_swaying(i)] if i >= AFTER_A_KEYFRAME else []),
    ),
    Behaviour(
        "the same, beside another one that is found and followed",
        lambda i, n: _between(i, n, [(0.9, 0.3, 0.25)] if i >= AFTER_A_KEYFRAME else []),
        decoys=lambda i, n: _between(i, n, [(0.15, 0.35, 0.25)]),
    ),
)
"""Of attackers whose patch is made to be missed at a glance."""


def behaving(
    behaviour: Behaviour,
    drive: Sequence[tuple[np.ndarray, np.ndarray]],
    patch: np.ndarray,
    rate_hz: float,
    decoy: np.ndarray | None = None,
) -> Iterator[Moment]:
    """A clean drive, images with their labels, with the patch, and a decoy, pasted in as ``behaviour`` has it."""
    poster = advert(np.random.default_rng(0), 256, 256)
    for index, (clean, labels) in enumerate(drive):
        image, mask = clean.copy(), np.zeros(clean.shape[:2], bool)
        for box in behaviour.disguise(index, len(drive)):
            _paste(image, poster, box)
        if decoy is not None:
            for box in behaviour.decoys(index, len(drive)):
                mask[_paste(image, decoy, box)] = True
        for box in behaviour.boxes(index, len(drive)):
            mask[_paste(image, patch, box)] = True
        yield Moment(round(index * 1e9 / rate_hz), image, labels, mask)


def _paste(image: np.ndarray, picture: np.ndarray, box: Box) -> tuple[slice, slice]:
    left, top, side = (round(share * image.shape[0]) for share in box)
    left, top = min(max(0, left), image.shape[1] - side), min(max(0, top), image.shape[0] - side)
    place = slice(top, top + side), slice(left, left + side)
    image[place] = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    return place


def streaming_table(compared: dict[str, Comparison]) -> Table:
    """Full analysis and streaming side by side; a row for each drive."""
    columns = (
        "drive",
        "mIoU undefended",
        "mIoU",
        "recall",
        "delay",
        "release",
        "false alarms",
        "segmented once",
        "analysed",
        "aims met",
    )
    rows = []
    for title, both in compared.items():
        full, own = both.full, both.streaming
        rows.append(
            (
                title,
                number(both.undefended),
                f"{number(full.miou)} / {number(own.miou)}",
                f"{percent(full.recall)} / {percent(own.recall)}",
                f"{full.delay} / {own.delay}",
                f"{full.release} / {own.release}",
                f"{full.false_alarms} / {own.false_alarms}",
                percent(own.once),
                percent(own.analysed),
                "yes" if within_aims(full, own) else "**no**",
            )
        )
    note = (
        "Each cell: the full analysis of every frame / streaming. Delay and release are in frames. Of streaming: "
        "*segmented once* is the share of its flagged frames, *analysed* of all its frames, as a whole."
    )
    return Table("Streaming against the full analysis", note, columns, tuple(rows))


def within_aims(full: Course, streaming: Course) -> bool:
    """Whether streaming is as good as `AIMS` ask for."""
    return (
        streaming.miou >= full.miou - AIMS["miou"]
        and streaming.recall >= full.recall - AIMS["recall"]
        and streaming.delay <= AIMS["delay"]
        and streaming.release <= AIMS["release"]
        and streaming.false_alarms <= full.false_alarms
    )
