"""One pass of a network: images in, class scores out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zmask_ros.segmenters.description import Description, SegmenterError


def network_logits(network: nn.Module, x: Tensor, description: Description) -> Tensor:
    """Class scores of ``network`` [B, K, h, w], in the precision of ``x``; see `Segmenter.logits`.

    Args:
        network: computes in whatever precision its parameters have.
        x: normalised images [B, 3, H, W].
        description: of the network.
    """
    dtype = next((parameter.dtype for parameter in network.parameters()), x.dtype)
    output = network(x.to(dtype, memory_format=torch.channels_last))
    if isinstance(output, dict):
        output = output.get("out")
    elif isinstance(output, tuple | list) and output:
        output = output[0]
    if not isinstance(output, Tensor) or output.dim() != 4:
        raise SegmenterError(
            f"Segmenter '{description.name}' must return [B, K, H, W] logits, a dict with 'out', "
            "or a tuple that starts with them."
        )
    if output.shape[1] != len(description.classes):
        raise SegmenterError(
            f"Segmenter '{description.name}' describes {len(description.classes)} classes, "
            f"but its network puts out {output.shape[1]}: name each one under classes."
        )
    return output.to(x.dtype)
