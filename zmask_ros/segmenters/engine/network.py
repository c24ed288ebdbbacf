"""The graphs of a network as one module, whose layers are tapped and changed as those that they come from."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn

from zmask_ros.segmenters.engine.sessions import GraphSession

SMALL_IMAGES = 400_000
"""Pixels of a batch up to which torch makes its part of a frame in one thread beside an engine."""


class Activations(Protocol):
    """Activations by layer name."""

    def __getitem__(self, name: str, /) -> Tensor:
        """The activation [B, C, H, W] of the layer called ``name``."""
        ...


class EngineNetwork(nn.Module):
    """A network that ONNX Runtime runs, graph by graph.

    Each tapped layer is a submodule of the layer's name that hands its activation on: hooks on it see the activation,
    and what they return is what the network goes on with, where it is cut behind that layer.

    Args:
        sessions: of the graphs, in their order.
        input_size: (height, width) of the images, in pixels.

    Attributes:
        pixels: of an image.
        provider: name of the execution provider that runs most of it.
        origin: what it was made of.
        evidence: sessions that make evidence of activations, by its name; see `make_evidence`.
    """

    def __init__(self, sessions: Sequence[GraphSession], input_size: tuple[int, int]) -> None:
        super().__init__()
        self.pixels = input_size[0] * input_size[1]
        self.origin = sessions[0].notes.origin
        self.evidence = {session.notes.evidence: session for session in sessions if session.notes.evidence}
        sessions = [session for session in sessions if not session.notes.evidence]
        self._tensors = {layer: name for session in sessions for layer, name in session.notes.layers.items()}
        layers = {layer: nn.Identity() for layer in self._tensors}
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

    def make_evidence(self, name: str, activations: Activations) -> dict[str, Tensor]:
        """The heat maps, each [B, 1, h, w], of the evidence of this name, from the activations of tapped layers."""
        session = self.evidence[name]
        needed = set(session.inputs)
        heats = session({tensor: activations[layer] for layer, tensor in self._tensors.items() if tensor in needed})
        return {heat: heats[tensor] for heat, tensor in session.notes.heats.items()}


@contextmanager
def one_thread_beside(network: nn.Module, images: int = 1) -> Iterator[None]:
    """Context manager in which torch has one thread, where an engine runs ``network`` for a few small images.

    What torch does beside an engine, masks, tracks and labels, are many small operations: waking a second thread for
    each takes longer than it saves. The engine keeps its own threads.
    """
    if not isinstance(network, EngineNetwork) or network.pixels * images > SMALL_IMAGES:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
