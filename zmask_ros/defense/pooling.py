"""Area resampling to the working grid, and centred box pooling by integral images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]


def working_grid(input_size: Size, fraction: int) -> Size:
    """Height and width of the working grid G: the input size over ``fraction``, rounded up."""
    return -(-input_size[0] // fraction), -(-input_size[1] // fraction)


def layer_grid(activation_size: Size, grid: Size) -> Size:
    """The size at which a layer is analysed: G, or the layer's own size where that is smaller."""
    return min(activation_size[0], grid[0]), min(activation_size[1], grid[1])


def layer_kernel(kernel: Size, grid: Size, own: Size) -> Size:
    """A kernel given on the grid G, on a layer's own grid: same share of the image, odd, so that it has a centre."""
    return nearest_odd(kernel[0] * own[0] / grid[0]), nearest_odd(kernel[1] * own[1] / grid[1])


def nearest_odd(value: float) -> int:
    """The odd number nearest to ``value``, at least 1: a window of that length has a centre."""
    return max(1, 2 * round((value - 1) / 2) + 1)


def area_resample(x: Tensor, size: Size) -> Tensor:
    """``x`` [B, C, H, W] averaged down to ``size``; unchanged if it has that size already."""
    return x if tuple(x.shape[-2:]) == size else F.adaptive_avg_pool2d(x, size)


def integral_image(x: Tensor) -> Tensor:
    """Sums over all rectangles that start in the corner: [..., H, W] to [..., H + 1, W + 1], first row and column 0."""
    return F.pad(x.cumsum(-1).cumsum(-2), (1, 0, 1, 0))


def box_pool(integral: Tensor, kernel: Size) -> Tensor:
    """Mean over the ``kernel`` window centred on each pixel; cost does not depend on the kernel.

    Windows are cut at the border and divided by the number of pixels that are really in them.

    Args:
        integral: [B, C, H + 1, W + 1], from `integral_image`.
        kernel: odd height and width of the window, in pixels.

    Returns:
        [B, C, H, W].
    """
    (height, width), (half_height, half_width) = kernel, (kernel[0] // 2, kernel[1] // 2)
    # Beyond the border an integral image is constant, so repeating its edge cuts the windows there.
    padded = F.pad(integral, (half_width, half_width, half_height, half_height), mode="replicate")
    rows = padded[..., height:, :] - padded[..., :-height, :]
    sums = rows[..., width:] - rows[..., :-width]
    return sums / _window_areas((integral.shape[-2] - 1, integral.shape[-1] - 1), kernel, integral)


def _window_areas(size: Size, kernel: Size, like: Tensor) -> Tensor:
    heights, widths = (_window_lengths(n, k, like) for n, k in zip(size, kernel, strict=True))
    return heights[:, None] * widths


def _window_lengths(length: int, kernel: int, like: Tensor) -> Tensor:
    centre = torch.arange(length, device=like.device, dtype=like.dtype)
    return (centre + kernel // 2 + 1).clamp_max(length) - (centre - kernel // 2).clamp_min(0)
