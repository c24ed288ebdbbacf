"""Optimise one patch that spoils the segmentation of every frame it appears in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from zmask_ros.attacks.eot import sample_transforms
from zmask_ros.attacks.errors import AttackError
from zmask_ros.attacks.losses import IGNORED, attack_gradient, smoothness_gradient
from zmask_ros.attacks.pasting import apply_patch
from zmask_ros.attacks.recipe import Recipe
from zmask_ros.segmenters import Segmenter

FINAL_LR = 0.1
"""Share of the learning rate that is left at the last step."""

AttackFrame = tuple[np.ndarray, np.ndarray | None]
"""An image, uint8 [H, W, 3] RGB, with its labels, uint8 [H, W] (255 unlabelled); None: the network's own are right."""


@dataclass(frozen=True)
class Step:
    """One step's outcome: mean cross-entropy, and share of correct pixels outside the patch (0..1)."""

    index: int
    loss: float
    pixel_accuracy: float


@dataclass(frozen=True)
class PatchResult:
    """A finished patch: float [3, h, w] in 0..1 on the CPU, and all steps in order."""

    patch: Tensor
    history: tuple[Step, ...]


@dataclass(frozen=True)
class FrameStack:
    """Frames at the segmenter's input size: uint8 [N, 3, h, w] and uint8 [N, h, w], on the CPU."""

    images: Tensor
    labels: Tensor


def train_patch(
    segmenter: Segmenter,
    frames: Iterable[AttackFrame],
    recipe: Recipe,
    progress: Callable[[Step], None] = lambda step: None,
) -> PatchResult:
    """Optimise a patch by ``recipe`` over ``frames``; calls ``progress`` after each step.

    Raises:
        AttackError: there are no frames, or labels do not belong to the segmenter's classes.
    """
    stack = stack_frames(segmenter, frames)
    generator = torch.Generator().manual_seed(recipe.seed)
    low, high = recipe.printable
    start = low + (high - low) * torch.rand(3, *recipe.size, generator=generator)
    patch = start.to(segmenter.device).requires_grad_()
    optimiser = torch.optim.Adam([patch], lr=recipe.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.steps, recipe.lr * FINAL_LR)
    history = []
    for index in range(recipe.steps):
        step, patch.grad = _gradient(segmenter, stack, patch, recipe, index, generator)
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            patch.clamp_(low, high)
        history.append(step)
        progress(step)
    return PatchResult(patch.detach().cpu(), tuple(history))


def stack_frames(segmenter: Segmenter, frames: Iterable[AttackFrame]) -> FrameStack:
    """Bring frames to the segmenter's input size, with labels; missing ones are predicted.

    Raises:
        AttackError: there are none, an image and its labels differ in size, or a label is no class of the segmenter.
    """
    images, labels = [], []
    for index, (image, truth) in enumerate(frames):
        small = _resize(image, segmenter.input_size, cv2.INTER_AREA)
        images.append(torch.from_numpy(np.ascontiguousarray(small.transpose(2, 0, 1))))
        labels.append(torch.from_numpy(_labels(segmenter, image, truth, index)))
    if not images:
        raise AttackError("There are no frames to attack: name a source that has some.")
    return FrameStack(torch.stack(images), torch.stack(labels))


def _gradient(
    segmenter: Segmenter, stack: FrameStack, patch: Tensor, recipe: Recipe, index: int, generator: torch.Generator
) -> tuple[Step, Tensor]:
    chosen = torch.randint(len(stack.images), (recipe.batch,), generator=generator)
    images = stack.images[chosen].to(segmenter.device).float() / 255.0
    transforms = sample_transforms(recipe.eot, recipe.batch, recipe.size, segmenter.input_size, generator)
    patched, mask = apply_patch(images, patch, transforms)
    logits = segmenter.logits(segmenter.normalise(patched))
    if logits.shape[-2:] != mask.shape[-2:]:
        logits = torch.nn.functional.interpolate(logits, mask.shape[-2:], mode="bilinear", align_corners=False)
    attack = attack_gradient(logits, stack.labels[chosen].to(segmenter.device), mask, patch, recipe.gamma)
    gradient = attack.direction + recipe.smoothness * smoothness_gradient(patch)
    return Step(index, attack.loss, attack.pixel_accuracy), gradient


def _labels(segmenter: Segmenter, image: np.ndarray, truth: np.ndarray | None, index: int) -> np.ndarray:
    if truth is None:
        return _clean_prediction(segmenter, image)
    if truth.shape != image.shape[:2]:
        raise AttackError(f"Frame {index} is {image.shape[:2]} pixels, its labels {truth.shape}: they must agree.")
    strangers = np.unique(truth[(truth >= len(segmenter.classes)) & (truth != IGNORED)])
    if len(strangers):
        raise AttackError(f"Frame {index} has label {strangers[0]}, but '{segmenter.name}' knows only "
                          f"{len(segmenter.classes)} classes: attack it with frames that have no labels.")
    return _resize(truth, segmenter.input_size, cv2.INTER_NEAREST)


@torch.no_grad()
def _clean_prediction(segmenter: Segmenter, image: np.ndarray) -> np.ndarray:
    logits = segmenter.logits(segmenter.prepare(image))
    labels = logits.argmax(1)[0].to(torch.uint8).cpu().numpy()
    return _resize(labels, segmenter.input_size, cv2.INTER_NEAREST)


def _resize(pixels: np.ndarray, size: tuple[int, int], interpolation: int) -> np.ndarray:
    if pixels.shape[:2] == size:
        return pixels
    return np.asarray(cv2.resize(pixels, (size[1], size[0]), interpolation=interpolation))
