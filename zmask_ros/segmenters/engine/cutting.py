"""Export of a network as ONNX graphs that are cut where a defense acts: between them, activations can be changed."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from zmask_ros.errors import describe_error
from zmask_ros.segmenters.engine.graphs import NOTES, EngineError, Notes, Origin

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

INSTALL = "install it with 'pip install -r requirements/onnx.txt'"
OPSET = 17
IMAGE, LOGITS = "image", "logits"
"""Names of the tensors that come in and go out."""
LAYER = "layer/"
"""What the name of an activation begins with, before the layer's."""


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


def export(
    network: nn.Module,
    forward: Callable[[Tensor], Mapping[str, Tensor]],
    image: Tensor,
    cut: Cut,
    origin: Origin,
) -> list[bytes]:
    """The ONNX graphs of a network, in the order in which they run, with their `Notes` as metadata.

    Args:
        network: float32, on the CPU, in eval mode.
        forward: runs it on a batch of images, and gives `LOGITS` and the activations of layers by their names, in the
            order in which they run; those where it is cut are among them.
        image: a normalized image, [1, 3, h, w].
        cut: where to cut it.
        origin: what the graphs are made of.

    Raises:
        EngineError: the onnx package is missing, or the network cannot be exported; the sentence says why.
    """
    try:
        import onnx
    except ImportError as error:
        raise EngineError(f"A network is exported by the Python package onnx, which is missing: {INSTALL}.") from error
    try:
        layers, serialized = _trace(network, forward, image)
        whole = _Graph(onnx.load_from_string(serialized))
    # What torch and onnx cannot export they report in many ways.
    except Exception as error:
        reason = describe_error(error).partition("\n")[0][:200]
        raise EngineError(f"The network cannot be exported as ONNX: {reason}.") from error
    tensors = {layer: whole.source(LAYER + layer) for layer in layers}
    return _cut(whole, tensors, cut, origin)


def _trace(
    network: nn.Module, forward: Callable[[Tensor], Mapping[str, Tensor]], image: Tensor
) -> tuple[list[str], bytes]:
    """Names of the layers in the order in which they run, and the serialized model of the network as a whole."""
    with torch.inference_mode():
        layers = [name for name in forward(image) if name != LOGITS]
    outputs, file = [*(LAYER + name for name in layers), LOGITS], io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # That shapes become constants is what is wanted: the input has one size.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Traced(network, forward, (*layers, LOGITS)).eval(),
            (image,),
            file,
            dynamo=False,
            opset_version=OPSET,
            input_names=[IMAGE],
            output_names=outputs,
            dynamic_axes={name: {0: "batch"} for name in (IMAGE, *outputs)},
        )
    return layers, file.getvalue()


class _Traced(nn.Module):
    def __init__(
        self, network: nn.Module, forward: Callable[[Tensor], Mapping[str, Tensor]], names: Sequence[str]
    ) -> None:
        super().__init__()
        self.network, self._run, self._names = network, forward, names

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        found = self._run(image)
        return tuple(found[name] for name in self._names)


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
    """The stem, unless the rest needs more of the network than what it puts out, and the rest."""
    logits = whole.source(LOGITS)
    nodes = whole.before({*layers.values(), logits})
    if cut.stem is not None:
        end = layers[cut.stem]
        stem = whole.before({end})
        if whole.needed(nodes - stem) == [end]:
            return [_Part(stem, end, cut.reach), _Part(nodes - stem, logits, None)]
    return [_Part(nodes, logits, None)]


def _cut(whole: _Graph, layers: Mapping[str, str], cut: Cut, origin: Origin) -> list[bytes]:
    """The graphs between the cuts; of a part in which an activation is changed there are two."""
    parts = _parts(whole, layers, cut)
    acted = whole.before({layers[cut.acted]})
    pieces = [
        (nodes, number, part)
        for number, part in enumerate(parts)
        for nodes in (part.nodes & acted, part.nodes - acted)
        if nodes
    ]
    found = []
    for index, (nodes, number, part) in enumerate(pieces):
        later = set[int]().union(*(others for others, *_ in pieces[index + 1 :]))
        own = {layer: tensor for layer, tensor in layers.items() if tensor in whole.made_by(nodes)}
        wanted = {*own.values(), part.output, *whole.needed(later)}
        outputs = [name for name in whole.made_by(nodes) if name in wanted]
        model = whole.model(nodes, outputs, any_size=part.reach is not None)
        notes = Notes(origin, index, len(pieces), number, part.output, own, part.reach)
        model.metadata_props.add(key=NOTES, value=notes.to_json())
        found.append(model.SerializeToString())
    return found


