"""Descriptions of segmenters: files in ``config/segmenters``, read and checked."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AliasPath, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from zmask_ros.errors import ZmaskError
from zmask_ros.inference import Runtime
from zmask_ros.resources import roots
from zmask_ros.validation import sentence

FOLDER = "config/segmenters"
MOST_CLASSES = 255
"""Labels are bytes, and 255 is the unlabelled one."""
Channel = Annotated[int, Field(ge=0, le=255, strict=True)]
Color = tuple[Channel, Channel, Channel]
"""RGB."""
Pixels = Annotated[int, Field(ge=1, strict=True)]
Mean = Annotated[float, Field(allow_inf_nan=False)]
Deviation = Annotated[float, Field(gt=0, allow_inf_nan=False)]
# A layer "0" may stand without its quotes; 1.10 without them has lost its last digit already.
LayerName = Annotated[str, BeforeValidator(lambda name: str(name) if isinstance(name, int) else name)]
LayerNames = tuple[LayerName, ...]


class SegmenterError(ZmaskError):
    """A segmenter that cannot be described, built or loaded."""


@dataclass(frozen=True, config=ConfigDict(populate_by_name=True))
class Description:
    """All that is needed to build a segmenter, and the layers that the defense taps.

    Attributes:
        name: the file's own name without its ending.
        source: the file.
        builder: a torchvision segmentation model's name, or ``module:function`` that returns an nn.Module.
        arguments: keyword arguments for the builder.
        weights: file, relative to the description; None for untrained weights.
        classes: name and color of each, in the order of the network's output channels.
        mean, std: of the RGB channels, for images in 0..1.
        input_size: (height, width) that the network is fed, in pixels.
        shallow_layers, deep_layers: names of the layers S and D that the defense taps; where both are empty, whoever
            fits a profile chooses.
        head_layers: layers of an evidence head, where calibration trains one; by default S and D.
        screen_layers: layers of a screening, where one is trained; by default the head's.
        precision: that the network computes in, as torch calls it.
        compiled: whether its blocks are compiled by `torch.compile`, which takes a while when it is loaded.
        runtime: what it runs in where frames are defended; it is fitted, calibrated and attacked in torch.
        graphs: folder that `zmask export` wrote, relative to the description; None: they are made when they are needed.
    """

    name: str
    source: Path
    builder: str
    classes: Annotated[dict[Annotated[str, BeforeValidator(str)], Color], Field(min_length=1, max_length=MOST_CLASSES)]
    mean: tuple[Mean, Mean, Mean]
    std: tuple[Deviation, Deviation, Deviation]
    input_size: tuple[Pixels, Pixels]
    shallow_layers: LayerNames = Field(validation_alias=AliasPath("layers", "shallow"), default=())
    deep_layers: LayerNames = Field(validation_alias=AliasPath("layers", "deep"), default=())
    head_layers: LayerNames = Field(
        validation_alias=AliasPath("layers", "head"),
        default_factory=lambda given: given["shallow_layers"] + given["deep_layers"],
    )
    screen_layers: LayerNames = Field(
        validation_alias=AliasPath("layers", "screen"), default_factory=lambda given: given["head_layers"]
    )
    weights: Path | None = None
    arguments: dict[str, Any] = Field(default_factory=dict)
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    compiled: Annotated[bool, Field(strict=True)] = Field(validation_alias="compile", default=False)
    runtime: Runtime = "torch"
    graphs: Path | None = None

    def entries(self, *names: str) -> str:
        """These entries of the file, for a sentence that says what to change."""
        return f"the {'entry' if len(names) == 1 else 'entries'} {' or '.join(names)} of {self.source}"


def descriptions() -> dict[str, Path]:
    """All description files that come with the package, by name; of one name the nearest counts."""
    found: dict[str, Path] = {}
    for root in roots():
        for path in sorted((root / FOLDER).glob("*.yaml")):
            found.setdefault(path.stem, path)
    return found


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
    known = descriptions()
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    raise SegmenterError(
        f"There is no segmenter '{name}': {hint}choose one of {', '.join(sorted(known)) or '(none)'}, "
        "or give a YAML file."
    )


def check_shipped(name: str) -> None:
    """Refuse the network that a profile names, where nobody has named one, unless it comes with the package.

    Raises:
        SegmenterError: it does not; the sentence says what to name.
    """
    if name not in descriptions():
        raise SegmenterError(
            f"The profile belongs to the network '{name}', which does not come with this package: name its "
            "YAML file with --segmenter."
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
    given = {str(name): value for name, value in entries.items()} | {"name": path.stem, "source": path}
    for name in ("weights", "graphs"):
        given[name] = (path.parent / str(given[name])).resolve() if given.get(name) else None
    given["arguments"], given["layers"] = given.get("arguments") or {}, given.get("layers") or {}
    if not isinstance(given["layers"], dict):
        raise SegmenterError(
            f"{path}: 'layers' is {given['layers']}, but should hold shallow and deep, or be left away."
        )
    try:
        return Description(**given)
    except ValidationError as error:
        raise SegmenterError(sentence(error, str(path))) from error
