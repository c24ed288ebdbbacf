"""Results of tasks on disk: what was done stays done when the driver dies."""

from __future__ import annotations

import hashlib
from pathlib import Path

from zmask_ros.io.files import make_folder, replace_file


def results_of(output: Path) -> Path:
    """Where the results of tasks are kept until ``output`` is there."""
    return output.with_name(f"{output.name}.parts")


class ResultFolder:
    """A folder with one file for each task that is done.

    Args:
        folder: made where it does not exist.
        identity: of the work; results of other work are not found.

    Raises:
        ZmaskError: the folder cannot be made.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        make_folder(folder)
        self.folder, self._identity = folder, identity

    def place(self, *task: object) -> Path:
        """Where the result of a task stands once it is done."""
        digest = hashlib.sha256("\n".join([self._identity, *map(str, task)]).encode()).hexdigest()
        return self.folder / f"{digest[:32]}.result"

    def keep(self, place: Path, content: bytes) -> None:
        """Write a result; there is never half of one.

        Raises:
            ZmaskError: it cannot be written.
        """
        replace_file(place, content)
