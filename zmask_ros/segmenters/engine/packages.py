"""The Python packages of ONNX and ONNX Runtime, which not every installation has."""

from __future__ import annotations

import importlib
from typing import Any

from zmask_ros.segmenters.engine.graphs import EngineError


def onnx() -> Any:
    """The package that makes graphs and takes them apart.

    Raises:
        EngineError: it is not installed.
    """
    return _package("onnx")


def onnxruntime() -> Any:
    """The package that runs graphs.

    Raises:
        EngineError: it is not installed.
    """
    return _package("onnxruntime")


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise EngineError(
            f"The Python package {name} is missing: install it with 'pip install -r requirements/onnx.txt'."
        ) from error
