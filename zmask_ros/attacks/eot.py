"""Expectation over transformation: how a printed patch may look to the camera.

The ranges follow the digital attacks of Nesti et al., WACV 2022 (place, scale, brightness, contrast, noise, blur).
Added are rotation, yaw and pitch, since a billboard is rarely seen straight on; gamma, since no camera is linear; and
JPEG, since most cameras on vehicles compress.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from pydantic.dataclasses import dataclass as pydantic_dataclass
from torch import Tensor

from zmask_ros.errors import AttackError
from zmask_ros.validation import Settings

Range = tuple[float, float]
VIEW_DISTANCE = 3.0
"""Distance from which a turned patch is seen, in patch widths: it sets how strongly yaw makes it a trapezium."""
TRIES = 20
"""So often a patch is drawn anew that lies on another one of the same image."""
LIMITS: dict[str, Range] = {
    "place": (0.0, 1.0),
    "scale": (1e-3, math.inf),
    "yaw_deg": (-75.0, 75.0),
    "contrast": (0.0, math.inf),
    "noise": (0.0, math.inf),
    "blur": (0.0, 5.0),
    "pitch_deg": (-75.0, 75.0),
    "gamma": (0.2, 5.0),
    "jpeg": (1.0, 100.0),
}
"""What the ends of each range must lie within."""


@pydantic_dataclass(frozen=True)
class EotRanges(Settings):
    """Ranges that every transformation is drawn from, uniformly and independently.

    Attributes:
        place: position over all places where the patch is fully inside the image, 0 = left/top, 1 = right/bottom.
        scale: image pixels a patch pixel, > 0. A patch that would not fit is made as large as fits.
        rotation_deg: turn in the image plane, degrees, clockwise.
        yaw_deg: turn about the patch's vertical axis, degrees, within -75..75.
        brightness: added to the patch's colors, in units of the full range.
        contrast: factor on the patch's deviation from mid-gray, >= 0.
        noise: standard deviation of independent pixel noise, in units of the full range, >= 0.
        blur: standard deviation of a Gaussian blur, in image pixels, 0..5.
        pitch_deg: turn about the patch's horizontal axis, degrees, within -75..75.
        gamma: exponent on the patch's colors, 0.2..5; above 1 is darker.
        jpeg: quality of the whole image's compression, 1..100; 100 leaves it as it is.
    """

    owner = "The set of transformations"
    refusal = AttackError

    place: Range = (0.0, 1.0)
    scale: Range = (0.25, 1.0)
    rotation_deg: Range = (-5.0, 5.0)
    yaw_deg: Range = (-25.0, 25.0)
    brightness: Range = (-0.1, 0.1)
    contrast: Range = (0.8, 1.1)
    noise: Range = (0.0, 0.03)
    blur: Range = (0.0, 1.0)
    pitch_deg: Range = (0.0, 0.0)
    gamma: Range = (1.0, 1.0)
    jpeg: Range = (100.0, 100.0)

    def __post_init__(self) -> None:
        for name, (low, high) in vars(self).items():
            least, most = LIMITS.get(name, (-math.inf, math.inf))
            if not least <= low <= high <= most:
                raise ValueError(f"The range {name} = {low}..{high} must ascend and lie within {least}..{most}.")


@dataclass(frozen=True)
class Transforms:
    """One transformation for each of B images, on the CPU.

    Attributes:
        homography: [B, 3, 3], from the patch plane (patch pixels, origin in its center, y down) to image pixels
            (the center of the first pixel is at (0.5, 0.5)).
        brightness, contrast, noise, blur: [B], as in `EotRanges`.
        noise_seed: of the pixel noise.
        gamma, jpeg: [B], as in `EotRanges`; None where all images have the range's neutral value.
        visible: [B, H, W] in 0..1, how much of each image's pixel a patch may cover; None where nothing is before it.
    """

    homography: Tensor
    brightness: Tensor
    contrast: Tensor
    noise: Tensor
    blur: Tensor
    noise_seed: int = 0
    gamma: Tensor | None = None
    jpeg: Tensor | None = None
    visible: Tensor | None = None


def sample_transforms(
    ranges: EotRanges, count: int, patch_size: tuple[int, int], image_size: tuple[int, int], generator: torch.Generator
) -> Transforms:
    """Draw ``count`` transformations that keep the patch fully inside the image.

    Args:
        ranges: to draw from.
        count: B, the number of images.
        patch_size: (height, width) in patch pixels.
        image_size: (height, width) in image pixels.
        generator: source of all randomness.
    """

    def draw(limits: Range) -> Tensor:
        low, high = limits
        return low + (high - low) * torch.rand(count, generator=generator, dtype=torch.float64)

    def draw_unless(neutral: float, limits: Range) -> Tensor | None:
        # These came later and draw only where they are used: older recipes must give the same patches as ever.
        return None if limits == (neutral, neutral) else draw(limits)

    place = torch.stack([draw(ranges.place), draw(ranges.place)], 1)
    scale, rotation, yaw = draw(ranges.scale), draw(ranges.rotation_deg), draw(ranges.yaw_deg)
    light = {name: draw(getattr(ranges, name)) for name in ("brightness", "contrast", "noise", "blur")}
    noise_seed = int(torch.randint(2**31, (1,), generator=generator))
    pitch = draw_unless(0.0, ranges.pitch_deg)
    view = view_homography(scale, rotation, yaw, patch_size, pitch)
    return Transforms(
        homography=_place_inside(view, place, patch_size, image_size),
        **light,
        noise_seed=noise_seed,
        gamma=draw_unless(1.0, ranges.gamma),
        jpeg=draw_unless(100.0, ranges.jpeg),
    )


def sample_layout(
    ranges: EotRanges,
    patches: int,
    count: int,
    patch_size: tuple[int, int],
    image_size: tuple[int, int],
    generator: torch.Generator,
) -> tuple[Transforms, ...]:
    """Draw transformations of ``patches`` patches for each of ``count`` images, without overlap where there is room.

    For the arguments see `sample_transforms`; the result has one `Transforms` for each patch.
    """
    layout: list[Transforms] = []
    for _ in range(patches):
        drawn = sample_transforms(ranges, count, patch_size, image_size, generator)
        for _ in range(TRIES if layout else 0):
            free = ~_overlaps(drawn, layout, patch_size)
            if bool(free.all()):
                break
            elsewhere = sample_transforms(ranges, count, patch_size, image_size, generator).homography
            drawn = replace(drawn, homography=torch.where(free[:, None, None], drawn.homography, elsewhere))
        layout.append(drawn)
    return tuple(layout)


def view_homography(
    scale: Tensor, rotation_deg: Tensor, yaw_deg: Tensor, patch_size: tuple[int, int], pitch_deg: Tensor | None = None
) -> Tensor:
    """[B, 3, 3] from the patch plane to image pixels around the patch's center, for parameters [B].

    The patch is turned about its vertical axis first, then about the image's horizontal one, then in the image.
    """
    yaw, turn = torch.deg2rad(yaw_deg), torch.deg2rad(rotation_deg)
    pitch = torch.zeros_like(yaw) if pitch_deg is None else torch.deg2rad(pitch_deg)
    distance = VIEW_DISTANCE * patch_size[1]
    view = torch.zeros(len(scale), 3, 3, dtype=torch.float64)
    view[:, 0, 0] = yaw.cos()
    view[:, 1, 0] = -yaw.sin() * pitch.sin()
    view[:, 1, 1] = pitch.cos()
    view[:, 2, 0] = yaw.sin() / distance * pitch.cos()
    view[:, 2, 1] = pitch.sin() / distance
    view[:, 2, 2] = 1.0
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


def local_scale(homography: Tensor, point: Tensor) -> Tensor:
    """[2]: image pixels a patch pixel along the patch's width and height, at a point [2] of its plane."""
    x, y, depth = homography[:, :2] @ point + homography[:, 2]
    seen = torch.stack([x, y]) / depth
    jacobian = (homography[:2, :2] - seen[:, None] * homography[2:, :2]) / depth
    return jacobian.norm(dim=0)


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


def _overlaps(drawn: Transforms, layout: list[Transforms], patch_size: tuple[int, int]) -> Tensor:
    """Bool [B]: whether the upright box around the patch meets that of any other one."""
    low, high = _boxes(drawn, patch_size)
    others = (_boxes(other, patch_size) for other in layout)
    return torch.stack([((low < other_high) & (other_low < high)).all(1) for other_low, other_high in others]).any(0)


def _boxes(transforms: Transforms, patch_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Top left and bottom right (x, y) of the upright boxes around the patch, [B, 2] each, in image pixels."""
    corners = patch_corners(transforms.homography, patch_size)
    return corners.amin(1), corners.amax(1)
