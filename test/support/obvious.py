"""The over-activation analysis, slow and obvious: loops over pixels, windows cut at the border, float64."""

from __future__ import annotations

import numpy as np


def area_resample(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[C, H, W] to [C, *size]: each cell is the mean of the pixels that its share of the image touches."""
    channels, height, width = x.shape
    out = np.zeros((channels, *size))
    for i in range(size[0]):
        for j in range(size[1]):
            top, bottom = i * height // size[0], -(-(i + 1) * height // size[0])
            left, right = j * width // size[1], -(-(j + 1) * width // size[1])
            out[:, i, j] = x[:, top:bottom, left:right].mean(axis=(1, 2))
    return out


def box_pool(x: np.ndarray, kernel: tuple[int, int]) -> np.ndarray:
    """[C, H, W]: mean over the window centered on each pixel, over those pixels that exist."""
    out = np.zeros_like(x, dtype=np.float64)
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            rows = slice(max(0, i - kernel[0] // 2), i + kernel[0] // 2 + 1)
            columns = slice(max(0, j - kernel[1] // 2), j + kernel[1] // 2 + 1)
            out[:, i, j] = x[:, rows, columns].mean(axis=(1, 2))
    return out


def heat_map(x: np.ndarray, kernel: tuple[int, int], mean: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """[C, H, W] to [H, W]: mean over channels with sigma > 0 of |(boxpool(x) - mean) / sigma|."""
    alive = sigma > 0
    deviation = (box_pool(x, kernel)[alive] - mean[alive, None, None]) / sigma[alive, None, None]
    return np.abs(deviation).mean(axis=0)


def cascade(heats: list[np.ndarray]) -> np.ndarray:
    fused = heats[0]
    for heat in heats[1:]:
        fused = fused / (1 + fused.max()) * heat
    return fused


def moments(frames: list[np.ndarray], kernels: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation [K + 1, C] over all positions of all frames [C, H, W], plain and pooled with each kernel."""
    means, deviations = [], []
    for kernel in [(1, 1), *kernels]:
        values = np.concatenate([box_pool(f, kernel).reshape(len(f), -1) for f in frames], axis=1)
        means.append(values.mean(axis=1))
        deviations.append(values.std(axis=1))
    return np.stack(means), np.stack(deviations)


def fusion_and_score(shallow: np.ndarray, deep: np.ndarray, w: list[float]) -> tuple[np.ndarray, float]:
    """Mask [H, W] and score from H_S, H_D [H, W] and the eight scalars."""

    def sigmoid(v: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-v))

    gate = sigmoid(w[2] * np.tanh(w[0] * deep + w[1]) + w[3])
    mask = sigmoid(w[6] * np.tanh(w[4] * gate * shallow + w[5]) + w[7])
    return mask, float((deep * shallow * mask).sum() / (1 + mask.sum()))
