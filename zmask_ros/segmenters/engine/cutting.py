"""Export of a network as ONNX graphs that are cut where a defense acts: between them, activations can be changed."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zmask_ros.errors import describe_error
from zmask_ros.segmenters.engine.graphs import NOTES, EngineError, Notes, Origin
from zmask_ros.segmenters.engine.packages import onnx
from zmask_ros.segmenters.engine.pooling import exporting_area_means

# What onnx reads and makes is generated from its protocol, and has no types: nodes, tensors, values and models.
Proto = Any
OPSET = 17
IMAGE, LOGITS = "image", "logits"
"""Names of the tensors that come in and go out."""
MAP = 4
"""Dimensions of a feature map."""
CHANNELS_LAST, TO_PLANES = (0, 2, 3, 1), (0, 3, 1, 2)
"""Orders of a map's dimensions, from [B, C, H, W] to [B, H, W, C] and back."""
HALF_PIXEL = (b"half_pixel", b"pytorch_half_pixel")
"""How ONNX calls resampling with `align_corners=False`."""
LAYER = "layer/"
"""What the name of an activation begins with, before the layer's."""
Heats = Mapping[str, Tensor]
"""Heat maps [B, 1, h, w] by name."""


@dataclass(frozen=True)
class Cut:
    """Where a network is cut.

    Attributes:
        acted: layer whose activation is changed on the way.
        stem: layer that all of the rest depends on alone; None: there is none.
        reach: how far the stem sees from a cell of its output, in pixels of the image.
    """

    acted: str
    stem: str | None = None
    reach: int = 0


@dataclass(frozen=True)
class Pass:
    """What a pass of a network puts out, and what is made of that.

    Attributes:
        logits: class scores, [B, K, H, W].
        layers: activations of layers by their names, in the order in which they run.
        evidence: heat maps that are made of these activations and nothing else, by the name of the evidence.
    """

    logits: Tensor
    layers: Mapping[str, Tensor]
    evidence: Mapping[str, Heats]

    @property
    def named(self) -> dict[str, Tensor]:
        """All tensors under the names that they have in a graph."""
        heats = {_heat(name, heat): own[heat] for name, own in self.evidence.items() for heat in own}
        return {LAYER + layer: tensor for layer, tensor in self.layers.items()} | {LOGITS: self.logits} | heats


def _heat(evidence: str, heat: str) -> str:
    return f"evidence/{evidence}/{heat}"


Forward = Callable[[Tensor], Pass]


def export(
    network: nn.Module,
    forward: Forward,
    image: Tensor,
    cut: Cut,
    origin: Origin,
) -> list[bytes]:
    """The ONNX graphs of a network, in the order in which they run, with their `Notes` as metadata.

    Args:
        network: float32, in eval mode.
        forward: runs it on a batch of images; the layers where it is cut are among those that it gives.
        image: a normalized image, [1, 3, h, w].
        cut: where to cut it.
        origin: what the graphs are made of.

    Raises:
        EngineError: the onnx package is missing, or the network cannot be exported; the sentence says why.
    """
    load = onnx().load_from_string
    try:
        traced, serialized = _trace(network, forward, image)
        whole = _Graph(load(serialized))
    # What torch and onnx cannot export they report in many ways.
    except Exception as error:
        reason = describe_error(error).partition("\n")[0][:200]
        raise EngineError(f"The network cannot be exported as ONNX: {reason}.") from error
    tensors = {layer: whole.source(LAYER + layer) for layer in traced.layers}
    evidence = {
        name: {heat: whole.source(_heat(name, heat)) for heat in heats} for name, heats in traced.evidence.items()
    }
    return _cut(whole, tensors, evidence, cut, origin)


def _trace(network: nn.Module, forward: Forward, image: Tensor) -> tuple[Pass, bytes]:
    """A pass, and the serialized model of the network as a whole."""
    with torch.no_grad():
        example = forward(image)
    outputs = list(example.named)
    place = tempfile.TemporaryDirectory()
    with (
        exporting_area_means(OPSET),
        _attention_of_parts(),
        place as folder,
        warnings.catch_warnings(),
        torch.no_grad(),
    ):
        file = Path(folder) / "whole.onnx"
        # That shapes become constants is what is wanted: the input has one size.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Traced(network, forward),
            (image,),
            file,
            dynamo=False,
            opset_version=OPSET,
            input_names=[IMAGE],
            output_names=outputs,
            dynamic_axes={name: {0: "batch"} for name in (IMAGE, *outputs)},
        )
        return example, file.read_bytes()


