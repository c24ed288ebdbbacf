"""The frames that a patch is optimized over."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from zmask_ros.errors import AttackError
from zmask_ros.io.images.nearest import resize_nearest
from zmask_ros.segmenters import UNLABELLED, Segmenter

AttackFrame = tuple[np.ndarray, np.ndarray | None]
"""An image, uint8 [H, W, 3] RGB, with its labels, uint8 [H, W] (255 unlabelled); None: the network's own are right."""


class NothingToHideError(AttackError):
    """No frame shows the class that is to disappear."""


@dataclass(frozen=True)
class FrameStack:
    """Frames at the segmenter's input size, on the CPU.

    Attributes:
        images: uint8 [N, 3, h, w], RGB.
        labels: uint8 [N, h, w], 255 unlabelled.
        numbers: int64 [N], those that the frames had where they came from, counted from 0.
    """

    images: Tensor
    labels: Tensor
    numbers: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, chosen: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        """The chosen images, float [B, 3, h, w] in 0..1, and their labels, uint8 [B, h, w], on ``device``."""
        return self.images[chosen].to(device).float() / 255.0, self.labels[chosen].to(device)

    def showing(self, label: int) -> FrameStack:
        """Only the frames that have pixels of class ``label``.

        Raises:
            NothingToHide: there is none.
        """
        shown = (self.labels == label).flatten(1).any(1)
        if not bool(shown.any()):
            raise NothingToHideError(
                "No frame shows the class that is to be hidden: name another class or other frames."
            )
        return self.where(shown)

    def where(self, wanted: Tensor) -> FrameStack:
        """Only the frames where bool [N] is true."""
        return FrameStack(self.images[wanted], self.labels[wanted], self.numbers[wanted])

    def digest(self) -> str:
        """SHA-256 of all images and labels, hexadecimal."""
        return hashlib.sha256(self.images.numpy().tobytes() + self.labels.numpy().tobytes()).hexdigest()


def stack_frames(segmenter: Segmenter, frames: Iterable[AttackFrame]) -> FrameStack:
    """Bring frames to the segmenter's input size; labels that are missing are predicted by the segmenter.

    Raises:
        AttackError: there are none, an image and its labels differ in size, or a label is no class of the segmenter.
    """
    images, labels = [], []
    for index, (image, truth) in enumerate(frames):
        small = _resize(image, segmenter.input_size)
        images.append(torch.from_numpy(np.ascontiguousarray(small.transpose(2, 0, 1))))
        labels.append(torch.from_numpy(_labels(segmenter, image, truth, index)))
    if not images:
        raise AttackError("There are no frames to attack: name a source that has some.")
    return FrameStack(torch.stack(images), torch.stack(labels), torch.arange(len(images)))


def _labels(segmenter: Segmenter, image: np.ndarray, truth: np.ndarray | None, index: int) -> np.ndarray:
    if truth is None:
        with torch.no_grad():
            predicted = segmenter.logits(segmenter.prepare(image)).argmax(1)[0]
        return np.asarray(predicted.to(torch.uint8).cpu().numpy())
    if truth.shape != image.shape[:2]:
        raise AttackError(f"Frame {index} is {image.shape[:2]} pixels, its labels {truth.shape}: they must agree.")
    strangers = np.unique(truth[(truth >= len(segmenter.classes)) & (truth != UNLABELLED)])
    if len(strangers):
        raise AttackError(
            f"Frame {index} has label {strangers[0]}, but '{segmenter.name}' knows only "
            f"{len(segmenter.classes)} classes: attack it with frames that have no labels."
        )
    return resize_nearest(truth, segmenter.input_size)


def _resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if image.shape[:2] == size:
        return image
    return np.asarray(cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA))
