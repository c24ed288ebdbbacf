"""Libraries that only a fleet needs, imported where they are used."""

from __future__ import annotations

import importlib
import os
from typing import Any

from zmask_ros.errors import ZmaskError

INSTALL = "pip install 'zmask_ros[desk,fleet]'"


def import_ray() -> Any:
    """Ray.

    Raises:
        ZmaskError: it is not installed.
    """
    # Read while Ray is imported: nothing about its use leaves the machine.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    return _imported("ray", "Ray")


def import_fsspec() -> Any:
    """Fsspec.

    Raises:
        ZmaskError: it is not installed.
    """
    return _imported("fsspec", "fsspec")


def import_parquet() -> Any:
    """The reader of Parquet files.

    Raises:
        ZmaskError: it is not installed.
    """
    return _imported("pyarrow.parquet", "pyarrow")


def _imported(module: str, name: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ZmaskError(f"{name} is not installed: {INSTALL}.") from None
