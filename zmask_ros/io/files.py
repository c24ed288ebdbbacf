"""Places that results are written to: checked before the work, replaced in one step after it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from zmask_ros.errors import ZmaskError


def check_place(path: Path) -> None:
    """Refuse a place for a file before minutes are spent on it.

    Raises:
        ZmaskError: the folder does not exist or is read-only, or ``path`` is a folder.
    """
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ZmaskError(f"The folder {folder} does not exist: create it first.")
    if path.is_dir():
        raise ZmaskError(f"{path} is a folder: name a file in it.")
    probe = folder / f".zmask-{os.getpid()}"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ZmaskError(f"The folder {folder} is read-only: choose another place for {path.name}.") from error


def check_apart(output: Path, read: Path) -> None:
    """Refuse a place whose replacement would take away what is read.

    Raises:
        ZmaskError: one is the other, or lies in it.
    """
    written, own = output.resolve(), read.resolve()
    if written.is_relative_to(own) or own.is_relative_to(written):
        raise ZmaskError(f"{output} is the bag that is read, or lies in it or around it: name another place.")


def make_folder(folder: Path) -> None:
    """Make ``folder`` and those above it where they do not exist.

    Raises:
        ZmaskError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ZmaskError(f"The folder {folder} cannot be made: {error.strerror}.") from error


def replace_file(path: Path, content: bytes) -> None:
    """Write ``content`` into another file of the folder, then rename it: a reader never sees half of it.

    Raises:
        ZmaskError: the place cannot be written to.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except BaseException as error:
        # A disk that has become read-only refuses this, too.
        with suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError):
            raise ZmaskError(f"{path} cannot be written: {error.strerror}.") from error
        raise