class _Graph:
    """An ONNX model, for taking it apart; nodes are named by their numbers, in an order in which they can run.

    Raises:
        ValueError: there is something in it that cannot be taken apart.
    """

    def __init__(self, model: ModelProto) -> None:
        import onnx

        self._opset_imports, self._ir_version = model.opset_import, model.ir_version
        graph = onnx.shape_inference.infer_shapes(model).graph
        values = (*graph.value_info, *graph.input, *graph.output)
        self._values: dict[str, ValueInfoProto] = {value.name: value for value in values}
        self._constants: dict[str, TensorProto] = {tensor.name: tensor for tensor in graph.initializer}
        self._sources: dict[str, str] = {}
        self._makers: dict[str, NodeProto] = {}
        self._nodes: list[NodeProto] = []
        for node in graph.node:
            self._add(node)

    def source(self, name: str) -> str:
        """The tensor that ``name`` is a copy of; itself where it is none."""
        return self._sources.get(name, name)

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

    def model(self, nodes: set[int], outputs: Iterable[str], any_size: bool) -> ModelProto:
        """A model of these nodes, for batches of any size, and if ``any_size`` for images of any height and width."""
        from onnx import helper

        own = [self._nodes[number] for number in sorted(nodes)]
        used = {name for node in own for name in node.input}
        graph = helper.make_graph(
            own,
            "zmask",
            [self._value(name, any_size) for name in self.needed(nodes)],
            [self._value(name, any_size) for name in outputs],
            [tensor for name, tensor in self._constants.items() if name in used],
        )
        return helper.make_model(graph, opset_imports=self._opset_imports, ir_version=self._ir_version)

    def _add(self, node: NodeProto) -> None:
        if any(attribute.HasField("g") for attribute in node.attribute):
            raise ValueError(f"it branches by its values ({node.op_type})")
        node.input[:] = [self.source(name) for name in node.input]
        constant = self._constant(node)
        if constant is not None:
            constant.name = node.output[0]
            self._constants[constant.name] = constant
        elif node.op_type == "Identity":
            self._sources[node.output[0]] = node.input[0]
        else:
            self._nodes.append(node)
            self._makers |= dict.fromkeys(node.output, node)

    def _constant(self, node: NodeProto) -> TensorProto | None:
        """What a node puts out if that is known: the value of a constant, or a fixed side of a tensor."""
        from onnx import TensorProto, helper

        if node.op_type == "Constant" and node.attribute[0].HasField("t"):
            return node.attribute[0].t
        side = self._fixed_side(node)
        return None if side is None else helper.make_tensor(node.output[0], TensorProto.INT64, [], [side])

    def _fixed_side(self, node: NodeProto) -> int | None:
        """The length of a tensor's side, if that is what the node puts out and it is not the batch.

        Without this, whatever is brought to the size of the image would take the image itself across every cut.
        """
        from onnx import numpy_helper

        shape = self._makers.get(node.input[0]) if node.op_type == "Gather" else None
        if shape is None or shape.op_type != "Shape" or shape.attribute or node.input[1] not in self._constants:
            return None
        index = numpy_helper.to_array(self._constants[node.input[1]])
        value = self._values.get(shape.input[0])
        sides = [] if value is None else value.type.tensor_type.shape.dim
        if index.ndim or not -len(sides) <= int(index) < len(sides) or not sides[int(index)].HasField("dim_value"):
            return None
        return int(sides[int(index)].dim_value)

    def _value(self, name: str, any_size: bool) -> ValueInfoProto:
        from onnx import helper

        if name not in self._values:
            raise EngineError(f"The network cannot be cut: of its tensor {name} neither type nor shape is known.")
        kind = self._values[name].type.tensor_type
        if not any_size:
            return self._values[name]
        shape = [side.dim_value if axis == 1 else None for axis, side in enumerate(kind.shape.dim)]
        return helper.make_tensor_value_info(name, kind.elem_type, shape)
