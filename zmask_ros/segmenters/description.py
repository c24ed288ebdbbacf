"""Descriptions of segmenters: files in ``config/segmenters``, read and checked."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from zmask_ros.errors import ZmaskError
from zmask_ros.resources import roots

FOLDER = "config/segmenters"
MOST_CLASSES = 255
"""Labels are bytes, and 255 is the unlabelled one."""
PRECISIONS = ("float32", "bfloat16", "float16")
"""As torch calls them."""


class SegmenterError(ZmaskError):
    """A segmenter that cannot be described, built or loaded."""


@dataclass(frozen=True)
class ClassInfo:
    """One class: its name and its color, RGB in 0..255."""

    name: str
    color: tuple[int, int, int]


@dataclass(frozen=True)
class Description:
    """All that is needed to build a segmenter, and the layers that the defense taps.

    Attributes:
        name: the file's own name without its ending.
        source: the file.
        builder: a torchvision segmentation model's name, or ``module:function`` that returns an nn.Module.
        arguments: keyword arguments for the builder.
        weights: file, relative to the description; None for untrained weights.
        classes: in the order of the network's output channels.
        mean, std: of the RGB channels, for images in 0..1.
        input_size: (height, width) that the network is fed, in pixels.
        shallow_layers, deep_layers: names of the layers S and D that the defense taps.
        head_layers: layers of an evidence head, where calibration trains one; by default S and D.
        screen_layers: layers of a screening, where one is trained; by default the head's.
        precision: that the network computes in: one of `PRECISIONS`.
        compiled: whether its blocks are compiled by `torch.compile`, which takes a while when it is loaded.
    """

    name: str
    source: Path
    builder: str
    classes: tuple[ClassInfo, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    input_size: tuple[int, int]
    shallow_layers: tuple[str, ...]
    deep_layers: tuple[str, ...]
    head_layers: tuple[str, ...]
    screen_layers: tuple[str, ...]
    weights: Path | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    precision: str = "float32"
    compiled: bool = False


def descriptions() -> Iterator[Path]:
    """All description files that come with the package, each name once."""
    seen = set()
    for root in roots():
        for path in sorted((root / FOLDER).glob("*.yaml")):
            if path.stem not in seen:
                seen.add(path.stem)
                yield path


def find_description(name: str) -> Path:
    """The file of segmenter ``name``: a path to a YAML file, or a name from ``config/segmenters``.

    Raises:
        SegmenterError: there is none; the sentence lists the names that there are.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if path.is_file():
            return path
        raise SegmenterError(f"There is no segmenter description {path}.")
    known = {path.stem: path for path in descriptions()}
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    raise SegmenterError(
        f"There is no segmenter '{name}': {hint}choose one of {', '.join(sorted(known)) or '(none)'}, "
        "or give a YAML file."
    )


def read_description(name: str) -> Description:
    """Read and check the description of segmenter ``name``.

    Raises:
        SegmenterError: the file is missing, is no YAML, or an entry is missing or malformed.
    """
    path = find_description(name)
    try:
        entries = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SegmenterError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from error
    except OSError as error:
        raise SegmenterError(f"{path} cannot be read: {error.strerror}.") from error
    if not isinstance(entries, dict):
        raise SegmenterError(f"{path} must hold a mapping with the keys builder, classes, input_size, ...")
    try:
        return _parse(path, entries)
    except KeyError as error:
        raise SegmenterError(f"{path} lacks the entry {error}.") from error
    except (TypeError, ValueError) as error:
        raise SegmenterError(f"{path} has a malformed entry: {error}.") from error


def _parse(path: Path, entries: dict[str, Any]) -> Description:
    weights = entries.get("weights")
    layers = _mapping(entries["layers"], "layers")
    head = layers.get("head", [*layers["shallow"], *layers["deep"]])
    return Description(
        name=path.stem,
        source=path,
        builder=str(entries["builder"]),
        classes=_classes(entries["classes"]),
        mean=_channels(entries["mean"], "mean"),
        std=_deviations(entries["std"]),
        input_size=_input_size(entries["input_size"]),
        shallow_layers=_layer_names(layers["shallow"], "shallow"),
        deep_layers=_layer_names(layers["deep"], "deep"),
        head_layers=_layer_names(head, "head"),
        screen_layers=_layer_names(layers.get("screen", head), "screen"),
        weights=(path.parent / str(weights)).resolve() if weights else None,
        arguments=_mapping(entries.get("arguments") or {}, "arguments"),
        precision=_precision(entries.get("precision", "float32")),
        compiled=_switch(entries.get("compile", False), "compile"),
    )


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"'{name}' must be a mapping and not {value!r}")
    return {str(key): item for key, item in value.items()}


def _classes(value: Any) -> tuple[ClassInfo, ...]:
    classes = tuple(ClassInfo(name, _color(color, name)) for name, color in _mapping(value, "classes").items())
    if not 1 <= len(classes) <= MOST_CLASSES:
        raise ValueError(f"'classes' must be 1 to {MOST_CLASSES}, not {len(classes)}")
    return classes


def _color(value: Any, name: str) -> tuple[int, int, int]:
    if not (_is_list(value, 3) and all(isinstance(part, int) and 0 <= part <= 255 for part in value)):
        raise ValueError(f"the colour of class '{name}' must be [red, green, blue], each 0 to 255, not {value!r}")
    red, green, blue = value
    return red, green, blue


def _channels(value: Any, name: str) -> tuple[float, float, float]:
    numbers = [float(part) for part in value] if _is_list(value, 3) else []
    if not numbers or not all(map(math.isfinite, numbers)):
        raise ValueError(f"'{name}' must be three numbers, one for each of red, green and blue, not {value!r}")
    red, green, blue = numbers
    return red, green, blue


def _deviations(value: Any) -> tuple[float, float, float]:
    std = _channels(value, "std")
    if min(std) <= 0:
        raise ValueError(f"'std' must be above 0, not {value!r}")
    return std


def _input_size(value: Any) -> tuple[int, int]:
    if not (_is_list(value, 2) and all(isinstance(part, int) and part > 0 for part in value)):
        raise ValueError(f"'input_size' must be [height, width] in pixels, each at least 1, not {value!r}")
    height, width = value
    return height, width


def _precision(value: Any) -> str:
    if value not in PRECISIONS:
        raise ValueError(f"'precision' must be one of {', '.join(PRECISIONS)}, not {value!r}")
    return str(value)


def _switch(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"'{name}' must be true or false, not {value!r}")
    return value


def _layer_names(value: Any, name: str) -> tuple[str, ...]:
    # A layer "0" may stand without its quotes; 1.10 without them has lost its last digit already.
    if not isinstance(value, list) or not all(isinstance(layer, str | int) for layer in value):
        raise ValueError(f"'layers.{name}' must be a list of names, in quotes if they look like numbers, not {value!r}")
    return tuple(str(layer) for layer in value)


def _is_list(value: Any, length: int) -> bool:
    return isinstance(value, list) and len(value) == length
