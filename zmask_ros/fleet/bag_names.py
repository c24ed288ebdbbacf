"""Which bags are meant: paths, globs, folders of bags, addresses in object stores, and lists of all these in a file."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from zmask_ros.errors import ZmaskError
from zmask_ros.fleet.libraries import import_fsspec, import_parquet
from zmask_ros.io.bags.storage_files import is_storage_file

COLUMN = "bag"
"""Of a manifest in Parquet."""
GLOB = frozenset("*?[")


def is_remote(name: str) -> bool:
    """Whether a bag lies in an object store or on a web server."""
    return "://" in name


def readable_anywhere(name: str) -> str:
    """A name that means the same to a process with another working directory: addresses stay as they are."""
    return name if is_remote(name) else os.path.abspath(name)


def segmenter_anywhere(name: str) -> str:
    """The same of a segmenter, which is named by its description or by a name that means the same everywhere."""
    return os.path.abspath(name) if os.path.exists(name) else name


def file_system(name: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it.

    Raises:
        ZmaskError: nobody knows such addresses, or the library for them is not installed.
    """
    try:
        system, path = import_fsspec().core.url_to_fs(name)
    except (ImportError, ValueError) as error:
        raise ZmaskError(f"{name} cannot be read: {str(error).rstrip('.')}.") from error
    return system, path


def named_bags(names: Sequence[str]) -> list[str]:
    """The bags that these names stand for, in their order, each once.

    Args:
        names: a bag; a glob of bags; a folder with bags in it; an address such as `s3://bucket/drives/*.mcap`; or a
            manifest, a `.txt` file with a name a line or a `.parquet` file with a column ``bag``.

    Raises:
        ZmaskError: a glob or folder has no bags, or a manifest cannot be read.
    """
    return list(dict.fromkeys(bag for name in names for bag in _expanded(name)))


def _expanded(name: str) -> Iterator[str]:
    if name.endswith((".txt", ".parquet")):
        for line in _manifest(name):
            yield from _expanded(line)
        return
    if is_storage_file(PurePosixPath(name).name) and not GLOB & set(name):
        yield name
        return
    system, path = file_system(name) if is_remote(name) else (None, name)
    yield from _matching(name, system, path) if GLOB & set(name) else _in_folder(name, system, path)


def _matching(name: str, system: Any, path: str) -> list[str]:
    matches = sorted(glob.glob(path)) if system is None else sorted(map(system.unstrip_protocol, system.glob(path)))
    found = [match for match in matches if _is_bag(match, system)]
    if not found:
        raise ZmaskError(f"No bags match {name}.")
    return found


def _is_bag(name: str, system: Any) -> bool:
    """Whether what matches a glob is a bag: a storage file, or a folder."""
    if is_storage_file(PurePosixPath(name).name):
        return True
    return bool(os.path.isdir(name) if system is None else system.isdir(name))


def _in_folder(name: str, system: Any, path: str) -> list[str]:
    """The bag that is this folder, or those that are somewhere below it."""
    if system is None:
        folders = [Path(folder) for folder, _, files in os.walk(name) if any(map(is_storage_file, files))]
        found = sorted(map(str, folders))
    else:
        files = [file for file in system.find(path) if is_storage_file(PurePosixPath(file).name)]
        found = sorted({system.unstrip_protocol(str(PurePosixPath(file).parent)) for file in files})
    # Who names one path that is no bag hears so where it is read, as of every other bag.
    return found or [name]


def _manifest(name: str) -> list[str]:
    """The names in a manifest; relative ones are relative to it."""
    try:
        if is_remote(name):
            system, path = file_system(name)
            content = system.cat_file(path)
        else:
            content = Path(name).read_bytes()
    except OSError as error:
        raise ZmaskError(f"The list of bags {name} cannot be read: {error.strerror or error}.") from error
    lines = _parquet(name, content) if name.endswith(".parquet") else content.decode(errors="replace").splitlines()
    names = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not names:
        raise ZmaskError(f"The list of bags {name} is empty.")
    folder = name.rpartition("/")[0]
    return [line if is_remote(line) or line.startswith("/") or not folder else f"{folder}/{line}" for line in names]


def _parquet(name: str, content: bytes) -> list[str]:
    from io import BytesIO

    parquet = import_parquet()
    try:
        table = parquet.read_table(BytesIO(content), columns=[COLUMN])
        return [str(entry) for entry in table.column(COLUMN).to_pylist() if entry is not None]
    # pyarrow's errors have no common class, and a missing column is a KeyError.
    except (OSError, ValueError, KeyError) as error:
        raise ZmaskError(f"{name} is no Parquet file with a column '{COLUMN}': {error}.") from error
