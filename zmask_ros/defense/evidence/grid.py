"""The working grid: resampling to it, and filters over centered windows on it."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]
"""Height and width."""
LANES = 8
"""Number of float32 values in a CPU's vector register. Channels-last maps are processed by the channels of a pixel, and
channels that do not fill a register go one by one: 75 of them are pooled half as fast as 80."""


def working_grid(input_size: Size, fraction: int) -> Size:
    """Height and width of the working grid G: the input size over ``fraction``, rounded up."""
    return -(-input_size[0] // fraction), -(-input_size[1] // fraction)


def layer_grid(activation_size: Size, grid: Size) -> Size:
    """The size at which a layer is analyzed: G, or along each side the layer's own size where that is smaller."""
    return min(activation_size[0], grid[0]), min(activation_size[1], grid[1])


def layer_kernel(kernel: tuple[float, float], grid: Size, own: Size) -> Size:
    """A kernel on the grid G, brought to a layer's own grid: the same share of the image; odd, it has a center."""
    return nearest_odd(kernel[0] * own[0] / grid[0]), nearest_odd(kernel[1] * own[1] / grid[1])


def nearest_odd(value: float) -> int:
    """The odd number nearest to ``value``, at least 1: a window of that length has a center."""
    return max(1, 2 * round((value - 1) / 2) + 1)


def area_resample(x: Tensor, size: Size) -> Tensor:
    """``x`` [B, C, H, W] averaged over areas to [B, C, *size]; ``x`` itself if it has that size already."""
    return x if tuple(x.shape[-2:]) == size else F.adaptive_avg_pool2d(x, size)


def resample(x: Tensor, size: Size) -> Tensor:
    """``x`` [B, C, H, W] interpolated bilinearly to [B, C, *size]; ``x`` itself if it has that size already."""
    return x if tuple(x.shape[-2:]) == size else F.interpolate(x, size, mode="bilinear", align_corners=False)


def box_pool(x: Tensor, kernel: Size) -> Tensor:
    """Mean over the ``kernel`` window centered on each pixel.

    Windows are cut at the border, and their sums are divided by the number of pixels inside the image. Columns are
    averaged first, rows after. This is exact, because a cut window is a rectangle as well, and at the kernels of a
    working grid it is several times as fast as an integral image, whose sums also lose digits.

    Args:
        x: [B, C, H, W]; fastest in channels-last memory, as networks on CPUs put it out, and where `LANES` divides C.
        kernel: odd height and width of the window, in pixels.

    Returns:
        [B, C, H, W]; ``x`` itself where the window is one pixel.
    """
    height, width = kernel
    if height > 1:
        x = F.avg_pool2d(x, (height, 1), 1, (height // 2, 0), count_include_pad=False)
    return F.avg_pool2d(x, (1, width), 1, (0, width // 2), count_include_pad=False) if width > 1 else x


def maximum_filter(heat: Tensor, kernel: Size) -> Tensor:
    """Maximum of ``heat`` [B, 1, h, w] over the ``kernel`` window centered on each cell; odd height and width."""
    height, width = (length // 2 for length in kernel)
    padded = F.pad(heat, (width, width, height, height), value=-math.inf)
    return _window_maximum(_window_maximum(padded, -2, kernel[0]), -1, kernel[1])


def _window_maximum(x: Tensor, dim: int, window: int) -> Tensor:
    """Maximum of each ``window`` that fits into ``x`` along ``dim``, from maxima of windows that double in length."""
    kept, reach = x.shape[dim] - window + 1, 1
    while 2 * reach <= window:
        length = x.shape[dim] - reach
        x = torch.maximum(x.narrow(dim, 0, length), x.narrow(dim, reach, length))
        reach *= 2
    return torch.maximum(x.narrow(dim, 0, kept), x.narrow(dim, window - reach, kept)) if window > reach else x


def bounding_box(mask: Tensor) -> tuple[slice, slice]:
    """The rows and columns that hold all values of ``mask`` [B, 1, h, w] that are not 0; both empty if all are 0."""
    return _span(mask.amax((0, 1, 3))), _span(mask.amax((0, 1, 2)))


def _span(occupied: Tensor) -> slice:
    places = occupied.nonzero()
    return slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0)
