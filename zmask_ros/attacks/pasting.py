"""Put a patch into images: anti-aliased, differentiable with respect to the patch."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from zmask_ros.attacks.eot import (
    EotRanges,
    Transforms,
    local_scale,
    patch_corners,
    sample_transforms,
    view_homography,
)

MID_GREY = 0.5


def apply_patch(images: Tensor, patch: Tensor, transforms: Transforms) -> tuple[Tensor, Tensor]:
    """The images with the patch in them, and where it is.

    Args:
        images: [B, 3, H, W] in 0..1.
        patch: [3, h, w] in 0..1, on the same device; gradients flow to it.
        transforms: B of them; parts of a patch outside the image are cut off.

    Returns:
        images [B, 3, H, W] in 0..1, and a mask [B, 1, H, W], 1 where the patch covers at least half of a pixel.
    """
    result = images.clone()
    mask = images.new_zeros(len(images), 1, *images.shape[-2:])
    patch_size = (patch.shape[-2], patch.shape[-1])
    boxes = _boxes(patch_corners(transforms.homography, patch_size), (images.shape[-2], images.shape[-1]))
    scales = local_scale(transforms.homography)
    noise = torch.Generator().manual_seed(transforms.noise_seed)
    for index, (left, top, right, bottom) in enumerate(boxes):
        if left >= right or top >= bottom:
            continue
        where = (index, slice(None), slice(top, bottom), slice(left, right))
        plane = _plane_coordinates(transforms.homography[index], (left, top, right, bottom)).to(images)
        cover = _cover(plane, patch_size, scales[index])
        colour = _warp(_seen(patch, transforms, index, scales[index]), plane, patch_size)
        grain = torch.randn(colour.shape, generator=noise).to(images) * float(transforms.noise[index])
        result[where] = result[where] * (1 - cover) + (colour + grain).clamp(0, 1) * cover
        mask[where] = (cover >= 0.5).to(mask)[None]
    return result, mask


def paste(
    image: np.ndarray,
    patch: np.ndarray,
    centre: tuple[float, float],
    scale: float = 1.0,
    rotation_deg: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Paste a patch at a chosen place.

    Args:
        image: uint8 [H, W, 3].
        patch: uint8 [h, w, 3].
        centre: (x, y) of the patch's centre, in image pixels.
        scale: image pixels a patch pixel, > 0.
        rotation_deg: clockwise, degrees.

    Returns:
        a new image, uint8 [H, W, 3], and a mask, bool [H, W].
    """
    one = torch.ones(1, dtype=torch.float64)
    view = view_homography(one * scale, one * rotation_deg, one * 0, (patch.shape[0], patch.shape[1]))
    shift = torch.eye(3, dtype=torch.float64)
    shift[0, 2], shift[1, 2] = centre
    return _paste(image, patch, Transforms(shift @ view, one * 0, one, one * 0, one * 0))


def paste_at_random(
    image: np.ndarray, patch: np.ndarray, ranges: EotRanges, generator: torch.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Paste a patch by one draw from ``ranges``; shapes and types as in `paste`."""
    sizes = (patch.shape[0], patch.shape[1]), (image.shape[0], image.shape[1])
    return _paste(image, patch, sample_transforms(ranges, 1, *sizes, generator))


def to_tensor(image: np.ndarray) -> Tensor:
    """uint8 [H, W, 3] to float [3, H, W] in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float() / 255.0


def to_uint8(image: Tensor) -> np.ndarray:
    """Float [3, H, W] in 0..1 to uint8 [H, W, 3]."""
    pixels = (image.detach().cpu().clamp(0, 1) * 255.0).round().to(torch.uint8)
    return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())


def _paste(image: np.ndarray, patch: np.ndarray, transforms: Transforms) -> tuple[np.ndarray, np.ndarray]:
    pasted, mask = apply_patch(to_tensor(image)[None], to_tensor(patch), transforms)
    return to_uint8(pasted[0]), mask[0, 0].bool().numpy()


def _boxes(corners: Tensor, image_size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Left, top, right, bottom of the pixels that each patch may touch, cut to the image."""
    height, width = image_size
    low, high = corners.amin(1).floor() - 1, corners.amax(1).ceil() + 1
    return [
        (max(0, int(x0)), max(0, int(y0)), min(width, int(x1)), min(height, int(y1)))
        for (x0, y0), (x1, y1) in zip(low.tolist(), high.tolist(), strict=True)
    ]


def _plane_coordinates(homography: Tensor, box: tuple[int, int, int, int]) -> Tensor:
    """[h, w, 2]: patch plane coordinates of the pixel centres in ``box``."""
    left, top, right, bottom = box
    y, x = torch.meshgrid(
        torch.arange(top, bottom, dtype=torch.float64) + 0.5,
        torch.arange(left, right, dtype=torch.float64) + 0.5,
        indexing="ij",
    )
    plane = torch.stack([x, y, torch.ones_like(x)], -1) @ torch.linalg.inv(homography).T
    return plane[..., :2] / plane[..., 2:]


def _cover(plane: Tensor, patch_size: tuple[int, int], scale: Tensor) -> Tensor:
    """[h, w] in 0..1: how much of each pixel the patch covers, its edge being one pixel wide."""
    half = plane.new_tensor([patch_size[1] / 2, patch_size[0] / 2])
    inside = (half - plane.abs()) * scale.to(plane) + 0.5
    return inside.clamp(0, 1).prod(-1)


def _seen(patch: Tensor, transforms: Transforms, index: int, scale: Tensor) -> Tensor:
    """The patch [1, 3, h', w'] at the image's resolution, with its photometric changes."""
    size = [max(1, round(n * min(1.0, float(s)))) for n, s in zip(patch.shape[-2:], scale.flip(0), strict=True)]
    # Shrinking first, over each target pixel's whole area, keeps the warp that follows from aliasing.
    small = functional.interpolate(patch[None], size=size, mode="bilinear", align_corners=False, antialias=True)
    small = _blur(small, float(transforms.blur[index]) / max(1.0, float(scale.max())))
    contrast, brightness = float(transforms.contrast[index]), float(transforms.brightness[index])
    return (small - MID_GREY) * contrast + MID_GREY + brightness


def _warp(colour: Tensor, plane: Tensor, patch_size: tuple[int, int]) -> Tensor:
    grid = plane / plane.new_tensor([patch_size[1] / 2, patch_size[0] / 2])
    return functional.grid_sample(colour, grid[None], mode="bilinear", padding_mode="border", align_corners=False)[0]


def _blur(image: Tensor, sigma: float) -> Tensor:
    radius = math.ceil(2.5 * sigma)
    if sigma < 0.1:
        return image
    offsets = torch.arange(-radius, radius + 1).to(image)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, -1)
    padded = functional.pad(image, [radius] * 4, mode="replicate")
    return functional.conv2d(functional.conv2d(padded, kernel, groups=3), kernel.transpose(2, 3), groups=3)
