"""Frames with patches, on which profiles are compared and reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from zmask_ros.attacks import paste_at_random, stack_frames, to_uint8
from zmask_ros.defense.defense import masked_labels
from zmask_ros.segmenters import Segmenter
from zmask_ros.segmenters.labels import labels_of
from zmask_ros.training.adversaries import ALIKE, SEEN
from zmask_ros.training.division import evenly
from zmask_ros.training.preparation.standing import ADAPTIVE_ALIKE
from zmask_ros.training.preparation.work import AttackedFrame


def attacked_with_each(
    segmenter: Segmenter, patches: Mapping[str, Tensor], frames: Sequence[np.ndarray], most: int, seed: int
) -> dict[str, list[AttackedFrame]]:
    """Frames with each kind of patch, which is seen as it was made to be; arguments as of `attacked_with`."""
    return {
        kind: attacked_with(segmenter, shown, frames, most, seed, alike=kind == ADAPTIVE_ALIKE)
        for kind, shown in patches.items()
    }


def attacked_with(
    segmenter: Segmenter, shown: Tensor, frames: Sequence[np.ndarray], most: int, seed: int, alike: bool = False
) -> list[AttackedFrame]:
    """Frames with a patch, or with several together.

    Args:
        segmenter: the network, whose labels of the clean frames are taken for right.
        shown: the patches, float [P, 3, h, w] in 0..1.
        frames: uint8 [h, w, 3] RGB each, at the network's input size.
        most: so many of them, evenly chosen.
        seed: of the places of the patches.
        alike: they are always seen alike, and not at many sizes and from all sides.
    """
    images = evenly(frames, most)
    labels = stack_frames(segmenter, ((image, None) for image in images)).labels.numpy()
    views, places, pictures = ALIKE if alike else SEEN, torch.Generator().manual_seed(seed), to_uint8(shown)
    return [
        _attacked_frame(segmenter, truth, *paste_at_random(image, pictures, views, places))
        for image, truth in zip(images, labels, strict=True)
    ]


@torch.inference_mode()
def _attacked_frame(
    segmenter: Segmenter, truth: np.ndarray, attacked: np.ndarray, patch_mask: np.ndarray
) -> AttackedFrame:
    x = segmenter.prepare(attacked)
    hidden = torch.from_numpy(patch_mask)[None, None].to(x)
    undefended = labels_of(segmenter.scores(x), segmenter.input_size)
    oracle = masked_labels(segmenter, x, hidden)
    return AttackedFrame(attacked, truth, undefended[0].cpu().numpy(), oracle[0].cpu().numpy(), patch_mask)
