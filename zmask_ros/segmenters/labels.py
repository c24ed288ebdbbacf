"""Labels of class scores, at the size of the image whatever the scores' own is."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def at_size(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """Class scores [B, K, h, w] interpolated bilinearly to [B, K, *size]; themselves if they have that size already."""
    return scores if tuple(scores.shape[-2:]) == size else F.interpolate(scores, size, mode="bilinear")


def labels_of(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """The likeliest class of each pixel of an image, uint8 [B, *size], from class scores [B, K, h, w].

    The same as that of the scores at the image's size, `at_size`. Scores of networks that stop at an eighth of it,
    say, are not all brought there: between four cells that agree there is nothing to find out, see `_mixed_labels`.
    """
    steps = _steps(scores, size)
    if steps is None or scores.device.type != "cpu":
        return at_size(scores, size).argmax(1).to(torch.uint8)
    return _enlarged_labels(scores, steps)


def _steps(scores: Tensor, size: tuple[int, int]) -> tuple[int, int] | None:
    """Pixels from one cell of the scores to the next, down and across; None where that is one, or no whole number."""
    (rows, row_rest), (columns, column_rest) = (divmod(n, m) for n, m in zip(size, scores.shape[-2:], strict=True))
    return None if row_rest or column_rest or rows * columns == 1 else (rows, columns)


def _enlarged_labels(scores: Tensor, steps: tuple[int, int]) -> Tensor:
    """Labels [B, h * steps[0], w * steps[1]] of class scores [B, K, h, w].

    The image is divided into blocks of ``steps`` pixels between the centers of four cells, which overlap its border by
    a part of a block. Interpolated scores are weighted means of four cells': where all four have the same likeliest
    class, so has every pixel between them.
    """
    batch, _, height, width = scores.shape
    cells = F.pad(scores.argmax(1)[:, None].to(scores.dtype), (1, 1, 1, 1), mode="replicate")[:, 0].to(torch.uint8)
    first, *others = (cells[:, i : i + height + 1, j : j + width + 1] for i in (0, 1) for j in (0, 1))
    mixed = (others[0] != first) | (others[1] != first) | (others[2] != first)
    blocks = first[..., None, None].expand(-1, -1, -1, *steps).clone()
    where = mixed.flatten().nonzero()[:, 0]
    blocks.view(-1, *steps)[where] = _mixed_labels(scores, where, steps)
    top, left = ((step + 1) // 2 for step in steps)
    labels = blocks.transpose(2, 3).reshape(batch, (height + 1) * steps[0], (width + 1) * steps[1])
    return labels[:, top : top + height * steps[0], left : left + width * steps[1]].contiguous()


def _mixed_labels(scores: Tensor, where: Tensor, steps: tuple[int, int]) -> Tensor:
    """Labels [N, *steps] of the blocks of these numbers, [N], by their interpolated scores."""
    _, classes, height, width = scores.shape
    image, place = where // ((height + 1) * (width + 1)), where % ((height + 1) * (width + 1))
    row, column = place // (width + 1), place % (width + 1)
    rows = (image * height + (row - 1).clamp_min(0)) * width, (image * height + row.clamp_max(height - 1)) * width
    columns = (column - 1).clamp_min(0), column.clamp_max(width - 1)
    corners = torch.cat([r + c for r in rows for c in columns])
    values = scores.permute(0, 2, 3, 1).reshape(-1, classes).index_select(0, corners)
    down, across = (_shares(step).to(scores) for step in steps)
    weights = (down[:, None, :, None] * across[:, None, :]).reshape(4, steps[0] * steps[1])
    planes = values.view(4, len(where), classes).transpose(1, 2).flatten(1)
    inside = (weights.T @ planes).view(steps[0] * steps[1], classes, len(where))
    return inside.max(1).indices.to(torch.uint8).T.reshape(-1, *steps)


def _shares(step: int) -> Tensor:
    """What the two cells at the ends of a block count in its pixels, [2, step]."""
    second = (torch.arange(step) + (0 if step % 2 else 0.5)) / step
    return torch.stack([1 - second, second])
