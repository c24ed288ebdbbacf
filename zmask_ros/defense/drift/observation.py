"""What is seen of a camera: means of each channel over a frame, and their running means over its last clean frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from zmask_ros.defense.evidence.taps import find_layer

STRETCH_FRAMES = 10
"""Frames of a stretch: of a clean drive when a profile is fitted, and of the memory of a camera."""
OBSERVED_EVERY = 5
"""Each so many-th frame of a camera is observed, unless something else is asked for: neighbors resemble each other."""

LayerMeans = dict[str, Tensor]
"""Means of the channels by layer name, each float [C]."""


def channel_means(activation: Tensor) -> Tensor:
    """The mean of each channel over all positions, float32 [B, C], of an activation [B, C, H, W]."""
    return activation.detach().mean((-2, -1), dtype=torch.float32)


class ChannelMeans:
    """Context manager that keeps the channels' means of the named layers in the first forward pass inside.

    A later one is that of masked frames, or of a part of them.

    Args:
        network: that runs inside.
        layers: names of its submodules.

    Raises:
        LayerError: the network has no such layer.
    """

    def __init__(self, network: nn.Module, layers: Sequence[str]) -> None:
        self._modules = {name: find_layer(network, name) for name in layers}
        self._means: dict[str, Tensor] = {}
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> ChannelMeans:
        self._means.clear()
        self._handles = [module.register_forward_hook(self._keeper(name)) for name, module in self._modules.items()]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def frame(self, index: int) -> LayerMeans:
        """The means of one image of the batch of the last pass, on the CPU."""
        return {name: means[index].cpu() for name, means in self._means.items()}

    def _keeper(self, name: str) -> Callable[[nn.Module, object, Tensor], None]:
        def keep(module: nn.Module, inputs: object, output: Tensor) -> None:
            if name not in self._means:
                self._means[name] = channel_means(output)

        return keep


@dataclass(frozen=True)
class DriftState:
    """All that is remembered of one camera.

    A jump in time changes nothing: the frames before it are of the same camera.

    Attributes:
        means: running means over the observed frames; the last `STRETCH_FRAMES` of them count the most.
        frames: number of observed frames.
        waited: frames since the last observed one.
    """

    means: LayerMeans = field(default_factory=dict)
    frames: int = 0
    waited: int = 0

    def due(self, every: int) -> bool:
        """Whether the next frame is to be observed, each ``every``-th of them; 0: none is."""
        return every > 0 and (self.frames == 0 or self.waited + 1 >= every)

    def passed(self) -> DriftState:
        """The state after a frame that is not observed: it was not due, or is not known to be clean."""
        return replace(self, waited=self.waited + 1)

    def observed(self, means: LayerMeans) -> DriftState:
        """The state after a clean frame with these means.

        Until there are `STRETCH_FRAMES`, it is their plain mean; after that, older frames are forgotten exponentially.
        """
        frames = self.frames + 1
        weight = 1 / min(frames, STRETCH_FRAMES)
        running = {name: own.lerp(means[name], weight) for name, own in self.means.items()} if self.means else means
        return DriftState(running, frames)
