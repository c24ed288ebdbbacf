"""Files of an earlier run that need not be made again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import zmask_ros
from zmask_ros.io.files import replace_file

_PACKAGE = Path(zmask_ros.__file__).resolve().parent


def source_digest(*parts: str) -> str:
    """SHA-256 of the Python sources of parts of this package, such as ``data/street`` or ``errors.py``."""
    digest = hashlib.sha256()
    for part in parts:
        place = _PACKAGE / part
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(path.relative_to(_PACKAGE).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


class Origins:
    """A file that remembers what each of the files in its folder was made from."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def is_current(self, file: Path, origin: str) -> bool:
        """Whether ``file`` is there and was made from ``origin``, a digest of everything that it follows from."""
        return file.exists() and self._origins().get(file.name) == origin

    def note(self, file: Path, origin: str) -> None:
        """Remember that ``file`` was made from ``origin``."""
        origins = self._origins() | {file.name: origin}
        replace_file(self._path, json.dumps(origins, indent=1).encode())

    def _origins(self) -> dict[str, str]:
        try:
            origins = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return {}
        return origins if isinstance(origins, dict) else {}
