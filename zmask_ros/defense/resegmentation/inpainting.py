"""Inpainting: masked pixels get colors that are interpolated from around them.

Z-Mask (AAAI 2023) paints masked pixels in the dataset's mean. That is a gray box which no street has, and a network
without a defense pays for it around the box as well. A pull-push pyramid (Gortler et al., The Lumigraph, 1996) costs
hardly more and leaves nothing to see: images are halved until no pixel is masked, and gaps are filled on the way back.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zmask_ros.defense.evidence.grid import LANES, bounding_box, resample

SMALLEST_WEIGHT = 1e-6
"""Weight, in 0..1, that colors are at least divided by."""


def inpaint(images: Tensor, mask: Tensor) -> Tensor:
    """Images with their masked pixels interpolated from the others; differentiable in both.

    Args:
        images: [B, C, h, w].
        mask: [B, 1, h, w] in 0..1; 1 hides a pixel.

    Returns:
        [B, C, h, w]. Pixels that are not masked are unchanged; an image that is masked completely becomes 0, the
        dataset's mean of normalized images.
    """
    # An attacker who descends through the mask asks what hiding any other pixel would do.
    rows, columns = (slice(0, n) for n in mask.shape[-2:]) if mask.requires_grad else bounding_box(mask)
    painted = images.clone()
    painted[..., rows, columns] = inpaint_window(images, mask, rows, columns)
    return painted


def inpaint_window(images: Tensor, mask: Tensor, rows: slice, columns: slice) -> Tensor:
    """What `inpaint` gives in these rows and columns, and nothing else computed."""
    shown = 1 - mask
    # Few channels are resampled several times as fast plane by plane, many as they come, channels last.
    planes = images.contiguous() if images.shape[1] < LANES else images
    window = (..., rows, columns)
    return images[window].lerp(_from_half_size(planes * shown, shown, rows, columns), mask[window])


def _interpolate(weighted: Tensor, weight: Tensor, rows: slice, columns: slice) -> Tensor:
    """Colors without gaps in these rows and columns.

    Args:
        weighted: colors times their weight, [B, C, h, w].
        weight: [B, 1, h, w] in 0..1; 0 in a gap.
        rows: of the result.
        columns: of the result.
    """
    window = (..., rows, columns)
    if weight.shape[-2:] == (1, 1):
        return weighted[window] / weight[window].clamp_min(SMALLEST_WEIGHT)
    return torch.addcmul(weighted[window], 1 - weight[window], _from_half_size(weighted, weight, rows, columns))


def _from_half_size(weighted: Tensor, weight: Tensor, rows: slice, columns: slice) -> Tensor:
    """Colors without gaps at half the size, brought back to full size, in these rows and columns."""
    height, width = weight.shape[-2:]
    vertical, horizontal = _HalfSide.of(rows, height), _HalfSide.of(columns, width)
    colors = _interpolate(*_halve_both(weighted, weight), vertical.cells, horizontal.cells)
    return resample(colors, (vertical.size, horizontal.size))[..., vertical.part, horizontal.part]


@dataclass(frozen=True)
class _HalfSide:
    """What a part of a side comes from at half the side's length.

    Attributes:
        cells: of the half that are needed.
        size: number of pixels that they become at full length.
        part: which of these pixels are the wanted part.
    """

    cells: slice
    size: int
    part: slice

    @staticmethod
    def of(part: slice, length: int) -> _HalfSide:
        """What ``part`` of a side of this length comes from, with a neighbor at each end."""
        if length % 2:
            # Pixels and cells of an odd side are shifted to each other, everywhere differently.
            return _HalfSide(slice(0, length // 2 + 1), length, part)
        first, last = max(0, part.start // 2 - 1), min(length // 2, (part.stop + 1) // 2 + 1)
        return _HalfSide(slice(first, last), 2 * (last - first), slice(part.start - 2 * first, part.stop - 2 * first))


def _halve_both(weighted: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    if weighted.shape[1] >= LANES:
        return _halve(weighted), _halve(weight)
    # Four planes together are faster than three and one.
    planes = _halve(torch.cat([weighted, weight], 1))
    return planes[:, :-1], planes[:, -1:]


def _halve(planes: Tensor) -> Tensor:
    """At half the size, rounded up: means of two by two pixels, which overlap a little where a size is odd."""
    height, width = planes.shape[-2:]
    return resample(planes, (-(-height // 2), -(-width // 2)))
