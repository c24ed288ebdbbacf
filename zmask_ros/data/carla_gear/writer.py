"""Write sets of scenes in CARLA-GeAR's layout."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from zmask_ros.data.camvid import DatasetError
from zmask_ros.data.carla_gear.reader import (
    BILLBOARD_KEYS,
    CITYSCAPES_BY_CAMVID,
    INFO_FILE,
    LABEL_ENDING,
    GearCamera,
    GearFrame,
    GearPanel,
    images_folder,
    truth_folder,
)

NOBODY = [None] * 6
"""How a billboard that is not there is written."""


class GearWriter:
    """Writes a set beside its place and renames it when it is whole; a set left half-written leaves nothing.

    Args:
        root: the set's folder.
        overwrite: replace a set that is there already; a folder that is none is never replaced.

    Raises:
        DatasetError: there is something at ``root``, or it cannot be written.
    """

    def __init__(self, root: Path, overwrite: bool = False) -> None:
        self.root = Path(root)
        self._overwrite = overwrite
        _check_place(self.root, overwrite)
        try:
            self.root.parent.mkdir(parents=True, exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(".partial", f".{self.root.name}.", self.root.parent))
            (self._folder / "set").mkdir()
        except OSError as error:
            raise DatasetError(f"The set {self.root} cannot be written: {error.strerror}.") from error

    def __enter__(self) -> GearWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._publish()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def write_scene(
        self, name: str, split: str, camera: GearCamera, panel: GearPanel, is_patched: bool, frames: Iterable[GearFrame]
    ) -> None:
        """Write one split of a scene.

        Args:
            name: of the scene, such as ``billboard01``.
            split: such as ``train``.
            camera: of all frames.
            panel: size and place of the picture that the billboards carry.
            is_patched: whether that picture is an adversarial patch.
            frames: with labels 0..10 and 255.

        Raises:
            DatasetError: ``split`` cannot be a folder, or a picture cannot be written, for want of space for example.
        """
        if not split or split in {".", ".."} or "/" in split:
            raise DatasetError(f"'{split}' cannot be the name of a split: choose one such as train, val or video.")
        scene = self._folder / "set" / name
        positions = []
        cityscapes = np.zeros(256, np.uint8)
        cityscapes[: len(CITYSCAPES_BY_CAMVID)] = [ids[0] for ids in CITYSCAPES_BY_CAMVID]
        try:
            images, truth = images_folder(scene, split), truth_folder(scene, split)
            images.mkdir(parents=True)
            truth.mkdir(parents=True)
            for frame in frames:
                _write_png(images / f"{frame.name}.png", cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))
                _write_png(truth / f"{frame.name}{LABEL_ENDING}", cv2.LUT(frame.labels, cityscapes))
                positions.append(_position(frame))
            seen = max((sum(entry[key] != NOBODY for key in BILLBOARD_KEYS) for entry in positions), default=0)
            description = {
                "info": {"task": "ss", "num_billboards": seen, "is_patched": is_patched, "panel": asdict(panel)},
                "camera_billboard_positions": positions,
                "camera_params": {
                    "height": camera.height,
                    "width": camera.width,
                    "fov": camera.fov,
                    "focal": camera.focal,
                },
            }
            (truth / INFO_FILE).write_text(json.dumps(description, indent=1), "utf-8")
        except OSError as error:
            raise DatasetError(f"The set {self.root} cannot be written: {error.strerror}.") from error

    def _publish(self) -> None:
        _check_place(self.root, self._overwrite)
        replaced = self._folder / "replaced"
        try:
            if self.root.exists():
                self.root.rename(replaced)
            (self._folder / "set").rename(self.root)
        except OSError as error:
            if replaced.exists():
                replaced.rename(self.root)
            raise DatasetError(f"The set {self.root} cannot be written: {error.strerror}.") from error


def _position(frame: GearFrame) -> dict[str, object]:
    poses = dict.fromkeys(BILLBOARD_KEYS, NOBODY) | {
        key: pose.tolist() for key, pose in zip(BILLBOARD_KEYS, frame.poses.billboards, strict=False)
    }
    camera = NOBODY if frame.poses.camera is None else frame.poses.camera.tolist()
    return {"id": frame.id, **poses, "camera_xyzrpy": camera}


def _write_png(path: Path, pixels: np.ndarray) -> None:
    written, encoded = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    if not written:
        raise DatasetError(f"The picture {path.name} could not be encoded.")
    path.write_bytes(encoded.tobytes())


def _check_place(root: Path, overwrite: bool) -> None:
    if not root.exists():
        return
    if not overwrite:
        raise DatasetError(f"{root} exists already; name another place or remove it.")
    if not any(root.glob(f"*/gtFine/*/*/{INFO_FILE}")):
        raise DatasetError(f"{root} exists and is no set of CARLA-GeAR, so it is not replaced; name another place.")
