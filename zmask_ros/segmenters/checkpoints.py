"""Files of weights, read without running code: safetensors, and checkpoints of torch."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from zmask_ros.errors import describe_error
from zmask_ros.segmenters.description import SegmenterError

_CONTAINERS = ("list", "dict", "set", "tuple", "int", "float", "str")
"""What the defaultdicts of a file are made of."""
HOW_TO_SAVE = "save its weights with torch.save(network.state_dict(), 'weights.pth')"


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a file.

    Attributes:
        path: the file.
        tensors: by name, within the name of what holds it: "state_dict" and "a.weight" for a wrapped one, "" and
            "a.weight" for one that stands for itself.
        has_modules: whether whole modules were pickled into it, which are not read.
    """

    path: Path
    tensors: dict[tuple[str, str], Tensor]
    has_modules: bool = False


def read_checkpoint(path: Path) -> Checkpoint:
    """All tensors in a file; what stands beside them, such as the epoch and hyperparameters, is left out.

    Raises:
        SegmenterError: no such file, one without tensors, or one that would have to run code to be read.
    """
    if not path.is_file():
        raise SegmenterError(f"The weights {path} do not exist.")
    checkpoint = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    if checkpoint.has_modules and not checkpoint.tensors:
        raise SegmenterError(f"The weights {path} hold a whole pickled module, which is code: {HOW_TO_SAVE}.")
    if not checkpoint.tensors:
        raise SegmenterError(f"The weights {path} hold no state dict of tensors: {HOW_TO_SAVE}.")
    return checkpoint


def _read_safetensors(path: Path) -> Checkpoint:
    try:
        return Checkpoint(path, {("", name): tensor for name, tensor in load_file(path).items()})
    except (SafetensorError, OSError) as error:
        raise SegmenterError(f"The weights {path} are damaged or cannot be read: {describe_error(error)}.") from error


def _read_torch(path: Path) -> Checkpoint:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if any("/code/" in name or name.endswith("constants.pkl") for name in names):
            raise SegmenterError(
                f"The weights {path} are a TorchScript archive, whose layers cannot be tapped: {HOW_TO_SAVE}."
            )
    try:
        strangers = _foreign_names(path)
        with safe_globals([(_placeholder_of(name), name) for name in strangers]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    # torch names what it does not read in many ways, and damaged files fail in more.
    except Exception as error:
        if not (zipfile.is_zipfile(path) or _begins_as_pickle(path)):
            raise SegmenterError(
                f"The weights {path} are damaged or no checkpoint of torch: copy or download them again."
            ) from error
        raise SegmenterError(
            f"The weights {path} cannot be read safely, without running code of the file: {HOW_TO_SAVE}."
        ) from error
    return Checkpoint(path, dict(_tensors(content)), any(name.startswith("torch.nn.") for name in strangers))


def _begins_as_pickle(path: Path) -> bool:
    """Whether a file begins as those from before torch 1.6 do."""
    with path.open("rb") as stream:
        return stream.read(1) == pickle.PROTO


def _foreign_names(path: Path) -> list[str]:
    """The classes and functions, other than torch's tensors, that a file names.

    Raises:
        ValueError: functions of Python itself are among them, such as ``exec``: nobody keeps these beside weights.
    """
    # Files from before torch 1.6 are no zip files: they are read only if they name none.
    names = get_unsafe_globals_in_checkpoint(path) if zipfile.is_zipfile(path) else []
    if any(
        package == "builtins" and name not in _CONTAINERS for package, _, name in (one.partition(".") for one in names)
    ):
        raise ValueError(names)
    return names


class _Nothing:
    """In place of an object whose state may be anything, such as a number of numpy's: it keeps nothing."""

    def __new__(cls, *_arguments: object) -> _Nothing:
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None: ...


class _NoEntries:
    """In place of an object with attributes or entries: becomes a dict, the one kind that torch lets be filled."""

    def __new__(cls, *_arguments: object) -> Any:
        return OrderedDict()


def _placeholder_of(name: str) -> type:
    """What a file's object is made of in place of its own class, which is neither imported nor run."""
    return _Nothing if name.startswith("numpy.") else _NoEntries


def _tensors(content: object, holder: str = "") -> Iterator[tuple[tuple[str, str], Tensor]]:
    """The tensors of nested dicts, each with the dotted name of its dict, and its own."""
    if not isinstance(content, Mapping):
        return
    for name, value in content.items():
        if isinstance(value, Tensor):
            yield (holder, str(name)), value
        else:
            yield from _tensors(value, f"{holder}.{name}" if holder else str(name))
