"""A patch on a panel that a recorded drive passes, or follows: to see on one's own footage what a defense does.

The panel is upright, faces the camera, and is seen through the camera's own intrinsics. Nothing is known of what stands
before it, so nothing covers it; the drive's own motion is not known either, so it comes closer at a constant speed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from zmask_ros.attacks.eot import Transforms
from zmask_ros.attacks.pasting import apply_patches, to_tensor, to_uint8
from zmask_ros.attacks.projection import PanelView, PinholeCamera

CONTRAST, NOISE, BLUR = 0.9, 0.01, 0.4
"""Of a printed picture as a camera sees it: share, share of white, pixels."""
NEAREST_M = 2.5
"""Nearer panels are out of sight."""


@dataclass(frozen=True)
class Carrier:
    """What carries a panel.

    Attributes:
        width_m: of the panel, meters.
        right_m, below_m: where its center is seen from the camera, meters to the right and downwards.
        ahead_m: meters from the camera to the panel by the seconds of the drive; None: it is not there.
    """

    width_m: float
    right_m: float
    below_m: float
    ahead_m: Callable[[float], float | None]


def _passed(seconds: float) -> float | None:
    """A billboard every seven seconds, from 50 meters away on, at 9 meters a second."""
    ahead = 50.0 - 9.0 * (seconds % 7.0)
    return ahead if ahead >= NEAREST_M else None


def _followed(seconds: float) -> float | None:
    """A vehicle ahead, for 14 of every 20 seconds, in 7 to 13 meters."""
    return 10.0 + 3.0 * math.sin(0.7 * seconds) if 3.0 <= seconds % 20.0 < 17.0 else None


CARRIERS = {
    "billboard": Carrier(4.0, 4.5, -1.5, _passed),
    "truck": Carrier(2.5, 0.0, 0.0, _followed),
}
"""By their names: a billboard on the right that is passed again and again, and the rear of a truck ahead."""


def default_camera(size: tuple[int, int]) -> PinholeCamera:
    """A camera of images (height, width) whose calibration nobody knows: 53 degrees wide, looking along its middle."""
    height, width = size
    return PinholeCamera(size, (float(width), float(width)), (width / 2, height / 2))


def patched_image(
    image: np.ndarray, patch: np.ndarray, camera: PinholeCamera, carrier: Carrier, seconds: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """A frame of a drive with a patch on a panel.

    Args:
        image: uint8 [H, W, 3].
        patch: uint8 [h, w, 3 or 4]; the panel has its shape, and a fourth channel says how much it hides.
        camera: of images of any size, which this one is a smaller or larger copy of.
        carrier: of the panel.
        seconds: of the drive.
        seed: of the noise.

    Returns:
        the image, uint8 [H, W, 3], a new one where the patch is seen, and where that is, bool [H, W].
    """
    ahead = carrier.ahead_m(seconds)
    size, patch_size = (image.shape[0], image.shape[1]), (patch.shape[0], patch.shape[1])
    if ahead is None:
        return image, np.zeros(size, bool)
    x, y = carrier.width_m / 2, carrier.width_m / 2 * patch_size[0] / patch_size[1]
    corners = np.array([(-x, -y, 0.0), (x, -y, 0.0), (x, y, 0.0), (-x, y, 0.0)])
    place = np.array([carrier.right_m, carrier.below_m, ahead])
    view = PanelView(camera, np.eye(4), corners + place)
    contrast, brightness, noise, blur = (torch.tensor([value]) for value in (CONTRAST, 0.0, NOISE, BLUR))
    seen = Transforms(view.homography(patch_size, size)[None], brightness, contrast, noise, blur, seed)
    shape = torch.from_numpy(patch[..., 3] / np.float32(255)) if patch.shape[-1] == 4 else None
    pasted, mask = apply_patches(to_tensor(image)[None], to_tensor(patch[..., :3])[None], [seen], shape)
    return to_uint8(pasted[0]), mask[0, 0].bool().numpy()
