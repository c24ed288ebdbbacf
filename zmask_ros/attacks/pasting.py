"""Put patches into images: anti-aliased, and differentiable with respect to the patches."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from zmask_ros.attacks.eot import EotRanges, Transforms, local_scale, sample_layout
from zmask_ros.attacks.jpeg import compress

NEAR = 0.1
"""Third coordinate below which the plane counts as behind the camera: metres for a panel with a place in the world,
and about a tenth of the distance of the patch's center for a patch that was placed by a draw."""
MID_GRAY = 0.5
"""The color that a change of contrast leaves alone."""
DARKEST = 1e-3
"""Colors are raised to this before a power: it has no slope at 0 for exponents above 1, and an endless one below."""
FAR_AWAY = 1e6
"""Patch plane coordinate of what is behind the camera, patch pixels: no patch is so large."""


def apply_patches(
    images: Tensor, patches: Tensor, layout: Sequence[Transforms], shape: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Put patches into images, one after the other.

    Args:
        images: [B, 3, H, W] in 0..1.
        patches: [N, 3, h, w] in 0..1, on the same device; gradients flow to them.
        layout: N transformations of B images; parts of a patch outside the image are cut off.
        shape: [h, w] in 0..1, how much of the image each patch pixel hides; None: a whole rectangle.

    Returns:
        images [B, 3, H, W] in 0..1, and masks [B, N, H, W], 1 where a patch covers at least half of a pixel.
    """
    result = images.clone()
    mask = images.new_zeros(len(images), len(patches), *images.shape[-2:])
    alpha = None if shape is None else shape.to(patches)
    for number, (patch, transforms) in enumerate(zip(patches, layout, strict=True)):
        _apply(result, mask[:, number], patch, transforms, alpha)
    quality = layout[0].jpeg if layout else None
    return (result if quality is None else compress(result, quality)), mask


def paste_at_random(
    image: np.ndarray, patches: np.ndarray, ranges: EotRanges, generator: torch.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Paste one patch, or several [N, h, w, 3 or 4] beside each other, by one draw from ``ranges``.

    Args:
        image: uint8 [H, W, 3].
        patches: uint8; where they are no rectangles, the fourth channel says how much they hide, equally for all.
        ranges: how they may be seen.
        generator: source of all randomness.

    Returns:
        a new image, uint8 [H, W, 3], and the mask of all patches together, bool [H, W].
    """
    several = patches if patches.ndim == 4 else patches[None]
    layout = sample_layout(ranges, len(several), 1, several.shape[1:3], image.shape[:2], generator)
    colors = torch.stack([to_tensor(patch[..., :3]) for patch in several])
    shape = torch.from_numpy(several[0, ..., 3].copy()).float() / 255.0 if several.shape[-1] == 4 else None
    pasted, mask = apply_patches(to_tensor(image)[None], colors, layout, shape)
    return to_uint8(pasted[0]), mask[0].amax(0).bool().numpy()


def to_tensor(image: np.ndarray) -> Tensor:
    """uint8 [H, W, 3] to float [3, H, W] in 0..1."""
    # Images of bags are read-only, of which torch warns.
    return torch.from_numpy(np.require(image, requirements=["C", "W"])).permute(2, 0, 1).float() / 255.0


def to_uint8(image: Tensor) -> np.ndarray:
    """Float [..., 3, H, W] in 0..1 to uint8 [..., H, W, 3]."""
    pixels = (image.detach().cpu().clamp(0, 1) * 255.0).round().to(torch.uint8)
    return np.ascontiguousarray(pixels.movedim(-3, -1).numpy())


def project(homography: Tensor, points: Tensor) -> Tensor:
    """[n, 2]: image coordinates (x, y) of points [n, 2] of the patch plane that are before the camera."""
    seen = _homogeneous(homography, points)
    return seen[:, :2] / seen[:, 2:]


def visible_part(homography: Tensor, patch_size: tuple[int, int]) -> Tensor:
    """Clip a patch to what is before the camera.

    Args:
        homography: [3, 3], patch plane to image pixels.
        patch_size: (height, width) in patch pixels.

    Returns:
        [n, 2], the corners of the part that is left, in the patch plane, clockwise; n is 4 where all of it is before
        the camera, 3 or 5 where three corners or one are behind, and 0 where it is wholly behind.
    """
    x, y = patch_size[1] / 2, patch_size[0] / 2
    corners = homography.new_tensor([[-x, -y], [x, -y], [x, y], [-x, y]])
    depths = _homogeneous(homography, corners)[:, 2].tolist()
    if min(depths) >= NEAR:
        return corners
    kept = []
    for index, depth in enumerate(depths):
        following = (index + 1) % len(depths)
        if depth >= NEAR:
            kept.append(corners[index])
        if (depth >= NEAR) != (depths[following] >= NEAR):
            # Depth is linear in the plane, so the edge meets the near plane at this share of its length.
            share = (NEAR - depth) / (depths[following] - depth)
            kept.append(corners[index] + share * (corners[following] - corners[index]))
    return torch.stack(kept) if kept else corners[:0]


def _apply(result: Tensor, mask: Tensor, patch: Tensor, transforms: Transforms, alpha: Tensor | None) -> None:
    """Put one patch into ``result`` [B, 3, H, W] and ``mask`` [B, H, W], in place."""
    patch_size = (patch.shape[-2], patch.shape[-1])
    noise = torch.Generator().manual_seed(transforms.noise_seed)
    for index, homography in enumerate(transforms.homography):
        part = visible_part(homography, patch_size)
        box = _box(project(homography, part), (result.shape[-2], result.shape[-1]))
        if box is None:
            continue
        left, top, right, bottom = box
        where = (index, slice(None), slice(top, bottom), slice(left, right))
        plane = _plane_coordinates(homography, box).to(result)
        scale = local_scale(homography, part.mean(0))
        cover = _cover(plane, patch_size, scale)
        if transforms.visible is not None:
            cover = cover * transforms.visible[index, top:bottom, left:right].to(cover)
        if alpha is not None:
            cover = cover * _warp(_shrunk(alpha[None, None], scale), plane, patch_size)[0]
        color = _warp(_photographed(patch, transforms, index, scale), plane, patch_size)
        grain = torch.randn(color.shape, generator=noise).to(result) * float(transforms.noise[index])
        result[where] = result[where] * (1 - cover) + (color + grain).clamp(0, 1) * cover
        mask[index, top:bottom, left:right] = (cover >= 0.5).to(mask)


def _box(outline: Tensor, image_size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom of the pixels that an outline [n, 2] may touch, cut to the image; None: not a pixel."""
    if not len(outline):
        return None
    height, width = image_size
    (x0, y0), (x1, y1) = (outline.amin(0).floor() - 1).tolist(), (outline.amax(0).ceil() + 1).tolist()
    left, top, right, bottom = max(0, int(x0)), max(0, int(y0)), min(width, int(x1)), min(height, int(y1))
    return (left, top, right, bottom) if left < right and top < bottom else None


def _plane_coordinates(homography: Tensor, box: tuple[int, int, int, int]) -> Tensor:
    """[h, w, 2]: patch plane coordinates of the pixel centers in ``box``; those behind the camera are far away."""
    left, top, right, bottom = box
    y, x = torch.meshgrid(
        torch.arange(top, bottom, dtype=torch.float64) + 0.5,
        torch.arange(left, right, dtype=torch.float64) + 0.5,
        indexing="ij",
    )
    plane = torch.stack([x, y, torch.ones_like(x)], -1) @ torch.linalg.inv(homography).T
    return torch.where(plane[..., 2:] > 0, plane[..., :2] / plane[..., 2:], FAR_AWAY)


def _cover(plane: Tensor, patch_size: tuple[int, int], scale: Tensor) -> Tensor:
    """[h, w] in 0..1: how much of each pixel the patch covers, its edge being one pixel wide."""
    half = plane.new_tensor([patch_size[1] / 2, patch_size[0] / 2])
    inside = (half - plane.abs()) * scale.to(plane) + 0.5
    return inside.clamp(0, 1).prod(-1)


def _photographed(patch: Tensor, transforms: Transforms, index: int, scale: Tensor) -> Tensor:
    """The patch [1, 3, h', w'] at the image's resolution, with its photometric changes."""
    small = _blur(_shrunk(patch[None], scale), float(transforms.blur[index]) / max(1.0, float(scale.max())))
    contrast, brightness = float(transforms.contrast[index]), float(transforms.brightness[index])
    seen = (small - MID_GRAY) * contrast + MID_GRAY + brightness
    return seen if transforms.gamma is None else seen.clamp(DARKEST, 1) ** float(transforms.gamma[index])


def _shrunk(pixels: Tensor, scale: Tensor) -> Tensor:
    """[1, C, h, w] shrunk to the image's resolution, never enlarged."""
    size = [max(1, round(n * min(1.0, float(s)))) for n, s in zip(pixels.shape[-2:], scale.flip(0), strict=True)]
    # Shrinking first, over each target pixel's whole area, keeps the warp that follows from aliasing.
    return functional.interpolate(pixels, size=size, mode="bilinear", align_corners=False, antialias=True)


def _warp(color: Tensor, plane: Tensor, patch_size: tuple[int, int]) -> Tensor:
    """[C, h, w]: pixels [1, C, h', w'] of the patch at the coordinates ``plane`` [h, w, 2] of its plane."""
    grid = plane / plane.new_tensor([patch_size[1] / 2, patch_size[0] / 2])
    return functional.grid_sample(color, grid[None], mode="bilinear", padding_mode="border", align_corners=False)[0]


def _blur(image: Tensor, sigma: float) -> Tensor:
    """[1, 3, h, w] blurred by a Gaussian of deviation ``sigma``, pixels; below a tenth it stays as it is."""
    radius = math.ceil(2.5 * sigma)
    if sigma < 0.1:
        return image
    offsets = torch.arange(-radius, radius + 1).to(image)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, -1)
    padded = functional.pad(image, [radius] * 4, mode="replicate")
    return functional.conv2d(functional.conv2d(padded, kernel, groups=3), kernel.transpose(2, 3), groups=3)


def _homogeneous(homography: Tensor, points: Tensor) -> Tensor:
    """[n, 3]: points [n, 2] of the patch plane as homogeneous image coordinates."""
    return torch.cat([points, torch.ones_like(points[:, :1])], 1) @ homography.T
