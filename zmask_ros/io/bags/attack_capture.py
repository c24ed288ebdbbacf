"""What a flag recorder keeps of one camera: every flag, pictures around an attack; and how many flags never came."""

from __future__ import annotations

from collections import deque

from zmask_ros.io.bags.raw_messages import RawMessage


class Capture:
    """The pictures of the last seconds of one camera, and whether those that come now are written at once.

    Times are of a clock that never jumps; a message's own stamp is not looked at.

    Args:
        before_ns: how old a picture may be to be written when an attack begins.
        after_ns: how long after the last attacked frame pictures are written.
        memory_bytes: the oldest pictures are dropped to stay below this.

    Attributes:
        given_up: pictures that would have been young enough, but for ``memory_bytes``.
    """

    def __init__(self, before_ns: int, after_ns: int, memory_bytes: int) -> None:
        self._before_ns = before_ns
        self._after_ns = after_ns
        self._memory_bytes = memory_bytes
        self._kept: deque[tuple[int, RawMessage]] = deque()
        self._kept_bytes = 0
        self._write_until_ns: int | None = None
        self.given_up = 0

    def flag(self, message: RawMessage, attack: bool, now_ns: int) -> list[RawMessage]:
        """What is to be written now that this flag has come: the flag, after the pictures before an attack."""
        if not attack:
            return [message]
        self._write_until_ns = now_ns + self._after_ns
        self._forget(now_ns)
        pictures = [picture for _, picture in self._kept]
        self._kept.clear()
        self._kept_bytes = 0
        return [*pictures, message]

    def picture(self, message: RawMessage, now_ns: int) -> list[RawMessage]:
        """What is to be written now that this picture has come: it, or nothing as yet."""
        if self.writing(now_ns):
            return [message]
        self._kept.append((now_ns, message))
        self._kept_bytes += len(message.data)
        self._forget(now_ns)
        while self._kept_bytes > self._memory_bytes:
            self._drop_oldest()
            self.given_up += 1
        return []

    def writing(self, now_ns: int) -> bool:
        """Whether an attack is going on, or was a moment ago."""
        return self._write_until_ns is not None and now_ns <= self._write_until_ns

    def _forget(self, now_ns: int) -> None:
        while self._kept and self._kept[0][0] < now_ns - self._before_ns:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, picture = self._kept.popleft()
        self._kept_bytes -= len(picture.data)


class MissingFlags:
    """Counts the sequence numbers that are missing between the first and the highest that have come, in any order."""

    def __init__(self) -> None:
        self._first = 0
        self._highest = 0
        self._came = 0
        self._sent = 0
        self._missing_before = 0

    def add(self, number: int, sent: int) -> None:
        """Take the number of a flag that has come.

        Args:
            number: of its frame, from 1.
            sent: how many numbers had been used by then; where that is less than before, the count has started again.
        """
        if sent < self._sent:
            self._missing_before = self.missing
            self._first = self._highest = self._came = 0
        self._sent = sent
        self._first = min(self._first or number, number)
        self._highest = max(self._highest, number)
        self._came += 1

    @property
    def missing(self) -> int:
        """How many have not come; those that are still on their way count."""
        expected = self._highest - self._first + 1 if self._came else 0
        return self._missing_before + expected - self._came
