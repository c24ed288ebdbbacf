"""JPEG as a differentiable transformation: plain torch, with a straight-through estimator for rounding."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

BLOCK = 8
LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""Quantization of brightness at quality 50, ISO/IEC 10918-1, Table K.1."""
CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
"""Quantization of color at quality 50, Table K.2."""
RGB_TO_YCC = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))
YCC_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136286, -0.714136286), (1.0, 1.772, 0.0))


def compress(images: Tensor, quality: Tensor) -> Tensor:
    """Images [B, 3, H, W] in 0..1 after JPEG with halved color resolution, at ``quality`` [B] in 1..100.

    An image of quality 100 is left as it is. Rounding passes gradients on unchanged.
    """
    return torch.stack(
        [image if float(q) >= 100 else _compress(image, float(q)) for image, q in zip(images, quality, strict=True)]
    )


def _compress(image: Tensor, quality: float) -> Tensor:
    height, width = image.shape[-2:]
    # Whole blocks of the halved color planes.
    border = (0, -width % (2 * BLOCK), 0, -height % (2 * BLOCK))
    padded = functional.pad(image[None], border, mode="replicate")[0] * 255.0
    ycc = torch.einsum("ij,jhw->ihw", image.new_tensor(RGB_TO_YCC), padded)
    luminance, chrominance = ycc[:1] - 128.0, functional.avg_pool2d(ycc[1:][None], 2)[0]
    color = _quantized(chrominance, _table(CHROMINANCE, quality, image))
    whole = torch.cat(
        [
            _quantized(luminance, _table(LUMINANCE, quality, image)) + 128.0,
            functional.interpolate(color[None], scale_factor=2, mode="bilinear", align_corners=False)[0],
        ]
    )
    rgb = torch.einsum("ij,jhw->ihw", image.new_tensor(YCC_TO_RGB), whole) / 255.0
    return rgb[:, :height, :width].clamp(0, 1)


def _quantized(planes: Tensor, table: Tensor) -> Tensor:
    """Planes [C, H, W] after rounding the cosine coefficients of their 8x8 blocks to multiples of ``table``."""
    basis = _basis(planes)
    channels, height, width = planes.shape
    blocks = planes.reshape(channels, height // BLOCK, BLOCK, width // BLOCK, BLOCK).transpose(2, 3)
    levels = basis @ blocks @ basis.T / table
    rounded = levels + (levels.round() - levels).detach()
    return (basis.T @ (rounded * table) @ basis).transpose(2, 3).reshape(channels, height, width)


def _basis(like: Tensor) -> Tensor:
    """[8, 8]: the orthonormal cosine transform; row k is the k-th frequency."""
    k, n = torch.arange(BLOCK, dtype=torch.float64), torch.arange(BLOCK, dtype=torch.float64)
    basis = torch.cos(math.pi * (2 * n + 1) * k[:, None] / (2 * BLOCK)) * math.sqrt(2 / BLOCK)
    basis[0] /= math.sqrt(2)
    return basis.to(like)


def _table(base: tuple[tuple[int, ...], ...], quality: float, like: Tensor) -> Tensor:
    """[8, 8]: the table at ``quality``, scaled as the IJG's library does."""
    factor = 50.0 / quality if quality < 50 else 2.0 - quality / 50.0
    return (like.new_tensor(base) * factor + 0.5).floor().clamp(1, 255)
