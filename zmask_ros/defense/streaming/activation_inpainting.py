"""Removing known patches from an activation of the network while its pass is under way."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

import torch
from torch import Tensor, nn

from zmask_ros.defense.evidence.taps import find_layer
from zmask_ros.defense.masking.soft_region import hard_mask
from zmask_ros.defense.resegmentation.inpainting import inpaint
from zmask_ros.defense.streaming.tracking import TrackedPatch, Tracker, TrackSearch


class ActivationInpainting:
    """Context manager that inpaints known patches in the activation of the tracker's layer.

    Afterwards `tracked` holds the patch of each image that was found again, or None, and `activation` is what the layer
    put out, [B, C, H, W].

    Args:
        network: that runs once inside.
        tracker: finds the patches.
        searches: what to look for in each image of the batch; None: nothing.
        threshold: a patch whose score is not above it is left where it is.
        copied: whether the layer's output is overwritten by what follows; see `try_layers`.
    """

    def __init__(
        self,
        network: nn.Module,
        tracker: Tracker,
        searches: Sequence[TrackSearch | None],
        threshold: float,
        copied: bool = False,
    ) -> None:
        self._layer = find_layer(network, tracker.layer)
        self._tracker = tracker
        self._searches = searches
        self._threshold = threshold
        self._copied = copied
        self.tracked: list[TrackedPatch | None] = [None] * len(searches)

    def __enter__(self) -> ActivationInpainting:
        self._handle = self._layer.register_forward_hook(self._inpaint)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.remove()

    def _inpaint(self, module: nn.Module, inputs: object, activation: Tensor) -> Tensor:
        self.activation = activation.clone() if self._copied else activation
        for index, search in enumerate(self._searches):
            if search is not None:
                features = self._tracker.features(activation[index : index + 1])
                patch = self._tracker.find(features, search.track, search.elapsed_s)
                self.tracked[index] = patch if patch is not None and patch.score > self._threshold else None
        mask = tracked_mask(self.tracked, activation)
        return activation if mask is None else inpaint(activation, mask)


def tracked_mask(tracked: Sequence[TrackedPatch | None], like: Tensor) -> Tensor | None:
    """The mask of the patches that are found again.

    Args:
        tracked: the patch of each of B images, or None.
        like: [B, C, H, W], whose size, type and device the mask has.

    Returns:
        0 or 1, [B, 1, H, W]; None where no patch is found again.
    """
    if all(patch is None for patch in tracked):
        return None
    nothing = like.new_zeros(1, 1, *like.shape[-2:])
    size = (like.shape[-2], like.shape[-1])
    return torch.cat([nothing if patch is None else hard_mask(patch.region.to(like), size) for patch in tracked])
