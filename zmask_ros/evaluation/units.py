"""Pieces of work that are done once: each result is a file, and is used again while what decides it is unchanged."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zmask_ros.errors import ZmaskError
from zmask_ros.files import replace_file


@dataclass(frozen=True)
class Unit:
    """One piece of work.

    Attributes:
        name: unique within an evaluation; the file is named after it.
        decided_by: everything that the result depends on, JSON-ready.
    """

    name: str
    decided_by: dict[str, Any]

    @property
    def key(self) -> str:
        """SHA-256 of what decides the result, hexadecimal."""
        return hashlib.sha256(json.dumps(self.decided_by, sort_keys=True).encode()).hexdigest()

    @property
    def file_name(self) -> str:
        """A name that any file system takes; short digests keep names apart that differ in other letters only."""
        plain = re.sub(r"[^a-z0-9.]+", "_", self.name.lower())
        return f"{plain}-{hashlib.sha256(self.name.encode()).hexdigest()[:6]}"


class UnitStore:
    """The results that are in ``folder``, which is made where it does not exist.

    Raises:
        ZmaskError: the folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        make_folder(folder)

    def path(self, unit: Unit) -> Path:
        """Where the result of ``unit`` lies."""
        return self._folder / f"{unit.file_name}.json"

    def get(self, unit: Unit) -> Any:
        """The result of ``unit``; None where there is none, or one of something else."""
        try:
            kept = json.loads(self.path(unit).read_text())
        except (OSError, ValueError):
            return None
        return kept["result"] if isinstance(kept, dict) and kept.get("key") == unit.key else None

    def put(self, unit: Unit, result: Any) -> None:
        """Keep ``result``, which is JSON-ready."""
        content = {"key": unit.key, "name": unit.name, "decided_by": unit.decided_by, "result": result}
        replace_file(self.path(unit), json.dumps(content).encode())


def make_folder(folder: Path) -> None:
    """Make ``folder`` and those above it where they do not exist.

    Raises:
        ZmaskError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ZmaskError(f"The folder {folder} cannot be made: {error.strerror}.") from error
