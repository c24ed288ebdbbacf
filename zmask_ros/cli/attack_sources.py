"""Where `zmask attack` takes its frames from; every source gives the same number, so that none outweighs another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np

from zmask_ros.attacks import AttackFrame
from zmask_ros.errors import ZmaskError
from zmask_ros.world.bags import CameraBags, ReadReport
from zmask_ros.world.datasets import CamVid
from zmask_ros.world.picture_files import read_picture
from zmask_ros.world.street import StreetDrive

IMAGE_ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}
STREET_SECONDS = 20.0


@dataclass(frozen=True)
class Sources:
    """What was asked for, and how many frames to take of each; frames lie evenly over their source.

    ``camvid`` is a root folder (its training split is used), ``street`` seeds of drives, ``images`` a folder,
    ``bags`` with ``topic`` recordings.
    """

    camvid: Path | None
    street: tuple[int, ...]
    images: Path | None
    bags: tuple[Path, ...]
    topic: str | None
    frames: int

    def describe(self) -> tuple[str, ...]:
        """One short line a source; raises ZmaskError if there is none."""
        lines = [
            *([f"CamVid train {self.camvid}"] if self.camvid else []),
            *([f"street seeds {', '.join(map(str, self.street))}"] if self.street else []),
            *([f"images {self.images}"] if self.images else []),
            *(f"bag {bag}" for bag in self.bags),
        ]
        if not lines:
            raise ZmaskError("Name at least one source of frames: --street, --camvid, --images or --bag.")
        return tuple(lines)

    def __iter__(self) -> Iterator[AttackFrame]:
        if self.camvid:
            yield from _camvid(self.camvid, self.frames)
        if self.street:
            yield from _street(self.street, self.frames)
        if self.images:
            yield from _images(self.images, self.frames)
        if self.bags:
            yield from _bags(self.bags, self.topic, self.frames)


def _camvid(root: Path, frames: int) -> Iterator[AttackFrame]:
    split = CamVid(root, "train")
    for index in _evenly(len(split), frames):
        yield split[index].image, split[index].labels


def _street(seeds: Sequence[int], frames: int) -> Iterator[AttackFrame]:
    each = -(-frames // len(seeds))
    for seed, carrier in zip(seeds, cycle(("billboard", None))):
        for frame in StreetDrive(seed, STREET_SECONDS, rate_hz=each / STREET_SECONDS, carrier=carrier):
            yield frame.image, frame.labels


def _images(folder: Path, frames: int) -> Iterator[AttackFrame]:
    files = sorted(path for path in folder.glob("*") if path.suffix.lower() in IMAGE_ENDINGS)
    if not files:
        raise ZmaskError(f"There are no images in {folder}: name a folder with PNG or JPEG files.")
    for index in _evenly(len(files), frames):
        yield read_picture(files[index]), None


def _bags(paths: tuple[Path, ...], topic: str | None, frames: int) -> Iterator[AttackFrame]:
    with CameraBags(paths, topic) as whole:
        every = max(1, whole.total // frames)
    with CameraBags(paths, topic, every) as camera:
        for frame in camera.frames(ReadReport()):
            yield frame.image, None


def _evenly(length: int, wanted: int) -> list[int]:
    return [int(index) for index in np.unique(np.linspace(0, length - 1, min(length, wanted)).round())]
