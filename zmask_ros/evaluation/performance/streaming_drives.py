"""Drives whose patch moves: behind a truck of the street world, and pasted into a drive by attackers of tracking."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from zmask_ros.data.street import StreetDrive
from zmask_ros.data.textures.adverts import advert


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


Box = tuple[float, float, float]
"""Left and top of a square and its side, all as shares of the image's height."""


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
    behavior: Behavior,
    drive: Sequence[tuple[np.ndarray, np.ndarray]],
    patch: np.ndarray,
    rate_hz: float,
    decoy: np.ndarray | None = None,
) -> Iterator[DriveFrame]:
    """A clean drive, images with their labels, with the patch, and a decoy, pasted in as ``behavior`` has it."""
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
