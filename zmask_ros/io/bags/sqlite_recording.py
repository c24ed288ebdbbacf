"""Reader of the sqlite3 storage of rosbag2, also cut off, damaged, or with its write-ahead log still beside it."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw

from zmask_ros.io.bags.message_types import full_type_name, message_definition
from zmask_ros.io.bags.raw_messages import BagError, RawMessage, TopicInfo
from zmask_ros.io.bags.recording import Recording, another_begins
from zmask_ros.io.bags.storage_files import SQLITE_MAGIC

_LOGS = ("-wal", "-journal")
_HEADER = 100
_WHOLE_PAGES = "zmask whole pages"


class SqliteRecording(Recording):
    """A .db3 file.

    Raises:
        BagError: nothing of it can be read.
    """

    format = "sqlite3"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._topics: dict[int, TopicInfo] = {}
        self._resources = ExitStack()
        self._address = self._readable_address()
        # What is in a log may not have reached the database, which may still be shorter.
        self._pages = _Pages.of(path)
        self._is_whole = bool(_logs(path)) or self._pages.are_whole
        with self._opened() as connection:
            # The reader of a damaged database may find any bytes where it expects a text.
            try:
                self._topics = {row[0]: TopicInfo(*row[1:]) for row in _topic_rows(connection)}
                self._learn(connection)
                query = "SELECT topic_id, count(*) FROM messages GROUP BY topic_id"
                counts = Counter(dict(connection.execute(query)))
                self.index = True
            except (apsw.Error, TypeError, ValueError):
                counts = Counter(row[0] for row in self._rows(connection) if isinstance(row[0], int))
                missing = _count(connection) - counts.total()
                numbers = f"; {missing} of {missing + counts.total()} messages are missing" if missing > 0 else ""
                self.damage = (self._found_wrong or "its database is damaged") + numbers
        if self.damage and not counts:
            self.close()
            raise BagError(f"{path} is not a readable bag: {self.damage}.")
        end = self._pages.written
        with path.open("rb") as stream:
            stream.seek(end)
            if end and stream.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC:
                self.damage = self.damage or another_begins(end)
        if not self._is_whole:
            self.damage = self.damage or f"it is cut off, or goes on as something else: it had {end} bytes"
        unnamed = sum(count for topic, count in counts.items() if topic not in self._topics)
        if unnamed:
            self.damage = self.damage or f"{unnamed} messages are of topics that it does not name"
        self.topics = [
            TopicInfo(topic.name, topic.msgtype, counts[id_], topic.encoding) for id_, topic in self._topics.items()
        ]

    def close(self) -> None:
        """Remove the copy of a database that could not be read in its place."""
        self._resources.close()

    def _readable_address(self) -> str:
        """What SQLite opens: the file itself, or a copy where only a writer could take its log into account."""
        # An immutable database is read without locks, so also from a read-only disk, but without its log.
        if not _logs(self.path):
            return f"file:{quote(str(self.path))}?mode=ro&immutable=1"
        address = f"file:{quote(str(self.path))}?mode=ro"
        try:
            with closing(_connection(address)) as connection:
                connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
        except apsw.Error:
            folder = Path(self._resources.enter_context(tempfile.TemporaryDirectory(prefix="zmask-bag-")))
            for file in (self.path, *_logs(self.path)):
                # Not its permissions: the copy is written to.
                shutil.copyfile(file, folder / file.name)
            return f"file:{quote(str(folder / self.path.name))}?mode=rw"
        return address

    def _opened(self) -> closing[apsw.Connection]:
        connection = _connection(self._address, "" if self._is_whole else _WHOLE_PAGES)
        # Otherwise SQLite refuses a file that is shorter than its header says, and reads nothing of it.
        connection.execute("PRAGMA writable_schema = ON")
        return closing(connection)

    def _learn(self, connection: apsw.Connection) -> None:
        query = "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
        # Bags up to ROS 2 Humble carry no definitions.
        with suppress(apsw.SQLError):
            for msgtype, encoding, text in connection.execute(query):
                self.types.add(full_type_name(msgtype), message_definition(encoding, text))

    def _indexed(self, topics: Collection[str]) -> Iterator[RawMessage]:
        wanted = [id_ for id_, topic in self._topics.items() if topic.name in topics]
        marks = ", ".join("?" * len(wanted))
        query = f"SELECT topic_id, timestamp, data FROM messages WHERE topic_id IN ({marks}) ORDER BY timestamp"
        with self._opened() as connection:
            for topic_id, received_ns, data in connection.execute(query, wanted):
                yield self._message(topic_id, received_ns, data)

    def _scan(self, topics: Collection[str]) -> Iterator[RawMessage]:
        with self._opened() as connection:
            for topic_id, received_ns, data in self._rows(connection):
                if topic_id in self._topics and self._topics[topic_id].name in topics:
                    yield self._message(topic_id, received_ns, data)

    def _message(self, topic_id: int, received_ns: int, data: bytes) -> RawMessage:
        topic = self._topics[topic_id]
        return RawMessage(topic.name, topic.msgtype, received_ns, data, topic.encoding)

    def _rows(self, connection: apsw.Connection) -> Iterator[tuple[int, int, bytes]]:
        """(topic, time, data) of all messages in the order of the table, those behind a damaged part too."""
        self._found_wrong, last, waiting = "", -1, None
        query = "SELECT rowid, topic_id, timestamp, data FROM messages NOT INDEXED"
        try:
            for rowid, *row in connection.execute(f"{query} ORDER BY rowid"):
                if waiting is not None:
                    yield waiting
                last, waiting = rowid, row
        except apsw.Error as error:
            self._found_wrong = f"its database is cut off or damaged ({error})"
        # SQLite fills a page that is cut with zeros: of a file that is cut, the last message may be half of one.
        if waiting is not None and not (self._found_wrong and self._pages.are_cut):
            yield waiting
        if self._found_wrong:
            yield from self._rows_behind(connection, last)

    def _rows_behind(self, connection: apsw.Connection, last: int) -> Iterator[tuple[int, int, bytes]]:
        """The rows after ``last`` that can be reached from the end of the table."""
        rowids = []
        with suppress(apsw.Error):
            query = "SELECT rowid FROM messages NOT INDEXED WHERE rowid > ? ORDER BY rowid DESC"
            for (rowid,) in connection.execute(query, (last,)):
                rowids.append(rowid)
        for rowid in reversed(rowids):
            with suppress(apsw.Error):
                query = "SELECT topic_id, timestamp, data FROM messages WHERE rowid = ?"
                yield from _rows_of(connection, query, (rowid,))


@dataclass(frozen=True)
class _Pages:
    """The pages of a database.

    Attributes:
        page_size: bytes of each; 0 where there is no header.
        written: bytes of all of them by the header.
        is_current: whether the header was kept up to date, which old writers have not done.
        size: bytes of the file.
    """

    page_size: int
    written: int
    is_current: bool
    size: int

    @staticmethod
    def of(path: Path) -> _Pages:
        """Those of the database in a file."""
        with path.open("rb") as stream:
            head = stream.read(_HEADER)
        page_size = _page_size(head)
        written = page_size * int.from_bytes(head[28:32], "big")
        return _Pages(page_size, written, head[24:28] == head[92:96], path.stat().st_size)

    @property
    def are_cut(self) -> bool:
        """Whether the file is shorter than its header says."""
        return self.size < self.written

    @property
    def are_whole(self) -> bool:
        """Whether all are in the file, and behind them whole pages only, or nothing."""
        return not (self.is_current and self.are_cut) and not (self.page_size and self.size % self.page_size)


def _page_size(head: bytes) -> int:
    size = int.from_bytes(head[16:18], "big")
    # It does not fit into its two bytes.
    return 65536 if size == 1 else size


def _count(connection: apsw.Connection) -> int:
    """The number of messages by an index, which may be whole where the table is not; 0 if it is not."""
    try:
        ((count,),) = _rows_of(connection, "SELECT count(*) FROM messages")
        return int(count)
    except apsw.Error:
        return 0


class _WholePages(apsw.VFS):
    """Reads files as if they ended with their last whole page.

    SQLite fills a page that is cut with zeros, and would hand on half of a message as if it were whole.
    """

    def __init__(self) -> None:
        super().__init__(_WHOLE_PAGES, "")

    def xOpen(self, name: apsw.URIFilename | str | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return _WholePagesFile(name, flags)


class _WholePagesFile(apsw.VFSFile):
    def __init__(self, name: apsw.URIFilename | str | None, flags: list[int]) -> None:
        super().__init__("", name, flags)
        size = super().xFileSize()
        page_size = _page_size(super().xRead(_HEADER, 0)) if size >= _HEADER else 0
        self._size = size - size % page_size if page_size else size

    def xFileSize(self) -> int:  # noqa: N802
        return self._size


def _connection(address: str, vfs: str = "") -> apsw.Connection:
    """Not Python's `sqlite3`: its SQLite is that of the system, and older ones copy each large message once more."""
    return apsw.Connection(address, flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI, vfs=vfs or None)


def _rows_of(connection: apsw.Connection, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    return connection.execute(query, values).fetchall()


def _topic_rows(connection: apsw.Connection) -> Iterator[tuple[int, str, str, int, str]]:
    """(id, name, type, 0, serialization) of the topics."""
    for id_, name, msgtype, encoding in connection.execute("SELECT id, name, type, serialization_format FROM topics"):
        yield id_, name, full_type_name(msgtype), 0, encoding or "cdr"


def _logs(path: Path) -> list[Path]:
    """What a recorder that was stopped has left beside a .db3: messages that were not yet moved into it."""
    logs = [path.with_name(path.name + ending) for ending in _LOGS]
    return [log for log in logs if log.is_file() and log.stat().st_size]


_VFS = _WholePages()
"""SQLite knows it as long as this is there."""
