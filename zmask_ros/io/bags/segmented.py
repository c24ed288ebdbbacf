"""A recording without an end: a folder of mcap files that never outgrows its limit.

It is readable at any moment, also after a power cut. `Spool` writes into it from a thread of its own, so that a
recorder never waits for the disk.
"""

from __future__ import annotations

import fcntl
import os
import queue
import re
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO

from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter

from zmask_ros.io.bags.raw_messages import BagError, RawMessage
from zmask_ros.io.bags.writer import types_with

MIB = 2**20
_NUMBERED = re.compile(r"flags_\d{6,}\.mcap")


class SegmentedBag:
    """Numbered mcap files, each a bag of its own; `open_bag` reads the folder as one.

    What was written before the last `sync` outlives a power cut: it is in whole chunks, which need no index to be read.
    Files of earlier recordings stay, count, and are the first to be removed.

    Args:
        folder: made if need be.
        file_bytes: a file that would grow beyond this is finished and the next one begun.
        total_bytes: the oldest files are removed so that all together stay below this.

    Raises:
        BagError: the folder cannot be written to, something else is recording into it, or ``total_bytes`` is less than
            two files.
    """

    def __init__(self, folder: Path, file_bytes: int, total_bytes: int) -> None:
        if total_bytes < 2 * file_bytes:
            raise BagError(f"{total_bytes / MIB:g} MiB in all hold less than two files of {file_bytes / MIB:g} MiB.")
        self.folder = folder
        self._file_bytes = file_bytes
        self._total_bytes = total_bytes
        self._lock = _locked(folder)
        self._finished = [(path, path.stat().st_size) for path in _numbered(folder)]
        self._number = _number(self._finished[-1][0]) if self._finished else 0
        self._segment: _Segment | None = None

    def write(self, message: RawMessage) -> None:
        """Append a message, of a type of ROS 2 Jazzy or of ours.

        Raises:
            BagError: a type that is not known, or a disk that is full.
        """
        with self._disk_errors():
            if self._segment is not None and self._segment.size + len(message.data) > self._file_bytes:
                self._finish()
            self._make_room(len(message.data))
            self._current().write(message)

    def sync(self) -> None:
        """Put everything onto the disk.

        Raises:
            BagError: the disk is full or gone.
        """
        with self._disk_errors():
            if self._segment is not None:
                self._segment.sync()

    def close(self) -> None:
        """Finish the last file, and let others record here.

        Raises:
            BagError: the disk is full or gone; what was synced is readable.
        """
        try:
            self._finish()
        finally:
            os.close(self._lock)

    def _current(self) -> _Segment:
        if self._segment is None:
            self._number += 1
            self._segment = _Segment(self.folder / f"flags_{self._number:06d}.mcap")
            # Without it a power cut may take the file's name.
            os.fsync(self._lock)
        return self._segment

    def _finish(self) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            with self._disk_errors():
                self._finished.append((segment.path, segment.finish()))

    def _make_room(self, needed: int) -> None:
        taken = needed + sum(size for _, size in self._finished) + (self._segment.size if self._segment else 0)
        while taken > self._total_bytes and self._finished:
            oldest, size = self._finished.pop(0)
            oldest.unlink(missing_ok=True)
            taken -= size

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise BagError(f"The folder {self.folder} cannot be written any further: {error.strerror}.") from error


class Spool:
    """A thread that writes into a bag, in the order of `put`, and syncs it every ``sync_s`` seconds.

    Attributes:
        error: what ended the thread early; nothing is written any more.
    """

    def __init__(self, bag: SegmentedBag, sync_s: float) -> None:
        self._bag = bag
        self._sync_s = sync_s
        self._queue: queue.SimpleQueue[RawMessage | None] = queue.SimpleQueue()
        # Each is changed by one thread only.
        self._put_bytes = 0
        self._written_bytes = 0
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        self._thread.start()

    @property
    def waiting_bytes(self) -> int:
        """How much has been put and not yet been written."""
        return self._put_bytes - self._written_bytes

    def put(self, message: RawMessage) -> None:
        """Have a message written; never blocks, never refuses."""
        self._put_bytes += len(message.data)
        self._queue.put(message)

    def close(self) -> None:
        """Write what is left and finish the bag.

        Raises:
            BagError: something could not be written, now or before.
        """
        self._queue.put(None)
        self._thread.join()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            with closing(self._bag):
                while self._write_until(time.monotonic() + self._sync_s):
                    self._bag.sync()
        # Whatever it is, it has to be raised where the thread is waited for.
        except Exception as error:
            self.error = error

    def _write_until(self, sync_at: float) -> bool:
        """Write what comes until then; False: nothing comes any more."""
        while (left := sync_at - time.monotonic()) > 0:
            try:
                message = self._queue.get(timeout=left)
            except queue.Empty:
                return True
            if message is None:
                return False
            self._bag.write(message)
            self._written_bytes += len(message.data)
        return True


class _Segment:
    """One file in progress."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._stream: BinaryIO = path.open("xb")
        # Compression would take the time of the node; a file can be compressed later.
        self._writer = McapWriter(self._stream, compression=CompressionType.NONE)
        self._writer.start("ros2", "zmask_ros")
        self._schemas: dict[str, int] = {}
        self._channels: dict[tuple[str, str], int] = {}

    def write(self, message: RawMessage) -> None:
        channel = self._channel(message.topic, message.msgtype)
        self._writer.add_message(channel, message.received_ns, bytes(message.data), message.received_ns)
        self.size += len(message.data)

    def sync(self) -> None:
        self._writer.flush()
        os.fsync(self._stream.fileno())
        self.size = self._stream.tell()

    def finish(self) -> int:
        """Write the index; returns the size in bytes."""
        with self._stream:
            self._writer.finish()
            self._stream.flush()
            os.fsync(self._stream.fileno())
            return self._stream.tell()

    def _channel(self, topic: str, msgtype: str) -> int:
        if (topic, msgtype) not in self._channels:
            if msgtype not in self._schemas:
                definition, _ = types_with(msgtype, topic).generate_msgdef(msgtype, ros_version=2)
                self._schemas[msgtype] = self._writer.register_schema(msgtype, "ros2msg", definition.encode())
            # Without a quality of service in it: `ros2 bag play` then offers reliable, which every subscriber takes.
            self._channels[topic, msgtype] = self._writer.register_channel(topic, "cdr", self._schemas[msgtype])
        return self._channels[topic, msgtype]


def _locked(folder: Path) -> int:
    """A descriptor of the folder that nobody else has while it is open."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise BagError(f"{folder} cannot be recorded into: {error.strerror}.") from error
    if not os.access(folder, os.W_OK):
        os.close(descriptor)
        raise BagError(f"The folder {folder} is read-only: choose another one.")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise BagError(f"Something else is recording into {folder}; name another folder.") from error
    return descriptor


def _numbered(folder: Path) -> list[Path]:
    """Our files, the oldest first."""
    return sorted((path for path in folder.iterdir() if _NUMBERED.fullmatch(path.name)), key=_number)


def _number(path: Path) -> int:
    return int(path.stem.removeprefix("flags_"))
