"""Expectation over transformation: how a printed patch may look to the camera.

The ranges follow the digital attacks of Nesti et al., WACV 2022 (place, scale, brightness, contrast, noise, blur);
rotation and yaw are added, since a billboard is rarely seen straight on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from zmask_ros.attacks.errors import AttackError

Range = tuple[float, float]
VIEW_DISTANCE = 3.0
"""Distance from which a turned patch is seen, in patch widths: it sets how strongly yaw makes it a trapezium."""


@dataclass(frozen=True)
class EotRanges:
    """Ranges that every transformation is drawn from, uniformly and independently.

    Attributes:
        place: position over all places where the patch is fully inside the image, 0 = left/top, 1 = right/bottom.
        scale: image pixels a patch pixel, > 0. A patch that would not fit is made as large as fits.
        rotation_deg: turn in the image plane, degrees, clockwise.
        yaw_deg: turn about the patch's vertical axis, degrees, within -75..75.
        brightness: added to the patch's colours, in units of the full range.
        contrast: factor on the patch's deviation from mid-grey, >= 0.
        noise: standard deviation of independent pixel noise, in units of the full range, >= 0.
        blur: standard deviation of a Gaussian blur, in image pixels, 0..5.
    """

    place: Range = (0.0, 1.0)
    scale: Range = (0.25, 1.0)
    rotation_deg: Range = (-5.0, 5.0)
    yaw_deg: Range = (-25.0, 25.0)
    brightness: Range = (-0.1, 0.1)
    contrast: Range = (0.8, 1.1)
    noise: Range = (0.0, 0.03)
    blur: Range = (0.0, 1.0)

    def __post_init__(self) -> None:
        limits = {"place": (0.0, 1.0), "scale": (1e-3, math.inf), "yaw_deg": (-75.0, 75.0), "contrast": (0.0, math.inf),
                  "noise": (0.0, math.inf), "blur": (0.0, 5.0)}
        for name, (low, high) in vars(self).items():
            least, most = limits.get(name, (-math.inf, math.inf))
            if not least <= low <= high <= most:
                raise AttackError(f"The range {name} = {low}..{high} must ascend and lie within {least}..{most}.")


@dataclass(frozen=True)
class Transforms:
    """One transformation for each of B images, on the CPU.

    Attributes:
        homography: [B, 3, 3], from the patch plane (patch pixels, origin in its centre, y down) to image pixels
            (the centre of the first pixel is at (0.5, 0.5)).
        brightness, contrast, noise, blur: [B], as in `EotRanges`.
        noise_seed: of the pixel noise.
    """

    homography: Tensor
    brightness: Tensor
    contrast: Tensor
    noise: Tensor
    blur: Tensor
    noise_seed: int = 0

    def __len__(self) -> int:
        return len(self.homography)


def sample_transforms(
    ranges: EotRanges,
    count: int,
    patch_size: tuple[int, int],
    image_size: tuple[int, int],
    generator: torch.Generator,
) -> Transforms:
    """Draw ``count`` transformations that keep the patch fully inside the image; sizes are (height, width)."""

    def draw(limits: Range) -> Tensor:
        low, high = limits
        return low + (high - low) * torch.rand(count, generator=generator, dtype=torch.float64)

    place = torch.stack([draw(ranges.place), draw(ranges.place)], 1)
    view = view_homography(draw(ranges.scale), draw(ranges.rotation_deg), draw(ranges.yaw_deg), patch_size)
    return Transforms(
        homography=_place_inside(view, place, patch_size, image_size),
        brightness=draw(ranges.brightness),
        contrast=draw(ranges.contrast),
        noise=draw(ranges.noise),
        blur=draw(ranges.blur),
        noise_seed=int(torch.randint(2**31, (1,), generator=generator)),
    )


def view_homography(scale: Tensor, rotation_deg: Tensor, yaw_deg: Tensor, patch_size: tuple[int, int]) -> Tensor:
    """[B, 3, 3] from the patch plane to image pixels around the patch's centre, for [B] parameters."""
    yaw, turn = torch.deg2rad(yaw_deg), torch.deg2rad(rotation_deg)
    view = torch.zeros(len(scale), 3, 3, dtype=torch.float64)
    view[:, 0, 0] = yaw.cos()
    view[:, 1, 1] = view[:, 2, 2] = 1.0
    view[:, 2, 0] = yaw.sin() / (VIEW_DISTANCE * patch_size[1])
    similarity = torch.zeros_like(view)
    similarity[:, 0, 0] = similarity[:, 1, 1] = scale * turn.cos()
    similarity[:, 0, 1] = -scale * turn.sin()
    similarity[:, 1, 0] = scale * turn.sin()
    similarity[:, 2, 2] = 1.0
    return similarity @ view


def patch_corners(homography: Tensor, patch_size: tuple[int, int]) -> Tensor:
    """[B, 4, 2]: image coordinates (x, y) of the patch's corners, clockwise from its top left."""
    x, y = patch_size[1] / 2, patch_size[0] / 2
    corners = homography.new_tensor([[-x, -y, 1], [x, -y, 1], [x, y, 1], [-x, y, 1]])
    projected = corners @ homography.transpose(1, 2)
    return projected[..., :2] / projected[..., 2:]


def local_scale(homography: Tensor) -> Tensor:
    """[B, 2]: image pixels a patch pixel along the patch's width and height, at its centre."""
    centre = homography[:, :2, 2] / homography[:, 2:, 2]
    jacobian = (homography[:, :2, :2] - centre[:, :, None] * homography[:, 2:, :2]) / homography[:, 2:, 2:]
    return jacobian.norm(dim=1)


def _place_inside(view: Tensor, place: Tensor, patch_size: tuple[int, int], image_size: tuple[int, int]) -> Tensor:
    """Shift ``view`` [B, 3, 3] to ``place`` [B, 2] (x, y in 0..1), shrunk where it is larger than the image."""
    image = view.new_tensor([image_size[1], image_size[0]])
    corners = patch_corners(view, patch_size)
    extent = corners.amax(1) - corners.amin(1)
    fit = (image / extent).amin(1).clamp(max=1.0)
    low, extent = corners.amin(1) * fit[:, None], extent * fit[:, None]
    shift = torch.eye(3, dtype=view.dtype).repeat(len(view), 1, 1)
    shift[:, :2, 2] = place * (image - extent) - low
    shift[:, 0, 0] = shift[:, 1, 1] = fit
    return shift @ view
