"""Bags from elsewhere, kept on this machine's disk while somebody reads them, and as long as there is room."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from zmask_ros.errors import ZmaskError, describe_error
from zmask_ros.fleet.bag_names import file_system, is_remote
from zmask_ros.fleet.libraries import import_fsspec
from zmask_ros.io.bags.storage_files import is_storage_file

GIB = 1 << 30
WAIT_S = 0.5
CONTENT, SIZE, LOCK = "bag", "size", "lock"


def default_folder() -> Path:
    """Where bags are kept; each user has another place."""
    return Path(tempfile.gettempdir()) / f"zmask_bags_{os.getuid()}"


@dataclass(frozen=True)
class BagCache:
    """A folder with fetched bags, which all processes of the machine share.

    Attributes:
        folder: of the cache.
        most_bytes: that all bags in it take.
    """

    folder: Path = field(default_factory=default_folder)
    most_bytes: int = 20 * GIB

    @contextmanager
    def local(self, name: str, beat: Callable[[], None] = lambda: None) -> Iterator[Path]:
        """Where a bag can be read, fetched if need be; it stays there to the end of the ``with``.

        Args:
            name: a path, or an address.
            beat: called while it is fetched, or waited for.

        Raises:
            ZmaskError: it cannot be fetched, or is larger than the cache.
        """
        if not is_remote(name):
            yield Path(name)
            return
        files = _Files.of(name)
        entry = self.folder / files.digest
        entry.mkdir(parents=True, exist_ok=True)
        with _locked(entry / LOCK, fcntl.LOCK_EX, beat):
            if not (entry / CONTENT).exists():
                self._make_room(entry, files.size, beat)
                files.fetch(entry / CONTENT, beat)
            os.utime(entry, ns=(time.time_ns(), time.time_ns()))
        # Somebody may take it away in this moment, and then it is fetched again.
        with _locked(entry / LOCK, fcntl.LOCK_SH, beat):
            if (entry / CONTENT).exists():
                yield entry / CONTENT / files.name
                return
        with self.local(name, beat) as path:
            yield path

    def _make_room(self, entry: Path, size: int, beat: Callable[[], None]) -> None:
        """Reserve ``size`` bytes for an entry; of the bags that nobody reads, the oldest go."""
        if size > self.most_bytes:
            raise ZmaskError(
                f"the bag has {size / GIB:.2f} GiB, more than the {self.most_bytes / GIB:.2f} GiB of the cache: "
                "give it more with --cache"
            )
        while True:
            with _locked(self.folder / LOCK, fcntl.LOCK_EX, beat):
                others = sorted(
                    (each for each in self.folder.iterdir() if each.is_dir() and each != entry),
                    key=lambda each: each.stat().st_mtime,
                )
                taken = sum(map(_size, others))
                for other in others:
                    if taken + size > self.most_bytes and _size(other):
                        taken -= _emptied(other)
                if taken + size <= self.most_bytes:
                    (entry / SIZE).write_text(str(size))
                    return
            beat()
            time.sleep(WAIT_S)


def _size(entry: Path) -> int:
    place = entry / SIZE
    return int(place.read_text() or 0) if place.exists() else 0


def _emptied(entry: Path) -> int:
    """The bytes that are free once an entry is empty; 0 where somebody uses it."""
    with (entry / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        size = _size(entry)
        shutil.rmtree(entry / CONTENT, ignore_errors=True)
        (entry / SIZE).unlink(missing_ok=True)
        return size


@contextmanager
def _locked(place: Path, kind: int, beat: Callable[[], None]) -> Iterator[IO[str]]:
    """The lock of a file, which a process that dies gives back."""
    with place.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, kind | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                beat()
                time.sleep(WAIT_S)
        yield lock


@dataclass(frozen=True)
class _Files:
    """The files of a bag that lies elsewhere.

    Attributes:
        system: the file system.
        name: of the bag.
        paths: of its files in the system, by their paths in the bag; the bag is a file where that path is empty.
        size: of all, bytes.
        digest: another one where a file was changed.
    """

    system: Any
    name: str
    paths: dict[str, str]
    size: int
    digest: str

    @staticmethod
    def of(name: str) -> _Files:
        """The files of the bag at an address.

        Raises:
            ZmaskError: there is none.
        """
        system, path = file_system(name)
        own = PurePosixPath(path).name
        # Each library has errors of its own.
        try:
            paths = {"": path} if is_storage_file(own) else _folder(system, path)
            infos = [system.info(each) for each in paths.values()]
        except Exception as error:
            raise ZmaskError(f"{name} cannot be read: {describe_error(error)}") from error
        sizes = [info.get("size") for info in infos]
        if not paths or None in sizes:
            raise ZmaskError(f"There is no bag at {name}." if not paths else f"{name} does not say how large it is.")
        changes = [str(info.get(key)) for info in infos for key in ("size", "ETag", "etag", "LastModified", "mtime")]
        digest = hashlib.sha256(json.dumps([name, sorted(paths), changes]).encode()).hexdigest()[:32]
        return _Files(system, own, paths, sum(size for size in sizes if size is not None), digest)

    def fetch(self, place: Path, beat: Callable[[], None]) -> None:
        """Fetch them into a folder that is there as a whole, or not at all."""
        partial, callback = place.with_suffix(".partial"), import_fsspec().callbacks.Callback()
        # It is called for each block that is written.
        callback.call = lambda *_, **__: beat()
        shutil.rmtree(partial, ignore_errors=True)
        try:
            for inside, path in self.paths.items():
                target = partial / self.name / inside
                target.parent.mkdir(parents=True, exist_ok=True)
                self.system.get_file(path, str(target), callback=callback)
        except Exception as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise ZmaskError(f"{self.name} cannot be fetched: {describe_error(error)}") from error
        partial.rename(place)


def _folder(system: Any, path: str) -> dict[str, str]:
    """The files of a bag that is a folder: those in it, and none below."""
    files = [entry["name"] for entry in system.ls(path, detail=True) if entry["type"] == "file"]
    wanted = [file for file in files if is_storage_file(PurePosixPath(file).name) or file.endswith("metadata.yaml")]
    return {PurePosixPath(file).name: file for file in wanted}
