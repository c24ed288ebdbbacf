"""A segmenter: a network with its preprocessing, its classes and its layers."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from zmask_ros.denormals import flush_denormals
from zmask_ros.segmenters.builders import modules_beside
from zmask_ros.segmenters.description import Color, Description, SegmenterError, read_description
from zmask_ros.segmenters.labels import at_size
from zmask_ros.segmenters.network import build_network, compute_scores, weights_digest
from zmask_ros.segmenters.precision import apply_precision
from zmask_ros.segmenters.trial import try_network

UNLABELLED = 255
"""Label of pixels without a class."""
KEPT_CHECKS = 4
"""Enough for one frame: one pass, and a second one of what is flagged."""


@dataclass(frozen=True)
class Segmenter:
    """A frozen network on its device, and all that is needed to feed it and to read what it puts out.

    Attributes:
        description: where it came from.
        network: in eval mode, gradients off for its parameters.
        digest: SHA-256 of the weights; a profile belongs to one digest.
        device: where the network lives.
        engine: what runs it, for people.
    """

    description: Description
    network: nn.Module
    digest: str
    device: torch.device
    engine: str = "torch"

    @property
    def name(self) -> str:
        """The description's name."""
        return self.description.name

    @property
    def classes(self) -> dict[str, Color]:
        """Name and color of each, in the order of the output channels."""
        return self.description.classes

    @property
    def mean(self) -> tuple[float, float, float]:
        """Mean of the RGB channels, for images in 0..1."""
        return self.description.mean

    @property
    def std(self) -> tuple[float, float, float]:
        """Standard deviation of the RGB channels, for images in 0..1."""
        return self.description.std

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.description.input_size

    @property
    def palette(self) -> np.ndarray:
        """uint8 [256, 3], RGB color of each label; black where there is no class."""
        palette = np.zeros((256, 3), np.uint8)
        palette[: len(self.classes)] = list(self.classes.values())
        return palette

    def normalize(self, rgb: Tensor) -> Tensor:
        """Images [B, 3, H, W] in 0..1 to the network's range: mean 0, deviation 1; differentiable."""
        mean, std = (rgb.new_tensor(values)[:, None, None] for values in (self.mean, self.std))
        return (rgb - mean) / std

    def prepare(self, image: np.ndarray) -> Tensor:
        """One image, uint8 [H, W, 3] RGB of any size, to the network's input [1, 3, h, w] on its device."""
        image = np.require(resized(image, self.input_size), requirements=("C", "W"))
        # `normalize` row by row, where the colors of a row stand side by side: several times as fast as three by three.
        rows = torch.from_numpy(image).to(self.device, non_blocking=True).flatten(1).float().div_(255.0)
        mean, std = (rows.new_tensor(values).repeat(image.shape[1]) for values in (self.mean, self.std))
        return rows.sub_(mean).div_(std).view(image.shape).permute(2, 0, 1)[None]

    def logits(self, x: Tensor) -> Tensor:
        """Class scores [B, K, H, W] for the normalized images ``x`` [B, 3, H, W]: `scores` at their size."""
        return at_size(self.scores(x), (x.shape[-2], x.shape[-1]))

    def scores(self, x: Tensor) -> Tensor:
        """Class scores [B, K, h, w] for the normalized images ``x`` [B, 3, H, W], at the size that the network has.

        Understands networks that return a tensor, a dict or an object with ``out`` or ``logits``, or a tuple whose
        first item is the logits. One channel becomes two: 0 for the first class, and what it says for the second.

        Raises:
            SegmenterError: the network returns something else, or another number of channels than it has classes.
        """
        return compute_scores(self.network, x, self.description)


def resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The image, uint8 [H, W, 3], at this height and width; itself where it has them already."""
    height, width = size
    if image.shape[:2] == size:
        return image
    shrinks = image.shape[0] > height or image.shape[1] > width
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR))


@dataclass(frozen=True)
class CheckedSegmenter(Segmenter):
    """A segmenter that remembers whether its last outputs were finite, since labels do not show a NaN.

    Attributes:
        finite: a bool scalar for each of the last passes, on the network's device.
    """

    finite: deque[Tensor] = field(default_factory=lambda: deque(maxlen=KEPT_CHECKS))

    def scores(self, x: Tensor) -> Tensor:
        """Class scores as of `Segmenter.scores`, whose finiteness is kept."""
        scores = super().scores(x)
        # A NaN or an infinity anywhere ends up in the sum.
        self.finite.append(scores.detach().sum(dtype=torch.float32).isfinite())
        return scores


def choose_device(name: str) -> torch.device:
    """The device of this name: ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        SegmenterError: no such device on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SegmenterError(f"Device '{name}' cannot be used on this machine: choose auto or cpu.") from error
    return device


def load_segmenter(name: str, device: str = "auto") -> Segmenter:
    """The segmenter described by ``name``: one of ``config/segmenters``, or the path of a YAML file.

    Raises:
        SegmenterError: it cannot be described, built or loaded; the sentence says why.
    """
    return build_segmenter(read_description(name), device)


def build_segmenter(description: Description, device: str = "auto") -> Segmenter:
    """The segmenter that ``description`` describes.

    From now on, this thread takes tiny numbers for zero; see `zmask_ros.denormals`.

    Raises:
        SegmenterError: it cannot be built or loaded, fails in its trial, or differs too much from float32; the
            sentence says why, and which entries of the description to change.
    """
    flush_denormals()
    place = choose_device(device)
    with modules_beside(description):
        network = build_network(description)
        digest = weights_digest(network)
        # Channels last is a third faster on CPUs, and no slower on GPUs.
        nn.Module.to(network, device=place, memory_format=torch.channels_last)  # type: ignore[call-overload]
        try_network(network, description, place)
        return Segmenter(description, apply_precision(network, description, place), digest, place)
