"""Patches at chosen places."""

from __future__ import annotations

import numpy as np
import torch

from zmask_ros.attacks.eot import Transforms, view_homography
from zmask_ros.attacks.pasting import apply_patches, to_tensor, to_uint8


def paste(
    image: np.ndarray, patch: np.ndarray, center: tuple[float, float], scale: float = 1.0, rotation_deg: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Paste a patch at a chosen place.

    Args:
        image: uint8 [H, W, 3].
        patch: uint8 [h, w, 3], or [h, w, 4] where it is no rectangle: the fourth channel says how much it hides.
        center: (x, y) of the patch's center, in image pixels.
        scale: image pixels a patch pixel, > 0.
        rotation_deg: clockwise, degrees.

    Returns:
        a new image, uint8 [H, W, 3], and a mask, bool [H, W].
    """
    one = torch.ones(1, dtype=torch.float64)
    shift = torch.eye(3, dtype=torch.float64)
    shift[0, 2], shift[1, 2] = center
    view = shift @ view_homography(one * scale, one * rotation_deg, one * 0, (patch.shape[0], patch.shape[1]))
    shape = torch.from_numpy(patch[..., 3].copy()).float() / 255.0 if patch.shape[-1] == 4 else None
    layout = (Transforms(view, one * 0, one, one * 0, one * 0),)
    pasted, mask = apply_patches(to_tensor(image)[None], to_tensor(patch[..., :3])[None], layout, shape)
    return to_uint8(pasted[0]), mask[0].amax(0).bool().numpy()
