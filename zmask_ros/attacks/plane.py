"""The plane that a patch lies in: which part of it is before the camera, and where that is seen.

Points of the plane are in patch pixels, origin in the patch's centre; a homography [3, 3] takes (x, y, 1) to image
pixels, and its third coordinate is proportional to the depth, negative behind the camera.
"""

from __future__ import annotations

import torch
from torch import Tensor

NEAR = 0.1
"""Third coordinate below which the plane counts as behind the camera: metres for a panel with a place in the world,
and about a tenth of the distance of the patch's centre for a patch that was placed by a draw."""


def warped(homography: Tensor, points: Tensor) -> Tensor:
    """[n, 2]: image coordinates (x, y) of points [n, 2] of the plane that are before the camera."""
    seen = _homogeneous(homography, points)
    return seen[:, :2] / seen[:, 2:]


def visible_part(homography: Tensor, patch_size: tuple[int, int]) -> Tensor:
    """[n, 2]: corners of the part of the patch (height, width) that is before the camera, clockwise.

    n is 4 where all of it is, 3 or 5 where a corner or three are behind, and 0 where it is wholly behind.
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


def _homogeneous(homography: Tensor, points: Tensor) -> Tensor:
    return torch.cat([points, torch.ones_like(points[:, :1])], 1) @ homography.T
