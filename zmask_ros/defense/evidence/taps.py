"""Activation taps: the outputs of named layers, all from one forward pass."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from types import TracebackType

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from zmask_ros.errors import ZmaskError

Shape = tuple[int, int, int]
"""Channels, height and width."""


class LayerError(ZmaskError):
    """A layer that the network does not have, or that does not put out a feature map."""


def find_layer(network: nn.Module, name: str) -> nn.Module:
    """The submodule of ``network`` called ``name``.

    Raises:
        LayerError: there is no such submodule; the message names the closest ones.
    """
    try:
        if name:
            return network.get_submodule(name)
    except AttributeError:
        pass
    modules = dict(network.named_modules())
    close = difflib.get_close_matches(name, [m for m in modules if m], n=3, cutoff=0.3)
    hint = f"; the closest are {', '.join(close)}" if close else ""
    raise LayerError(f"The network has no layer '{name}'{hint}.")


def in_single_precision(activation: Tensor) -> Tensor:
    """``activation`` as float32 if it is float16 or bfloat16, otherwise as it is."""
    return activation.float() if activation.dtype in (torch.float16, torch.bfloat16) else activation


def feature_layers(network: nn.Module, forward: Callable[[], object], depth: int = 2) -> dict[str, Shape]:
    """The layers that can be tapped, at most ``depth`` levels below ``network``, and the shapes of their outputs.

    Args:
        network: whose submodules are watched.
        forward: runs the network once, on any image.
        depth: number of levels, at least 1.

    Returns:
        (channels, height, width) by layer name, for layers whose output is one [B, C, H, W] tensor, in the order in
        which the network reaches them. Of one that is used several times the last output counts, as for taps.
    """
    shapes: dict[str, Shape] = {}

    def keeper(name: str):  # type: ignore[no-untyped-def]
        def keep(module: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and output.dim() == 4:
                shapes.pop(name, None)
                shapes[name] = (output.shape[1], output.shape[2], output.shape[3])

        return keep

    modules = [(name, module) for name, module in network.named_modules() if name and name.count(".") < depth]
    handles = [module.register_forward_hook(keeper(name)) for name, module in modules]
    try:
        forward()
    finally:
        for handle in handles:
            handle.remove()
    return shapes


class ActivationTaps:
    """Context manager that keeps the outputs of the named layers in the latest forward pass.

    The hooks keep references only: nothing is copied, moved or detached, so gradients flow through. Activations of a
    network that computes in half precision are given in single precision, as the clean statistics are.

        with ActivationTaps(network, ["backbone.4"]) as taps:
            network(x)
            taps["backbone.4"]  # [B, C, H, W]

    Args:
        network: that runs inside.
        layers: names of its submodules.

    Raises:
        LayerError: the network has no such layer.
    """

    def __init__(self, network: nn.Module, layers: Sequence[str]) -> None:
        self._modules = {name: find_layer(network, name) for name in layers}
        self._activations: dict[str, Tensor] = {}
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> ActivationTaps:
        if self._handles:
            raise RuntimeError("these taps are in use already: make others for a pass within a pass")
        for name, module in self._modules.items():
            self._handles.append(module.register_forward_hook(self._keeper(name)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._activations.clear()

    def __getitem__(self, name: str) -> Tensor:
        """The activation [B, C, H, W] of layer ``name``.

        Raises:
            LayerError: the layer was not reached by the forward pass.
        """
        if name not in self._activations:
            raise LayerError(f"Layer '{name}' was not reached by the forward pass; tap another one.")
        return self._activations[name]

    def _keeper(self, name: str):  # type: ignore[no-untyped-def]
        def keep(module: nn.Module, inputs: object, output: object) -> None:
            if not isinstance(output, Tensor) or output.dim() != 4:
                raise LayerError(f"Layer '{name}' does not put out one [B, C, H, W] tensor; tap another one.")
            self._activations[name] = in_single_precision(output)

        return keep
