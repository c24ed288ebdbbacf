"""Where `zmask attack` takes its frames from; every source gives the same number, so that none outweighs another."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from zmask_ros.attacks import AttackFrame
from zmask_ros.attacks.projection import ScenePlacement
from zmask_ros.attacks.scenes import BLANK, AttackScene, evenly, gear_scene, joined, street_scene
from zmask_ros.cli.console import progress
from zmask_ros.data.camvid import CamVid
from zmask_ros.data.carla_gear.reader import CarlaGear
from zmask_ros.data.street import StreetDrive
from zmask_ros.errors import ZmaskError
from zmask_ros.io.bags.reader import CameraBags
from zmask_ros.io.images.files import pictures_in, read_picture

HELP = (
    "Attack this scene by projection, the patch on its billboard: street:SEED, street:SEED:truck, or a scene's folder "
    "in CARLA-GeAR's layout such as SET/billboard01; may be repeated. Place, size and turn then come from the poses; "
    "--scale has no effect."
)
"""Of the option --scene."""
STREET_SECONDS = 20.0
"""Length of the street drives that frames are taken from."""
SCENE_RATE_HZ = 15.0
"""Frames a second of a street drive that is attacked as a scene."""


@dataclass(frozen=True)
class AttackSources:
    """The sources of frames that the user named; frames lie evenly over their source.

    Attributes:
        camvid: CamVid's root folder; its training split is used.
        street: seeds of drives of the street world.
        images: a folder of images, without labels.
        bags: recordings, without labels.
        topic: image topic in the bags; None where they have only one.
        frames: how many to take of each source.
        scenes: those that are attacked by projection, without other sources.
    """

    camvid: Path | None
    street: tuple[int, ...]
    images: Path | None
    bags: tuple[Path, ...]
    topic: str | None
    frames: int
    scenes: tuple[str, ...] = ()

    def describe(self) -> tuple[str, ...]:
        """One short line a source, as a patch's recipe keeps it.

        Raises:
            ZmaskError: there is no source, or scenes and another one.
        """
        lines = [
            *(["CamVid, training split"] if self.camvid else []),
            *([f"street seeds {', '.join(map(str, self.street))}"] if self.street else []),
            *([f"images {self.images}"] if self.images else []),
            *(f"bag {bag}" for bag in self.bags),
        ]
        if self.scenes and lines:
            raise ZmaskError("A scene has its own frames: name either --scene or other sources.")
        if self.scenes:
            return tuple(f"scene {name}" for name in self.scenes)
        if not lines:
            raise ZmaskError("Name at least one source of frames: --street, --camvid, --images, --bag or --scene.")
        return tuple(lines)

    def load(self) -> tuple[Iterable[AttackFrame], ScenePlacement | None]:
        """The frames, and where the patch is in them; None where that is drawn at random.

        Raises:
            ZmaskError: a scene cannot be read, or never shows its panel.
        """
        if not self.scenes:
            return self, None
        scene = joined([load_scene(name, self.frames) for name in self.scenes])
        return scene.frames, scene.placement

    def __iter__(self) -> Iterator[AttackFrame]:
        if self.camvid:
            yield from _camvid(self.camvid, self.frames)
        if self.street:
            yield from _street(self.street, self.frames)
        if self.images:
            yield from _images(self.images, self.frames)
        if self.bags:
            yield from _bags(self.bags, self.topic, self.frames)


def load_scene(name: str, frames: int) -> AttackScene:
    """Up to ``frames`` frames of the scene ``name``, with a progress bar.

    Raises:
        ZmaskError: there is no such scene, it cannot be read, or its panel is never large enough.
    """
    street = re.fullmatch(r"street:(\d+)(?::(billboard|truck))?", name)
    if street is not None:
        carrier = street[2] or "billboard"
        drive = StreetDrive(int(street[1]), STREET_SECONDS, SCENE_RATE_HZ, carrier=carrier, picture=BLANK)
        return street_scene(drive, frames, progress)
    if name.startswith("street:"):
        raise ZmaskError(f"'{name}' is no street scene: write street:SEED or street:SEED:truck, such as street:4.")
    return gear_scene(CarlaGear(Path(name)), frames, progress)


def _camvid(root: Path, frames: int) -> Iterator[AttackFrame]:
    split = CamVid(root, "train")
    for index in evenly(len(split), frames):
        yield split[index].image, split[index].labels


def _street(seeds: Sequence[int], frames: int) -> Iterator[AttackFrame]:
    a_drive = -(-frames // len(seeds))
    for seed, carrier in zip(seeds, cycle(("billboard", None))):
        for frame in StreetDrive(seed, STREET_SECONDS, rate_hz=a_drive / STREET_SECONDS, carrier=carrier):
            yield frame.image, frame.labels


def _images(folder: Path, frames: int) -> Iterator[AttackFrame]:
    files = pictures_in(folder)
    for index in evenly(len(files), frames):
        yield read_picture(files[index]), None


def _bags(paths: tuple[Path, ...], topic: str | None, frames: int) -> Iterator[AttackFrame]:
    with CameraBags(paths, topic) as whole:
        every = max(1, whole.total // frames)
    with CameraBags(paths, topic, every) as camera:
        for frame in camera.warned_frames():
            yield frame.image, None
