"""Activation taps: the outputs of named layers, all from one forward pass."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from types import TracebackType
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from zmask_ros.defense.segmentation_network import SegmentationNetwork
from zmask_ros.errors import ZmaskError

Shape = tuple[int, int, int]
"""Channels, height and width."""
LEAST_LAYERS = 6
"""To choose from: a network that is wrapped in other modules is searched further down for them."""


class LayerError(ZmaskError):
    """A layer that the network does not have, or that does not put out a feature map."""


def find_layer(network: nn.Module, name: str) -> nn.Module:
    """The submodule of ``network`` called ``name``.

    Raises:
        LayerError: there is no such submodule; the message names the closest ones.
    """
    # A module may have a name with dots in it, or several names.
    modules = dict(nn.Module.named_modules(network, remove_duplicate=False))
    if name and name in modules:
        return modules[name]
    close = difflib.get_close_matches(name, [m for m in modules if m], n=3, cutoff=0.3)
    hint = f"; the closest are {', '.join(close)}" if close else ""
    raise LayerError(f"The network has no layer '{name}'{hint}; `zmask segmenters NAME --depth N` lists them.")


def in_single_precision(activation: Tensor) -> Tensor:
    """``activation`` as float32 if it is float16 or bfloat16, otherwise as it is."""
    return activation.float() if activation.dtype in (torch.float16, torch.bfloat16) else activation


def feature_layers(network: nn.Module, forward: Callable[[], object], depth: int = 2) -> dict[str, Shape]:
    """The layers that can be tapped, at most ``depth`` levels below ``network``, and the shapes of their outputs.

    Args:
        network: whose submodules are watched.
        forward: runs the network once, on any image.
        depth: number of levels, at least 1; more are taken where there are fewer than `LEAST_LAYERS` in these.

    Returns:
        (channels, height, width) by layer name, for layers that run once and put out one [B, C, H, W] tensor, in
        the order in which the network reaches them.
    """
    shapes: dict[str, Shape] = {}
    runs: Counter[str] = Counter()

    def keeper(name: str):  # type: ignore[no-untyped-def]
        def keep(module: nn.Module, inputs: object, output: object) -> None:
            runs[name] += 1
            if isinstance(output, Tensor) and output.dim() == 4:
                shapes[name] = (output.shape[1], output.shape[2], output.shape[3])

        return keep

    modules = [(name, module) for name, module in nn.Module.named_modules(network) if name]
    handles = [module.register_forward_hook(keeper(name)) for name, module in modules]
    try:
        forward()
    finally:
        for handle in handles:
            handle.remove()
    usable = [name for name in shapes if runs[name] == 1]
    deepest = max((name.count(".") + 1 for name in usable), default=0)
    while sum(name.count(".") < depth for name in usable) < LEAST_LAYERS and depth < deepest:
        depth += 1
    return {name: shapes[name] for name in usable if name.count(".") < depth}


@dataclass(frozen=True)
class LayerTrial:
    """What a pass showed of a layer.

    Attributes:
        shape: channels, height and width of its output.
        overwritten: whether what follows writes into the output, as `nn.ReLU(inplace=True)` does.
    """

    shape: Shape
    overwritten: bool


_trials: WeakKeyDictionary[nn.Module, dict[tuple[str, tuple[int, int]], LayerTrial]] = WeakKeyDictionary()
"""What is known of layers, by network, name and input size: a network with a defense is tapped in many places."""


@torch.inference_mode()
def try_layers(segmenter: SegmentationNetwork, layers: Collection[str]) -> dict[str, LayerTrial]:
    """Run the network once, if need be, and see what ``layers`` put out.

    Raises:
        LayerError: one is missing, is not reached, runs more than once, or does not put out one [B, C, H, W] tensor.
    """
    size = segmenter.input_size
    known = _trials.setdefault(segmenter.network, {})
    new = [name for name in layers if (name, size) not in known]
    if new:
        noise = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0)).to(segmenter.device)
        with ActivationTaps(segmenter.network, new) as taps, ActivationTaps(segmenter.network, new, new) as copies:
            segmenter.logits(noise)
            for name in new:
                if taps.runs[name] > 1:
                    raise LayerError(
                        f"Layer '{name}' runs {taps.runs[name]} times in a pass, so that it has no output of its own; "
                        "tap another one."
                    )
                _, *shape = taps[name].shape
                known[name, size] = LayerTrial(
                    (shape[0], shape[1], shape[2]), not torch.equal(taps[name], copies[name])
                )
    return {name: known[name, size] for name in layers}


def tap(segmenter: SegmentationNetwork, layers: Sequence[str]) -> ActivationTaps:
    """Taps of these layers of a segmenter, which see what each puts out, whatever follows.

    Raises:
        LayerError: one of them cannot be tapped; see `try_layers`.
    """
    overwritten = [name for name, trial in try_layers(segmenter, layers).items() if trial.overwritten]
    return ActivationTaps(segmenter.network, layers, overwritten)


class ActivationTaps:
    """Context manager that keeps the outputs of the named layers in the latest forward pass.

    The hooks keep references only, except of layers in ``copied``: nothing else is copied, moved or detached, so
    gradients flow through. Activations of a network that computes in half precision are given in single precision, as
    the clean statistics are.

        with ActivationTaps(network, ["backbone.4"]) as taps:
            network(x)
            taps["backbone.4"]  # [B, C, H, W]

    Args:
        network: that runs inside.
        layers: names of its submodules.
        copied: those among them that are overwritten after they have run; `tap` finds them.

    Attributes:
        runs: how often each layer has run inside.

    Raises:
        LayerError: the network has no such layer.
    """

    def __init__(self, network: nn.Module, layers: Sequence[str], copied: Collection[str] = ()) -> None:
        self._modules = {name: find_layer(network, name) for name in layers}
        self._copied = frozenset(copied)
        self.runs: Counter[str] = Counter()
        self._activations: dict[str, Tensor] = {}
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> ActivationTaps:
        if self._handles:
            raise RuntimeError("these taps are in use already: make others for a pass within a pass")
        self.runs.clear()
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
            self.runs[name] += 1
            kept = in_single_precision(output)
            self._activations[name] = kept.clone() if kept is output and name in self._copied else kept

        return keep
