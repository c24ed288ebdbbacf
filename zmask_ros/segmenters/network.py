"""Networks from descriptions: build the module, load its weights without running code, compute its logits."""

from __future__ import annotations

import hashlib
import importlib
import zipfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import get_model, list_models
from torchvision.models import segmentation as torchvision_segmentation

from zmask_ros.segmenters.description import Description, SegmenterError


def build_network(description: Description) -> nn.Module:
    """The described network with its weights, in eval mode, float32, on the CPU.

    Raises:
        SegmenterError: the builder does not exist or fails, or the weights are missing, unsafe or do not fit.
    """
    network = _call_builder(description)
    if description.weights is not None:
        state = read_weights(description.weights)
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise SegmenterError(f"The weights {description.weights} do not fit the network: {reason}.") from error
    return network.float().eval()


def read_weights(path: Path) -> dict[str, Tensor]:
    """A state dict from a ``.safetensors`` file or from a checkpoint that holds nothing but tensors.

    Raises:
        SegmenterError: no such file, or one that would have to run code to be read.
    """
    if not path.is_file():
        raise SegmenterError(f"The weights {path} do not exist.")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise SegmenterError(f"The weights {path} are damaged or cannot be read: {error}.") from error
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if any("/code/" in name or name.endswith("constants.pkl") for name in names):
            raise SegmenterError(
                f"The weights {path} are a TorchScript archive, whose layers cannot be tapped: "
                "save its state_dict() as safetensors."
            )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise SegmenterError(
            f"The weights {path} cannot be read safely (only tensors are allowed): "
            "save the state_dict() as safetensors."
        ) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise SegmenterError(f"The weights {path} hold no state dict of tensors.")
    return state


def weights_digest(network: nn.Module) -> str:
    """SHA-256 over the names, types, shapes and values of all parameters and buffers, hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)};".encode())
        digest.update(values.flatten().view(torch.uint8).numpy().tobytes() if values.numel() else b"")
    return digest.hexdigest()


def compute_logits(network: nn.Module, x: Tensor, description: Description) -> Tensor:
    """Class scores of ``network`` [B, K, h, w], in the precision of ``x``; see `Segmenter.logits`.

    Args:
        network: computes in whatever precision its parameters have.
        x: normalized images [B, 3, H, W].
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


def _call_builder(description: Description) -> nn.Module:
    arguments = dict(description.arguments)
    if ":" in description.builder:
        build = _import_builder(description.builder)
    else:
        build = _torchvision_builder(description.builder)
        arguments = {"weights": None, "weights_backbone": None, "num_classes": len(description.classes)} | arguments
    try:
        network = build(**arguments)
    except Exception as error:
        raise SegmenterError(f"Builder '{description.builder}' failed: {type(error).__name__}: {error}.") from error
    if not isinstance(network, nn.Module):
        raise SegmenterError(f"Builder '{description.builder}' returned {type(network).__name__}, not an nn.Module.")
    return network


def _torchvision_builder(name: str):  # type: ignore[no-untyped-def]
    known = list_models(module=torchvision_segmentation)
    if name not in known:
        raise SegmenterError(
            f"'{name}' is no torchvision segmentation model: choose one of {', '.join(known)}, "
            "or write module:function."
        )
    return lambda **arguments: get_model(name, **arguments)


def _import_builder(path: str):  # type: ignore[no-untyped-def]
    module_name, _, function_name = path.partition(":")
    if not (module_name and function_name):
        raise SegmenterError(f"Builder '{path}' must be written module:function.")
    try:
        module = importlib.import_module(module_name)
    # A user's module may raise anything while it is imported.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise SegmenterError(f"Builder '{path}': module '{module_name}' cannot be imported ({reason}).") from error
    if not hasattr(module, function_name):
        raise SegmenterError(f"Builder '{path}': module '{module_name}' has no '{function_name}'.")
    return getattr(module, function_name)
