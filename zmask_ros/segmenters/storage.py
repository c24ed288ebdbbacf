"""A network that has learned further, on disk: a description, and its weights beside it."""

from __future__ import annotations

from pathlib import Path

import yaml
from safetensors.torch import save
from torch import Tensor, nn

from zmask_ros.io.files import check_place, replace_file
from zmask_ros.segmenters.builders import lies_beside
from zmask_ros.segmenters.description import Description, SegmenterError
from zmask_ros.segmenters.segmenter import Segmenter

SUFFIXES = (".yaml", ".yml")
WEIGHTS_SUFFIX = ".safetensors"


def weights_beside(path: Path) -> Path:
    """The weights file of a description that `save_segmenter` writes."""
    return path.with_suffix(WEIGHTS_SUFFIX)


def check_segmenter_place(description: Description, path: Path) -> None:
    """Refuse a path where what becomes of a described network cannot be written, before minutes are spent on it.

    Raises:
        SegmenterError: the name does not end in .yaml, it is that of the network itself, or its builder would not be
            found from there.
        ZmaskError: its folder does not exist or cannot be written.
    """
    if path.suffix not in SUFFIXES:
        raise SegmenterError(f"A network's description ends in .yaml, unlike '{path.name}': name it NAME.yaml.")
    check_place(path)
    own = {description.source.resolve(), description.weights}
    if path.resolve() in own or weights_beside(path).resolve() in own:
        raise SegmenterError(f"{path} would replace the network that is to learn: name another output.")
    folder = description.source.resolve().parent
    if lies_beside(description.builder, folder) and path.resolve().parent != folder:
        raise SegmenterError(
            f"The builder '{description.builder}' is found beside {description.source} alone: put the output into "
            f"{folder} as well."
        )


def save_segmenter(segmenter: Segmenter, path: Path, remark: str) -> None:
    """Write the weights of a segmenter's network, and after them a description that is else as its own.

    Args:
        segmenter: the network, in float32.
        path: of the description; the weights go into `weights_beside`.
        remark: one line without a line break, which becomes the description's first.

    Raises:
        ZmaskError: a file cannot be written.
    """
    weights = weights_beside(path)
    entries = yaml.safe_load(segmenter.description.source.read_text()) | {"weights": weights.name}
    # Graphs are of the old weights.
    entries.pop("graphs", None)
    # Tensors may share memory, and a module's extra state need not be a tensor.
    state = {k: v for k, v in nn.Module.state_dict(segmenter.network).items() if isinstance(v, Tensor)}
    replace_file(weights, save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}))
    text = yaml.safe_dump(entries, sort_keys=False, default_flow_style=None, allow_unicode=True)
    replace_file(path, f"# {remark}\n{text}".encode())
