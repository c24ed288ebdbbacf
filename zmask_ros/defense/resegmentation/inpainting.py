"""What stands in for masked pixels: colours that flow in from around them.

Z-Mask (AAAI 2023) paints masked pixels in the dataset's mean. That is a grey box which no street has, and a network
without a defence pays for it beside the box as well. A pull-push pyramid (Gortler et al., The Lumigraph, 1996) costs
hardly more and leaves nothing to see.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zmask_ros.defense.evidence.grid import LANES, bounding_box, resample

SMALLEST_WEIGHT = 1e-6


def inpaint(images: Tensor, mask: Tensor) -> Tensor:
    """``images`` with the masked pixels interpolated from the others; differentiable in both.

    Args:
        images: [B, C, h, w].
        mask: [B, 1, h, w] in 0..1; 1 hides a pixel.

    Returns:
        [B, C, h, w]: unmasked pixels are unchanged; where all of an image is masked it becomes 0, the dataset's mean
        of normalised images.
    """
    # Who descends through the mask asks what hiding any other pixel would do.
    rows, columns = (slice(0, n) for n in mask.shape[-2:]) if mask.requires_grad else bounding_box(mask)
    filled = images.clone()
    filled[..., rows, columns] = inpaint_window(images, mask, rows, columns)
    return filled


def inpaint_window(images: Tensor, mask: Tensor, rows: slice, columns: slice) -> Tensor:
    """These rows and columns of `fill_masked`."""
    shown = 1 - mask
    # Few channels are resampled several times as fast plane by plane, many as they come, channels last.
    planes = images.contiguous() if images.shape[1] < LANES else images
    part = (..., rows, columns)
    return images[part].lerp(_widened(planes * shown, shown, rows, columns), mask[part])


def _interpolated(weighted: Tensor, weight: Tensor, rows: slice, columns: slice) -> Tensor:
    """Colours without gaps, in these rows and columns.

    Args:
        weighted: [B, C, h, w], colours times their weight.
        weight: [B, 1, h, w], in 0..1.
    """
    part = (..., rows, columns)
    if weight.shape[-2:] == (1, 1):
        return weighted[part] / weight[part].clamp_min(SMALLEST_WEIGHT)
    return torch.addcmul(weighted[part], 1 - weight[part], _widened(weighted, weight, rows, columns))


def _widened(weighted: Tensor, weight: Tensor, rows: slice, columns: slice) -> Tensor:
    """The colours of half the size, brought back to that of ``weighted``, in these rows and columns."""
    height, width = weight.shape[-2:]
    above, beside = _cells(rows, height), _cells(columns, width)
    colours = _interpolated(*_halves(weighted, weight), above.cells, beside.cells)
    return resample(colours, (above.size, beside.size))[..., above.part, beside.part]


@dataclass(frozen=True)
class Cells:
    """What of half a side's length a part of the side comes from.

    Attributes:
        cells: of the half.
        size: that they have when they are brought back.
        part: where in that the part lies.
    """

    cells: slice
    size: int
    part: slice


def _cells(part: slice, length: int) -> Cells:
    """Those that ``part`` of a side of this length comes from, with a neighbour at each end."""
    if length % 2:
        # Pixels and cells lie differently to each other everywhere.
        return Cells(slice(0, length // 2 + 1), length, part)
    first, last = max(0, part.start // 2 - 1), min(length // 2, (part.stop + 1) // 2 + 1)
    return Cells(slice(first, last), 2 * (last - first), slice(part.start - 2 * first, part.stop - 2 * first))


def _halves(weighted: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Both at half the size."""
    if weighted.shape[1] >= LANES:
        return _halved(weighted), _halved(weight)
    # Four planes together are faster than three and one.
    planes = _halved(torch.cat([weighted, weight], 1))
    return planes[:, :-1], planes[:, -1:]


def _halved(planes: Tensor) -> Tensor:
    """At half the size, rounded up: means of two by two pixels, but of odd sizes, whose means overlap a little."""
    height, width = planes.shape[-2:]
    return resample(planes, (-(-height // 2), -(-width // 2)))
