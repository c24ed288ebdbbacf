"""What a demo is made of: the drive with the picture, and the clean ones that the profile is fitted on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, cycle, islice
from pathlib import Path

import numpy as np

from zmask_ros.data.street import StreetDrive

CARRIERS = ("billboard", "truck")
CLEAN_SEED = 200
CLEAN_CARRIERS = (None, "billboard", "truck")
CLEAN_SECONDS = 20.0
CLEAN_RATE_HZ = 1.0
CLEAN_FRAMES = round(CLEAN_SECONDS * CLEAN_RATE_HZ)


@dataclass(frozen=True)
class Scenario:
    """A drive on which a carrier shows a picture for part of the time, and its own advertisement otherwise.

    Attributes:
        seed: of the street world, at least 0.
        seconds, rate_hz: length of the drive and frames a second, above 0.
        carrier: one of `CARRIERS`.
        picture_from_s, picture_until_s: when the picture is shown, in seconds of the drive.
        width, height: of the images, px.
    """

    seed: int = 58
    seconds: float = 20.0
    rate_hz: float = 20.0
    carrier: str = "truck"
    picture_from_s: float = 3.0
    picture_until_s: float = 13.0
    width: int = 640
    height: int = 480

    @property
    def frames(self) -> int:
        """Of the whole drive."""
        return max(1, round(self.seconds * self.rate_hz))

    def drive(self, picture: np.ndarray | None) -> StreetDrive:
        """The drive with ``picture`` (uint8 [h, w, 3] RGB); with None the same street without an attack."""
        size, shown_s = (self.width, self.height), (self.picture_from_s, self.picture_until_s)
        return StreetDrive(self.seed, self.seconds, self.rate_hz, *size, self.carrier, picture, *shown_s)

    def shows_picture(self, index: int) -> bool:
        """Whether the carrier shows the picture in this frame; it may still be out of sight."""
        return self.picture_from_s <= index / self.rate_hz < self.picture_until_s


@dataclass(frozen=True)
class DemoSettings:
    """What a demo is made of.

    Attributes:
        folder: for all results.
        scenario: the drive with the patch.
        patch: path of the picture to attack with; None takes the one that is shipped for the segmenter and the carrier.
        clean_drives: number of drives to fit the profile on, at least 2.
        segmenter: its name, or its YAML file.
        device: such as auto, cpu or cuda:0.
        fresh: whether clean drives and profile are made again, even if nothing changed.
        threads: CPU threads of the node's network; 0 leaves it to torch.
    """

    folder: Path
    scenario: Scenario
    patch: Path | None
    clean_drives: int
    segmenter: str
    device: str
    fresh: bool
    threads: int = 0

    @property
    def clean(self) -> Path:
        """The bag of the clean drives."""
        return self.folder / "clean.mcap"

    @property
    def profile(self) -> Path:
        """The profile that is fitted on them."""
        return self.folder / "street.zmask.safetensors"

    @property
    def drive(self) -> Path:
        """The bag of the defended drive."""
        return self.folder / "drive"


def clean_drives(number: int, scenario: Scenario) -> Iterator[StreetDrive]:
    """Drives through other streets, without attack, of `CLEAN_FRAMES` frames each; made as they are asked for."""
    seeds = (seed for seed in count(CLEAN_SEED) if seed != scenario.seed)
    for seed, carrier in islice(zip(seeds, cycle(CLEAN_CARRIERS)), number):
        yield StreetDrive(seed, CLEAN_SECONDS, CLEAN_RATE_HZ, scenario.width, scenario.height, carrier=carrier)
