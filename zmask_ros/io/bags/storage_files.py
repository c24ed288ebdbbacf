"""The storage files of bags, by their names and first bytes. Needs nothing of what reads them."""

from __future__ import annotations

import re
from pathlib import Path

MCAP_MAGIC = b"\x89MCAP0\r\n"
SQLITE_MAGIC = b"SQLite format 3\0"
ROSBAG1_MAGIC = b"#ROSBAG V2.0\n"
METADATA = "metadata.yaml"
_ENDINGS = {MCAP_MAGIC: "mcap", SQLITE_MAGIC: "db3", ROSBAG1_MAGIC: "bag"}
COMPRESSED = (".zstd", ".zst", ".gz", ".bz2", ".lz4")
# `rosbag reindex` and `rosbag compress` leave the file that they have read as `.orig.bag`; `rosbag record` writes
# `.bag.active`. FAT disks may spell names in capitals, and macOS puts a `._drive_0.mcap` of its own beside each file.
_STORAGE_FILE = re.compile(
    rf"(?P<stem>[^.].*?)(\.orig)?\.(?P<ending>mcap|db3|bag)(\.active)?({'|'.join(map(re.escape, COMPRESSED))})?",
    re.IGNORECASE,
)


def is_storage_file(name: str) -> bool:
    """Whether a file of this name holds messages."""
    return bool(storage_stem(name))


def storage_stem(name: str) -> str:
    """The name of a storage file without its endings; empty for any other file."""
    match = _STORAGE_FILE.fullmatch(name)
    return match["stem"] if match else ""


def named_ending(name: str) -> str:
    """How the name of a storage file ends: mcap, db3 or bag; empty for any other file."""
    match = _STORAGE_FILE.fullmatch(name)
    return match["ending"].lower() if match else ""


def storage_ending(path: Path) -> str:
    """How a storage file is to end by its first bytes, and where they are damaged, by its name; empty for any other.

    Raises:
        OSError: it may not be read.
    """
    with path.open("rb") as stream:
        head = stream.read(max(map(len, _ENDINGS)))
    return next((ending for magic, ending in _ENDINGS.items() if head.startswith(magic)), named_ending(path.name))
