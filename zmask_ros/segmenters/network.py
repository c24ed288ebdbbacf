"""Networks from descriptions: the module with its weights, and its class scores in one form."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress

import torch
from torch import Tensor, nn

from zmask_ros.errors import describe_error
from zmask_ros.segmenters.builders import call_builder
from zmask_ros.segmenters.description import Description, SegmenterError
from zmask_ros.segmenters.labels import at_size
from zmask_ros.segmenters.weights import load_weights

# The methods of nn.Module are called by their class: networks have own attributes called `type`, `half` or `to`.

LOGITS = ("out", "logits")
"""Keys, or attributes, under which networks return their logits; the first one counts."""


def build_network(description: Description) -> nn.Module:
    """The described network with its weights, in eval mode, float32, frozen, on the CPU.

    Raises:
        SegmenterError: the builder does not exist or fails, or the weights are missing, unsafe or do not fit.
    """
    network = call_builder(description)
    if description.weights is not None:
        load_weights(network, description)
    try:
        nn.Module.float(network)
        # A network's own `train` may be for something else, or forget its layers.
        with suppress(Exception):
            nn.Module.eval(network)
        for module in nn.Module.modules(network):
            module.training = False
    except Exception as error:
        raise SegmenterError(
            f"The network of builder '{description.builder}' cannot be put into eval mode ({describe_error(error)}): "
            f"change {description.entries('builder')}."
        ) from error
    for parameter in nn.Module.parameters(network):
        parameter.requires_grad_(False)
    return network


def weights_digest(network: nn.Module) -> str:
    """SHA-256 over the names, types, shapes and values of all parameters and buffers, hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(nn.Module.state_dict(network).items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)};".encode())
        digest.update(values.flatten().view(torch.uint8).numpy().tobytes() if values.numel() else b"")
    return digest.hexdigest()


def compute_logits(network: nn.Module, x: Tensor, description: Description) -> Tensor:
    """Class scores of ``network`` [B, K, H, W], at the size and in the precision of ``x``; see `Segmenter.logits`."""
    return at_size(compute_scores(network, x, description), (x.shape[-2], x.shape[-1]))


def compute_scores(network: nn.Module, x: Tensor, description: Description) -> Tensor:
    """Class scores of ``network`` [B, K, h, w], in the precision of ``x``; see `Segmenter.scores`.

    Args:
        network: computes in whatever precision its parameters have.
        x: normalized images [B, 3, H, W].
        description: of the network.
    """
    weights = (parameter.dtype for parameter in nn.Module.parameters(network) if parameter.is_floating_point())
    output = network(x.to(next(weights, x.dtype), memory_format=torch.channels_last))
    found = _find_logits(output)
    if not (isinstance(found, Tensor) and found.dim() == 4 and found.is_floating_point() and len(found) == len(x)):
        raise SegmenterError(
            f"Segmenter '{description.name}' must return [B, K, H, W] logits, a dict or an object with 'out' or "
            f"'logits', or a tuple that starts with them, but its network returned {_name_output(output)}: "
            f"change {description.entries('builder', 'arguments')}."
        )
    logits = two_class_scores(found).to(x.dtype)
    if logits.shape[1] != len(description.classes):
        raise _wrong_channels(found.shape[1], description)
    return logits


def two_class_scores(logits: Tensor) -> Tensor:
    """Logits [B, K, h, w] as they are, but of a single one how much the second class is likelier than the first: two.

    The softmax of 0 and x gives the second class the probability sigmoid(x), and it is the likelier one above 0.
    """
    return torch.cat([torch.zeros_like(logits), logits], 1) if logits.shape[1] == 1 else logits


def _find_logits(output: object) -> object:
    """The logits in what a network returned, if it has one of the known forms."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        return next((output[name] for name in LOGITS if name in output), None)
    named = next((getattr(output, name) for name in LOGITS if hasattr(output, name)), None)
    if named is None and isinstance(output, tuple | list) and output:
        return _find_logits(output[0])
    return named


def _name_output(output: object) -> str:
    """What a network returned, in a few words."""
    if isinstance(output, Tensor):
        return f"{str(output.dtype).removeprefix('torch.')} {list(output.shape)}"
    kind = type(output).__name__
    if isinstance(output, Mapping):
        return f"a {kind} of " + ", ".join(f"'{name}': {_name_output(value)}" for name, value in output.items())
    if isinstance(output, tuple | list):
        return f"a {kind} of {len(output)}" + (f" that starts with {_name_output(output[0])}" if output else "")
    return f"{'an' if kind[0] in 'AEIOU' else 'a'} {kind}"


def _wrong_channels(channels: int, description: Description) -> SegmenterError:
    classes = len(description.classes)
    described = f"Segmenter '{description.name}' describes {classes} class{'es' if classes > 1 else ''}"
    if channels == 1:
        return SegmenterError(
            f"{described}, but its network puts out 1 channel, which tells two apart: in "
            f"{description.entries('classes')} name the one below 0 first and then the one above 0."
        )
    return SegmenterError(
        f"{described}, but its network puts out {channels} channels: name each one in "
        f"{description.entries('classes')}, or change {description.entries('builder', 'arguments')}."
    )
