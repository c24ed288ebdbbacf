"""Graphs of a cut network, with what they say of themselves, in memory and in the files that `zmask export` writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, field
from pathlib import Path

from pydantic.dataclasses import dataclass

from zmask_ros.io.files import replace_file
from zmask_ros.segmenters.description import SegmenterError

NOTES = "zmask"
"""Key of a graph's metadata under which its `Notes` stand, as JSON."""
SUFFIX = ".onnx"
EXPECTED = "expected.safetensors"
"""File beside the graphs: what the network says in torch of the images that it is tried on."""
SHOWN = 12
"""Digits of a digest in a complaint."""


class EngineError(SegmenterError):
    """A network that cannot be exported, or graphs that cannot be used; the message is one sentence."""


@dataclass(frozen=True)
class Origin:
    """What graphs were made of.

    Attributes:
        weights: SHA-256 of the network's weights.
        profile: SHA-256 of the profile whose layers they put out.
    """

    weights: str
    profile: str


@dataclass(frozen=True)
class Notes:
    """What a graph says of itself.

    Attributes:
        origin: what it was made of.
        index: its place among the graphs of the network, from 0.
        graphs: how many these are.
        part: number of the part of the network that it belongs to, from 0: each makes one tensor of one.
        output: name of the tensor that the part puts out.
        layers: the tensor of each tapped layer that runs in it, by the layer's name, in the order in which they run.
        reach: how far the part sees from a cell of its output, in pixels of the image; None: as far as there are any.
        evidence: name of the evidence that it makes of tapped layers' activations; empty: it is a part of the network.
        heats: the tensor of each heat map of its evidence, by name.
    """

    origin: Origin
    index: int
    graphs: int
    part: int
    output: str
    layers: dict[str, str]
    reach: int | None = None
    evidence: str = ""
    heats: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Notes:
        """Inverse of `to_json`.

        Raises:
            ValueError: it is something else.
        """
        return Notes(**json.loads(text))


@dataclass(frozen=True)
class Export:
    """A network as it is exported.

    Attributes:
        models: its graphs, serialized, in the order in which they run.
        expected: what it says in torch of the images that it is tried on, as safetensors.
    """

    models: list[bytes]
    expected: bytes


def write_graphs(export: Export, folder: Path) -> list[Path]:
    """Write an export into ``folder``, which is made where there is none; returns the files, the graphs' first.

    Raises:
        ZmaskError: the folder cannot be written.
        EngineError: there are other graphs in it.
    """
    paths = [folder / f"{index}{SUFFIX}" for index in range(len(export.models))]
    others = set(folder.glob(f"*{SUFFIX}")) - set(paths)
    if others:
        raise EngineError(f"{folder} holds other graphs, such as {min(others).name}: name another folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EngineError(f"{folder} cannot be made: {error.strerror}.") from error
    paths.append(folder / EXPECTED)
    for path, content in zip(paths, (*export.models, export.expected), strict=True):
        replace_file(path, content)
    return paths


def read_graphs(folder: Path) -> Export:
    """What `write_graphs` wrote.

    Raises:
        EngineError: there are none.
    """
    paths = [folder / f"{index}{SUFFIX}" for index in range(len(list(folder.glob(f"*{SUFFIX}"))))]
    if not paths or not all(path.is_file() for path in (*paths, folder / EXPECTED)):
        raise EngineError(f"{folder} holds no graphs: write them with zmask export SEGMENTER -o {folder}.")
    try:
        return Export([path.read_bytes() for path in paths], (folder / EXPECTED).read_bytes())
    except OSError as error:
        raise EngineError(f"{folder} cannot be read: {error.strerror}.") from error


def check_notes(notes: Sequence[Notes], origin: Origin) -> None:
    """Refuse graphs that are not all of one network, or of another network or profile than ``origin``.

    Raises:
        EngineError: they are; the sentence says what differs.
    """
    for name in ("weights", "profile"):
        wanted = getattr(origin, name)
        found = {getattr(own.origin, name) for own in notes}
        if found != {wanted}:
            written = " and ".join(sorted(digest[:SHOWN] for digest in found))
            raise EngineError(
                f"The graphs were exported with other {name} ({written}, here: {wanted[:SHOWN]}): "
                "write them again with zmask export."
            )
    if [(own.index, own.graphs) for own in notes] != [(index, len(notes)) for index in range(len(notes))]:
        raise EngineError("Some of the graphs are missing, or of another export: write them again with zmask export.")
