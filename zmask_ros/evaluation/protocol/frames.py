"""Frames for an evaluation, split into what is learned from and what is tested on.

Test frames are never in another part. Where a source has no split of its own, its first half is learned from, and the
last 40 % are the test: frames that lie close together in time are nearly equal, so a gap is left between.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np

from zmask_ros.attacks.scenes import evenly
from zmask_ros.data.camvid import CamVid
from zmask_ros.data.carla_gear.reader import CarlaGear
from zmask_ros.data.street import StreetDrive
from zmask_ros.data.street.pictures import PICTURE_SEEDS
from zmask_ros.errors import ZmaskError
from zmask_ros.io.bags.reader import CameraBags
from zmask_ros.io.images.files import pictures_in, read_picture

LEARNED_SHARE, TEST_SHARE = 0.5, 0.4
HELD_OUT_EVERY = 5
STREET_SECONDS = 20.0
STREET_TRAINING_SEEDS = range(7000, 7008)


@dataclass(frozen=True)
class Scene:
    """One clean frame.

    Attributes:
        name: Unique within an evaluation.
        drive: The recording that it belongs to.
        image: uint8 [H, W, 3] RGB.
        labels: uint8 [H, W], 255 = unlabeled; None: the network's own clean prediction is taken for the truth.
    """

    name: str
    drive: str
    image: np.ndarray
    labels: np.ndarray | None


@dataclass(frozen=True)
class Parts:
    """The frames of an evaluation, each in one part only.

    Attributes:
        source: Where they come from, as text for people.
        statistics: Frames from which compared detectors learn clean ranges.
        thresholds: Frames from which their thresholds are set.
        attack: Frames on which patches are optimized.
        test: Frames on which everything is measured, in the order of recording.
    """

    source: str
    statistics: tuple[Scene, ...]
    thresholds: tuple[Scene, ...]
    attack: tuple[Scene, ...]
    test: tuple[Scene, ...]

    def __post_init__(self) -> None:
        for part, scenes in self.named.items():
            if not scenes:
                raise ZmaskError(f"{self.source} has no frames left for {part}: name more frames.")
        names = [scene.name for scenes in self.named.values() for scene in scenes]
        if len(set(names)) < len(names):
            raise ZmaskError(f"{self.source} has frames in two parts of the evaluation: name each source once.")

    @property
    def named(self) -> dict[str, tuple[Scene, ...]]:
        """The parts by their names."""
        return {own.name: getattr(self, own.name) for own in fields(self)[1:]}

    @property
    def labeled(self) -> bool:
        """Whether the test frames have true labels."""
        return all(scene.labels is not None for scene in self.test)

    def thinned(self, learned: int, tested: int) -> Parts:
        """At most ``learned`` frames of each part that is learned from, and ``tested`` of the test, evenly spread."""
        most = {part: learned for part in self.named} | {"test": tested}
        chosen = {part: evenly(len(scenes), most[part]) for part, scenes in self.named.items()}
        return Parts(self.source, **{part: tuple(getattr(self, part)[i] for i in chosen[part]) for part in chosen})

    def digest(self) -> str:
        """SHA-256 of every frame and label, hexadecimal."""
        total = hashlib.sha256()
        for scene in itertools.chain(*self.named.values()):
            total.update(scene.name.encode() + np.ascontiguousarray(scene.image).tobytes())
            total.update(b"" if scene.labels is None else np.ascontiguousarray(scene.labels).tobytes())
        return total.hexdigest()


def parted(source: str, learned: Sequence[Scene], test: Sequence[Scene]) -> Parts:
    """Split ``learned``: every fifth frame sets thresholds, the others in turn give statistics and attacks."""
    held_out = tuple(learned[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY])
    rest = tuple(scene for index, scene in enumerate(learned) if index % HELD_OUT_EVERY != HELD_OUT_EVERY - 1)
    return Parts(source, rest[::2], held_out, rest[1::2], tuple(test))


def halved(source: str, scenes: Sequence[Scene]) -> Parts:
    """Split one recording by time: its first half, a gap, and its last 40 %."""
    learned, tested = int(LEARNED_SHARE * len(scenes)), int(TEST_SHARE * len(scenes))
    return parted(source, scenes[:learned], scenes[len(scenes) - tested :])


def camvid_parts(root: Path) -> Parts:
    """CamVid: learned from its training split, tested on its validation split."""
    learned, test = (
        [Scene(f"{split}/{frame.name}", frame.drive, frame.image, frame.labels) for frame in CamVid(root, split)]
        for split in ("train", "val")
    )
    return parted("CamVid", learned, test)


def street_parts(seeds: Sequence[int], frames: int) -> Parts:
    """Street-world drives with ``frames`` frames each: the test is ``seeds``, what is learned from is fixed.

    Raises:
        ZmaskError: A test seed is one of `STREET_TRAINING_SEEDS`, or of those that `zmask prepare` learns from.
    """
    for taken in (STREET_TRAINING_SEEDS, PICTURE_SEEDS):
        if both := sorted(set(seeds) & set(taken)):
            raise ZmaskError(f"Street seed {both[0]} is learned from: test on seeds outside of {taken}.")
    learned = [scene for seed in STREET_TRAINING_SEEDS for scene in _street_scenes(seed, frames)]
    test = [scene for seed in dict.fromkeys(seeds) for scene in _street_scenes(seed, frames)]
    return parted("street world", learned, test)


def image_parts(folder: Path, labels: Path | None) -> Parts:
    """A folder of images in the order of their names, with label maps under the same names as PNG in ``labels``.

    Raises:
        ZmaskError: There are no images, or one has no labels.
    """
    scenes = []
    for path in pictures_in(folder):
        image = read_picture(path)
        truth = None if labels is None else _read_labels(labels / f"{path.stem}.png", image.shape[:2])
        scenes.append(Scene(path.name, folder.name, image, truth))
    return halved(f"images {folder.name}", scenes)


def bag_parts(bags: Sequence[Path], topic: str | None, frames: int) -> Parts:
    """Recordings, without labels; at most about ``frames`` frames in all.

    With several bags the last one is the test; a single one is split by time.
    """
    with CameraBags(bags, topic) as whole:
        every = max(1, whole.total // frames)
    titles, drives = _titles(bags), defaultdict(list)
    with CameraBags(bags, topic, every) as camera:
        for frame in camera.warned_frames():
            scene = Scene(f"{titles[frame.bag]}:{frame.index}", str(frame.bag), frame.image, None)
            drives[frame.bag].append(scene)
    return _last_tested("bags", list(drives.values()))


def carla_gear_parts(folders: Sequence[Path], split: str | None) -> Parts:
    """Scenes of CARLA-GeAR sets; with several the last one is the test, a single one is split by time.

    Their billboards must not be patched: these are the clean frames that patches are put into.

    Raises:
        ZmaskError: A set is already patched.
    """
    drives, titles = [], _titles(folders)
    for folder in folders:
        gear = CarlaGear(folder, split)
        if gear.is_patched:
            raise ZmaskError(f"{folder} shows patches already: name scenes whose billboards are clean.")
        drives.append([Scene(f"{titles[folder]}:{f.name}", titles[folder], f.image, f.labels) for f in gear])
    return _last_tested("CARLA-GeAR", drives)


def _last_tested(source: str, drives: Sequence[Sequence[Scene]]) -> Parts:
    if len(drives) < 2:
        return halved(source, [scene for drive in drives for scene in drive])
    return parted(source, [scene for drive in drives[:-1] for scene in drive], drives[-1])


def _titles(paths: Sequence[Path]) -> dict[Path, str]:
    """What recordings are called: by their names, or where several have the same one, by their whole paths."""
    named = Counter(path.name for path in dict.fromkeys(paths))
    return {path: path.name if named[path.name] == 1 else str(path) for path in paths}


def _street_scenes(seed: int, frames: int) -> list[Scene]:
    drive = StreetDrive(seed, STREET_SECONDS, rate_hz=frames / STREET_SECONDS)
    return [Scene(f"street {seed}:{frame.index}", f"street {seed}", frame.image, frame.labels) for frame in drive]


def _read_labels(path: Path, size: tuple[int, int]) -> np.ndarray:
    labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if labels is None or labels.ndim != 2 or labels.dtype != np.uint8:
        raise ZmaskError(f"{path} is not a label map: it must be a grey PNG of 8 bits, class ids, 255 unlabelled.")
    if labels.shape != size:
        raise ZmaskError(f"The label map {path} is {labels.shape[1]}x{labels.shape[0]}, its image {size[1]}x{size[0]}.")
    return np.asarray(labels)
