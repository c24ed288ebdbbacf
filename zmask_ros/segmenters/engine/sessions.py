"""Sessions of ONNX Runtime: where graphs run, and with how many threads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zmask_ros.errors import describe_error
from zmask_ros.segmenters.engine.cutting import CHANNELS_LAST, MAP, TO_PLANES
from zmask_ros.segmenters.engine.graphs import NOTES, EngineError, Notes
from zmask_ros.segmenters.engine.packages import onnxruntime

ON_CPU = ("OpenVINOExecutionProvider", "CPUExecutionProvider")
ON_GPU = ("TensorrtExecutionProvider", "CUDAExecutionProvider")
"""Execution providers in the order in which they are tried; those that an installation has not are left out."""


def providers(device: torch.device) -> list[str]:
    """The execution providers of this installation for a device, the first choice first.

    Raises:
        EngineError: ONNX Runtime is not installed.
    """
    wanted = (*ON_GPU, *ON_CPU) if device.type == "cuda" else ON_CPU
    there = onnxruntime().get_available_providers()
    return [name for name in wanted if name in there]


SETTINGS = {
    "session.inter_op.allow_spinning": "0",
    # Work is given out in pieces, the smaller the less is left: a thread that another process has put off its core does
    # less of it, and the others do not wait for its share. Without this, two threads beside busy processes are slower
    # than one.
    "session.dynamic_block_base": "4",
    # As torch: see `zmask_ros.denormals`.
    "session.set_denormal_as_zero": "1",
}
"""Of a session: what makes it share a machine, and treat tiny numbers as torch does."""
WITHOUT_SPINNING = {"session.intra_op.allow_spinning": "0"}
"""A thread that spins while it waits takes a core from whoever has work."""
SHORT_SPINNING = {"session.intra_op.allow_spinning": "1", "session.intra_op.spin_duration_us": "30"}
"""About as long as it takes to wake a thread that sleeps: most pauses within a pass are shorter, and nobody
beside it misses the core for so short a time."""
SPIN_DURATION_SINCE = (1, 26)
"""The version of ONNX Runtime that knows it; earlier ones spin for as long as they like."""
SMALL_MAPS = 1_500_000
"""Numbers that a graph is given, up to which evidence is made in one thread: of a small image, waking a second one for
each of many small operations takes longer than it saves."""


class GraphSession:
    """One graph, ready to run.

    Args:
        model: the graph, serialized.
        device: of the tensors that come in and go out.

    Attributes:
        notes: what the graph says of itself.
        provider: name of the execution provider that runs it.
        inputs: names of the tensors that it needs.
        options: ONNX Runtime's, by which it runs.

    Raises:
        EngineError: ONNX Runtime is not installed, or does not take the graph.
    """

    def __init__(self, model: bytes, device: torch.device) -> None:
        wanted = providers(device)
        self._device = device
        try:
            # As many as torch has, which makes the rest of a frame: the two take turns.
            self._session = _session(model, wanted, torch.get_num_threads())
            self.notes = Notes.from_json(self._session.get_modelmeta().custom_metadata_map[NOTES])
            if self.notes.evidence and self._numbers_given() <= SMALL_MAPS:
                self._session = _session(model, wanted, 1)
        except KeyError as error:
            raise EngineError("A graph is none of zmask export: write it again.") from error
        # Providers fail in many ways, and damaged files in more.
        except Exception as error:
            raise EngineError(f"ONNX Runtime does not take a graph: {describe_error(error)[:200]}.") from error
        self.provider = str(self._session.get_providers()[0]).removesuffix("ExecutionProvider")
        self.options = self._session.get_session_options()
        self.inputs = [value.name for value in self._session.get_inputs()]
        self._outputs = [value.name for value in self._session.get_outputs()]

    def _numbers_given(self) -> int:
        """How many numbers the graph is given for an image."""
        return sum(math.prod(side for side in value.shape if side) for value in self._session.get_inputs())

    def __call__(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors that the graph puts out, by name; those that it needs are among ``tensors``."""
        given = {name: _to_array(tensors[name]) for name in self.inputs}
        found = self._session.run(self._outputs, given)
        return {name: _to_tensor(array).to(self._device) for name, array in zip(self._outputs, found, strict=True)}


def _to_array(tensor: Tensor) -> np.ndarray:
    """A tensor as graphs take it: a map channels last."""
    ordered = tensor.permute(CHANNELS_LAST) if tensor.dim() == MAP else tensor
    return np.asarray(ordered.contiguous().cpu().numpy())


def _to_tensor(array: np.ndarray) -> Tensor:
    """What a graph puts out as the tensor that it stands for; nothing is copied."""
    tensor = torch.from_numpy(array)
    return tensor.permute(TO_PLANES) if array.ndim == MAP else tensor


def waiting(version: str) -> dict[str, str]:
    """The settings of how threads wait for work, for a version of ONNX Runtime, such as ``1.32.0``."""
    major, minor = version.split(".")[:2]
    return SHORT_SPINNING if (int(major), int(minor)) >= SPIN_DURATION_SINCE else WITHOUT_SPINNING


def _session(model: bytes, wanted: list[str], threads: int) -> Any:
    options = onnxruntime().SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    for name, value in (SETTINGS | waiting(onnxruntime().__version__)).items():
        options.add_session_config_entry(name, value)
    return onnxruntime().InferenceSession(model, options, providers=wanted)