@contextmanager
def _attention_of_parts() -> Iterator[None]:
    """Context manager in which attention is made of operations that ONNX knows, and not of one that it does not."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


class _Traced(nn.Module):
    def __init__(self, network: nn.Module, forward: Forward) -> None:
        super().__init__()
        self.network, self._run = network, forward
        # Said here, so that nobody calls the network's own `train`.
        self.training = False

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        # torch's exporter turns its log on, whatever it is told, and prints the whole graph to stdout where it fails.
        torch._C._jit_set_onnx_log_enabled(False)
        return tuple(self._run(image).named.values())


@dataclass(frozen=True)
class _Part:
    """Nodes of a graph by their numbers, which make one tensor of one.

    Attributes:
        nodes: their numbers.
        output: name of the tensor that they make.
        reach: how far they see, in pixels; None: as far as there are any.
    """

    nodes: set[int]
    output: str
    reach: int | None


def _parts(whole: _Graph, layers: Mapping[str, str], cut: Cut) -> list[_Part]:
    """The stem, unless the rest needs more of the network than what it puts out, and the rest, if there is any."""
    logits = whole.source(LOGITS)
    if logits not in layers.values():
        logits = whole.unresampled(logits)
    nodes = whole.before({*layers.values(), logits})
    if cut.stem is None:
        return [_Part(nodes, logits, None)]
    end = layers[cut.stem]
    stem = whole.before({end})
    rest = nodes - stem
    if not rest:
        return [_Part(stem, logits, cut.reach)]
    if whole.needed(rest) != [end]:
        return [_Part(nodes, logits, None)]
    return [_Part(stem, end, cut.reach), _Part(rest, logits, None)]


def _cut(
    whole: _Graph, layers: Mapping[str, str], evidence: Mapping[str, dict[str, str]], cut: Cut, origin: Origin
) -> list[bytes]:
    """The graphs between the cuts, two of a part in which an activation is changed, and those that make evidence."""
    parts = _parts(whole, layers, cut)
    acted = whole.before({layers[cut.acted]})
    pieces = [
        (nodes, number, part)
        for number, part in enumerate(parts)
        for nodes in (part.nodes & acted, part.nodes - acted)
        if nodes
    ]
    found, graphs = [], len(pieces) + len(evidence)
    for index, (nodes, number, part) in enumerate(pieces):
        later = set[int]().union(*(others for others, *_ in pieces[index + 1 :]))
        own = {layer: tensor for layer, tensor in layers.items() if tensor in whole.made_by(nodes)}
        wanted = {*own.values(), part.output, *whole.needed(later)}
        outputs = [name for name in whole.made_by(nodes) if name in wanted]
        notes = Notes(origin, index, graphs, number, part.output, own, part.reach)
        found.append(whole.model(nodes, outputs, any_size=part.reach is not None, notes=notes))
    network = set[int]().union(*(part.nodes for part in parts))
    for index, (name, heats) in enumerate(evidence.items(), len(pieces)):
        nodes = whole.before(set(heats.values())) - network
        if not set(whole.needed(nodes)) <= set(layers.values()):
            raise EngineError(f"The {name} cannot be exported: it looks at more than the tapped layers.")
        notes = Notes(origin, index, graphs, len(parts), "", {}, None, name, heats)
        found.append(whole.model(nodes, list(dict.fromkeys(heats.values())), any_size=False, notes=notes))
    return found


class _Graph:
    """An ONNX model, for taking it apart; nodes are named by their numbers, in an order in which they can run.

    Raises:
        ValueError: there is something in it that cannot be taken apart.
    """

    def __init__(self, model: Proto) -> None:
        self._opset_imports, self._ir_version = model.opset_import, model.ir_version
        graph = onnx().shape_inference.infer_shapes(model).graph
        values = (*graph.value_info, *graph.input, *graph.output)
        self._values: dict[str, Proto] = {value.name: value for value in values}
        self._constants: dict[str, Proto] = {tensor.name: tensor for tensor in graph.initializer}
        self._sources: dict[str, str] = {}
        self._makers: dict[str, Proto] = {}
        self._nodes: list[Proto] = []
        for node in graph.node:
            self._add(node)

    def source(self, name: str) -> str:
        """The tensor that ``name`` is a copy of; itself where it is none."""
        return self._sources.get(name, name)

    def unresampled(self, name: str) -> str:
        """The tensor that ``name`` is brought to its size from, as `at_size` does with what is smaller.

        torch does that in half of the time, and labels need it in a part of the image only.
        """
        node = self._makers.get(name)
        if node is None or node.op_type != "Resize" or not self._is_map(node.input[0]):
            return name
        given = {attribute.name: attribute for attribute in node.attribute}
        bilinear = "mode" in given and given["mode"].s == b"linear" and "antialias" not in given
        centered = "coordinate_transformation_mode" in given and given["coordinate_transformation_mode"].s in HALF_PIXEL
        return str(node.input[0]) if bilinear and centered else name

    def made_by(self, nodes: set[int]) -> list[str]:
        """Names of the tensors that these nodes make."""
        return [name for number in sorted(nodes) for name in self._nodes[number].output if name]

    def needed(self, nodes: set[int]) -> list[str]:
        """Names of the tensors that these nodes take from elsewhere, each once; constants are left out."""
        made = set(self.made_by(nodes))
        names = (name for number in sorted(nodes) for name in self._nodes[number].input if name)
        return [name for name in dict.fromkeys(names) if name not in made and name not in self._constants]

    def before(self, ends: set[str]) -> set[int]:
        """The nodes that the tensors ``ends`` are made by, and all that these depend on.

        Raises:
            EngineError: no node makes one of them.
        """
        missing = ends - set(self._makers)
        if missing:
            raise EngineError("The network cannot be cut: a tapped layer passes on the image, or a constant.")
        wanted, found = set(ends), set[int]()
        for number in range(len(self._nodes) - 1, -1, -1):
            if wanted.intersection(self._nodes[number].output):
                found.add(number)
                wanted.update(self._nodes[number].input)
        return found

    def model(self, nodes: set[int], outputs: Sequence[str], any_size: bool, notes: Notes) -> bytes:
        """A model of these nodes, for batches of any size, and if ``any_size`` for images of any height and width.

        Feature maps come in and go out channels last, [B, H, W, C], as torch keeps them; engines arrange them within
        their convolutions anyway, and torch works on planes several times as slowly.
        """
        helper = onnx().helper
        inputs = self.needed(nodes)
        planes = {name: f"{name} planes" for name in (*inputs, *outputs) if self._is_map(name)}
        own = [self._renamed(self._nodes[number], planes) for number in sorted(nodes)]
        before = [_transpose(name, planes[name], TO_PLANES) for name in inputs if name in planes]
        behind = [_transpose(planes[name], name, CHANNELS_LAST) for name in outputs if name in planes]
        used = {name for node in own for name in node.input}
        graph = helper.make_graph(
            [*before, *own, *behind],
            "zmask",
            [self._value(name, any_size) for name in inputs],
            [self._value(name, any_size) for name in outputs],
            [tensor for name, tensor in self._constants.items() if name in used],
        )
        model = helper.make_model(graph, opset_imports=self._opset_imports, ir_version=self._ir_version)
        model.metadata_props.add(key=NOTES, value=notes.to_json())
        return bytes(model.SerializeToString())

    @staticmethod
    def _renamed(node: Proto, names: Mapping[str, str]) -> Proto:
        own = type(node)()
        own.CopyFrom(node)
        own.input[:] = [names.get(name, name) for name in node.input]
        own.output[:] = [names.get(name, name) for name in node.output]
        return own

    def _add(self, node: Proto) -> None:
        if any(attribute.HasField("g") for attribute in node.attribute):
            raise ValueError(f"it branches by its values ({node.op_type})")
        node.input[:] = [self.source(name) for name in node.input]
        constant = self._constant(node)
        if constant is not None:
            constant.name = node.output[0]
            self._constants[constant.name] = constant
        elif node.op_type == "Identity" or self._casts_nothing(node):
            self._sources[node.output[0]] = node.input[0]
        else:
            self._nodes.append(node)
            self._makers |= dict.fromkeys(node.output, node)

    def _casts_nothing(self, node: Proto) -> bool:
        """Whether a node makes the type of a tensor what it is already, which costs a copy."""
        value = self._values.get(node.input[0]) if node.op_type == "Cast" else None
        return value is not None and value.type.tensor_type.elem_type == node.attribute[0].i

    def _constant(self, node: Proto) -> Proto | None:
        """What a node puts out if that is known: the value of a constant, or a fixed side of a tensor."""
        if node.op_type == "Constant" and node.attribute[0].HasField("t"):
            return node.attribute[0].t
        side = self._fixed_side(node)
        return None if side is None else onnx().helper.make_tensor(node.output[0], onnx().TensorProto.INT64, [], [side])

    def _fixed_side(self, node: Proto) -> int | None:
        """The length of a tensor's side, if that is what the node puts out and it is not the batch.

        Without this, whatever is brought to the size of the image would take the image itself across every cut.
        """
        shape = self._makers.get(node.input[0]) if node.op_type == "Gather" else None
        if shape is None or shape.op_type != "Shape" or shape.attribute or node.input[1] not in self._constants:
            return None
        index = onnx().numpy_helper.to_array(self._constants[node.input[1]])
        value = self._values.get(shape.input[0])
        sides = [] if value is None else value.type.tensor_type.shape.dim
        if index.ndim or not -len(sides) <= int(index) < len(sides) or not sides[int(index)].HasField("dim_value"):
            return None
        return int(sides[int(index)].dim_value)

    def _is_map(self, name: str) -> bool:
        """Whether a tensor is a feature map, [B, C, H, W].

        Raises:
            EngineError: its type or its shape is not known.
        """
        if name not in self._values or not self._values[name].type.tensor_type.HasField("shape"):
            raise EngineError(f"The network cannot be cut: of its tensor '{name}' type or shape is not known.")
        return len(self._values[name].type.tensor_type.shape.dim) == MAP

    def _value(self, name: str, any_size: bool) -> Proto:
        """Type and shape of what comes in or goes out under this name."""
        helper = onnx().helper
        if not self._is_map(name):
            return self._values[name]
        kind = self._values[name].type.tensor_type
        _, *sides = (side.dim_value if side.HasField("dim_value") else None for side in kind.shape.dim)
        shape = [None, None, None, sides[0]] if any_size else [None, sides[1], sides[2], sides[0]]
        return helper.make_tensor_value_info(name, kind.elem_type, shape)


def _transpose(taken: str, made: str, order: Sequence[int]) -> Proto:
    return onnx().helper.make_node("Transpose", [taken], [made], perm=order)
