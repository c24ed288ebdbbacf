"""What a segmenter is, as described by a file in ``config/segmenters``."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from zmask_ros.errors import ZmaskError
from zmask_ros.resources import roots

FOLDER = "config/segmenters"


class SegmenterError(ZmaskError):
    """A segmenter that cannot be described, built or loaded."""


@dataclass(frozen=True)
class ClassInfo:
    """One class: its name and its colour, RGB 0..255."""

    name: str
    colour: tuple[int, int, int]


@dataclass(frozen=True)
class Description:
    """How a network comes in.

    Attributes:
        name: the file's own name without its ending.
        source: the file.
        builder: a torchvision segmentation model's name, or ``module:function`` that returns an nn.Module.
        arguments: keyword arguments for the builder.
        weights: file, relative to the description; None for untrained weights.
        classes: in the order of the network's output channels.
        mean, std: of the RGB channels, for images in 0..1.
        input_size: (height, width) that the network is fed, in pixels.
        shallow_layers, deep_layers: names of the layers S and D that the defence taps.
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
    weights: Path | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)


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
    if not isinstance(entries, dict):
        raise SegmenterError(f"{path} must hold a mapping with the keys builder, classes, input_size, ...")
    try:
        return _parse(path, entries)
    except KeyError as error:
        raise SegmenterError(f"{path} lacks the entry {error}.") from error
    except (TypeError, ValueError) as error:
        raise SegmenterError(f"{path} has a malformed entry: {error}.") from error


def _parse(path: Path, entries: dict[str, Any]) -> Description:
    height, width = (int(v) for v in entries["input_size"])
    weights = entries.get("weights")
    layers = entries["layers"]
    return Description(
        name=path.stem,
        source=path,
        builder=str(entries["builder"]),
        classes=tuple(ClassInfo(str(name), _triple(colour, int)) for name, colour in entries["classes"].items()),
        mean=_triple(entries["mean"], float),
        std=_triple(entries["std"], float),
        input_size=(height, width),
        shallow_layers=tuple(layers["shallow"]),
        deep_layers=tuple(layers["deep"]),
        weights=(path.parent / weights).resolve() if weights else None,
        arguments=entries.get("arguments") or {},
    )


def _triple(values: Any, kind: type) -> Any:
    first, second, third = (kind(v) for v in values)
    return first, second, third
