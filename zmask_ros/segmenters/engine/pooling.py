"""Means over areas in exported graphs: what torch's exporter has no node for, where no whole number of cells is one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

POOLING = "aten::adaptive_avg_pool2d"


@contextmanager
def exporting_area_means(opset: int) -> Iterator[None]:
    """Context manager in which `torch.onnx.export` takes means over areas of maps from any size to any other."""
    torch.onnx.register_custom_op_symbolic(POOLING, _area_means, opset)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        torch.onnx.unregister_custom_op_symbolic(POOLING, opset)  # type: ignore[no-untyped-call]


def _area_means(graph: Any, maps: Any, wanted: Any) -> Any:
    """The nodes for `adaptive_avg_pool2d` of ``maps`` to a constant size."""
    sizes = maps.type().varyingSizes()[-2:]
    wanted = torch.onnx.symbolic_helper._maybe_get_const(wanted, "is")
    if wanted == [1, 1]:
        return graph.op("GlobalAveragePool", maps)
    if all(size % length == 0 for size, length in zip(sizes, wanted, strict=True)):
        steps = [size // length for size, length in zip(sizes, wanted, strict=True)]
        return graph.op("AveragePool", maps, kernel_shape_i=steps, strides_i=steps)
    rows, columns = (area_weights(size, length) for size, length in zip(sizes, wanted, strict=True))
    constants = [graph.op("Constant", value_t=weights) for weights in (rows, columns.T.contiguous())]
    return graph.op("MatMul", constants[0], graph.op("MatMul", maps, constants[1]))


def area_weights(length: int, wanted: int) -> Tensor:
    """How much each of ``length`` cells counts in each of ``wanted`` areas that they are averaged to: [wanted, length].

    An area has all cells that it touches, and a cell may be in two.
    """
    weights = torch.zeros(wanted, length)
    for area in range(wanted):
        first, end = area * length // wanted, -(-(area + 1) * length // wanted)
        weights[area, first:end] = 1 / (end - first)
    return weights
