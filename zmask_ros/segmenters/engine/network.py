"""The graphs of a network as one module, whose layers are tapped and changed as those that they come from."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from zmask_ros.segmenters.engine.sessions import GraphSession


class EngineNetwork(nn.Module):
    """A network that ONNX Runtime runs, graph by graph.

    Each tapped layer is a submodule of the layer's name that hands its activation on: hooks on it see the activation,
    and what they return is what the network goes on with, where it is cut behind that layer.

    Args:
        sessions: of the graphs, in their order.
        input_size: (height, width) of the images, in pixels.

    Attributes:
        provider: name of the execution provider that runs most of it.
    """

    def __init__(self, sessions: Sequence[GraphSession], input_size: tuple[int, int]) -> None:
        super().__init__()
        layers = {layer: nn.Identity() for session in sessions for layer in session.notes.layers}
        parts = itertools.groupby(sessions, lambda session: session.notes.part)
        self._parts = [_Part(list(own), layers, input_size) for _, own in parts]
        # Names of layers have dots in them, of which `add_module` takes none.
        for layer, module in layers.items():
            setattr(self, layer, module)
        for number, part in enumerate(self._parts):
            setattr(self, f"/{number}", part)
        self.provider = sessions[0].provider

    def forward(self, image: Tensor) -> Tensor:
        """Class scores [B, K, h, w] of normalized images [B, 3, h, w]."""
        for part in self._parts:
            image = part(image)
        return image


class _Part(nn.Module):
    """A part of a network, which makes one tensor of one.

    Attributes:
        kernel_size: the side of the window of the image that a cell of the output is made of, in pixels.
    """

    def __init__(
        self, sessions: Sequence[GraphSession], layers: dict[str, nn.Identity], input_size: tuple[int, int]
    ) -> None:
        super().__init__()
        self._sessions = sessions
        self._layers = layers
        notes = sessions[-1].notes
        self._output = notes.output
        self.kernel_size = 2 * (max(input_size) if notes.reach is None else notes.reach) + 1

    def forward(self, x: Tensor) -> Tensor:
        tensors = dict.fromkeys(self._sessions[0].inputs, x)
        for session in self._sessions:
            tensors |= session(tensors)
            for layer, name in session.notes.layers.items():
                tensors[name] = self._layers[layer](tensors[name])
        return tensors[self._output]
