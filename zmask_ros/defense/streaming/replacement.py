"""Taking known patches out of a network's activation while its pass is under way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

import torch
from torch import Tensor, nn

from zmask_ros.defense.analyzer import hard_mask
from zmask_ros.defense.evidence.taps import find_layer
from zmask_ros.defense.resegmentation.inpainting import inpaint
from zmask_ros.defense.streaming.tracking import Found, Track, Tracker


@dataclass(frozen=True)
class Search:
    """A patch to be found again, and the seconds since it was last seen."""

    track: Track
    elapsed_s: float


class Replacement:
    """Context manager: as the tracker's layer puts out its activation, known patches are taken out of it.

    Args:
        network: that runs once inside.
        tracker: finds them.
        searches: of each image of the batch; None: it is only watched.
        threshold: a patch whose score is not above it is left where it is.
    """

    def __init__(
        self, network: nn.Module, tracker: Tracker, searches: Sequence[Search | None], threshold: float
    ) -> None:
        self._layer = find_layer(network, tracker.layer)
        self._tracker = tracker
        self._searches = searches
        self._threshold = threshold
        self.found: list[Found | None] = [None] * len(searches)

    def __enter__(self) -> Replacement:
        self._handle = self._layer.register_forward_hook(self._replace)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.remove()

    def _replace(self, module: nn.Module, inputs: object, activation: Tensor) -> Tensor:
        self.activation = activation
        for index, search in enumerate(self._searches):
            if search is not None:
                features = self._tracker.features(activation[index : index + 1])
                found = self._tracker.find(features, search.track, search.elapsed_s)
                self.found[index] = found if found is not None and found.score > self._threshold else None
        regions = on_image(self.found, activation)
        return activation if regions is None else inpaint(activation, regions)


def on_image(found: Sequence[Found | None], like: Tensor) -> Tensor | None:
    """The regions that are found again, at the size of ``like`` [B, C, H, W]: [B, 1, H, W], 0 or 1; None: none are."""
    if all(one is None for one in found):
        return None
    nothing = like.new_zeros(1, 1, *like.shape[-2:])
    size = (like.shape[-2], like.shape[-1])
    return torch.cat([nothing if one is None else hard_mask(one.track.region.to(like), size) for one in found])
