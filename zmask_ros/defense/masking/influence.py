"""Whether a mask made a difference: what the network says with it, against what it said without."""

from __future__ import annotations

from torch import Tensor

from zmask_ros.defense.evidence.grid import Size
from zmask_ros.defense.masking.morphology import binary_opening
from zmask_ros.defense.masking.soft_region import OPEN

LEAST_SHARE = 0.007
"""Share of an image's pixels that a mask must change outside of itself to make a difference, in 0..1."""


def makes_difference(before: Tensor, after: Tensor, masked: Tensor, cell: Size) -> Tensor:
    """Whether masks changed what the network says outside of them, by more than a mask on anything does.

    Hiding anything at all moves the borders of its surroundings a little. A mask made a difference if it changed more
    than `LEAST_SHARE` of the pixels, or something that is larger than a cell of the working grid.

    Args:
        before: the segmentation without the masks, uint8 [B, h, w].
        after: with them, uint8 [B, h, w].
        masked: the masked pixels, 0 or 1, [B, 1, h, w].
        cell: height and width of a cell of the working grid, pixels.

    Returns:
        Bool [B].
    """
    changed = (before != after)[:, None] & (masked <= OPEN)
    # The next odd sizes above those of the cell: such a window has a center.
    height, width = (size + 1 + size % 2 for size in cell)
    larger = binary_opening(changed, (height, width)).flatten(1).any(dim=1)
    return larger | (changed.flatten(1).float().mean(dim=1) > LEAST_SHARE)
