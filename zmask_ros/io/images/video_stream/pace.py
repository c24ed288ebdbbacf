"""The stamps of a video's packets: what is lost without a trace in the packets shows in them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from zmask_ros.io.stamps import NANOSECONDS, typical_step_ns

MOST_DELAYED = 16
"""H.264 and H.265 keep no more pictures back than this to show them in their order."""
_WINDOW = 32


@dataclass(frozen=True)
class Loss:
    """Packets are missing.

    Attributes:
        serial: the number of the first packet after them.
        what: happened, as a clause.
    """

    serial: int
    what: str


@dataclass(frozen=True)
class _Jump:
    """A packet that is far ahead of all before it: a loss, unless packets that are shown between them are to come.

    Attributes:
        serial: its number.
        latest_ns: of the stamps before it.
        allowed_ns: a longer time until the next picture is shown is a loss.
    """

    serial: int
    latest_ns: int
    allowed_ns: float


class Pace:
    """The usual time from packet to packet, and how far packets come in another order than they are shown.

    Attributes:
        depth: how many packets that are shown later have come before one, at most.
    """

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self._step_ns = 0
        self.begin()

    def begin(self) -> None:
        """Forget the packets so far, since the next one does not follow them; the usual time between them stays."""
        self._stamps_ns: deque[int] = deque(maxlen=_WINDOW)
        self._latest_ns: int | None = None
        self._jumps: list[_Jump] = []

    def break_before(self, stamp_ns: int, unnoticed: int, starts: bool) -> str:
        """What the stamp of the next packet alone says was lost before it, as a clause; empty if nothing.

        Args:
            stamp_ns: packets of a video come in another order than their pictures are shown, by `MOST_DELAYED` at most.
            unnoticed: how many packets at least are lost if any are and the packet does not tell.
            starts: whether it makes no difference to this packet.
        """
        self._step_ns = typical_step_ns(sorted(self._stamps_ns)) or self._step_ns
        if self._latest_ns is None or not self._step_ns:
            return ""
        ahead_ns = stamp_ns - self._latest_ns
        if -ahead_ns > (MOST_DELAYED + 1) * self._step_ns:
            return f"its stamps jumped back by {-ahead_ns / NANOSECONDS:.3g} s"
        most = unnoticed + 0.5 + (0 if starts else MOST_DELAYED)
        return _jumped(ahead_ns) if ahead_ns > most * self._step_ns else ""

    def watch(self, serial: int, stamp_ns: int, unnoticed: int) -> None:
        """Remember of the next packet, of number ``serial``, that it may come after a loss; see `break_before`."""
        allowed_ns = (unnoticed + 0.5) * self._step_ns
        if self._latest_ns is not None and allowed_ns and stamp_ns - self._latest_ns > allowed_ns:
            self._jumps.append(_Jump(serial, self._latest_ns, allowed_ns))

    def add(self, stamp_ns: int) -> None:
        """The next packet."""
        later = sum(one > stamp_ns for one in self._stamps_ns)
        self.depth = max(self.depth, min(MOST_DELAYED, later))
        self._stamps_ns.append(stamp_ns)
        self._latest_ns = stamp_ns if self._latest_ns is None else max(stamp_ns, self._latest_ns)

    def loss_before(self, stamp_ns: int) -> Loss | None:
        """The loss that the stamps of all packets show which are shown up to this time: no other of them will come."""
        while self._jumps and self._jumps[0].latest_ns < stamp_ns:
            jump = self._jumps.pop(0)
            ahead_ns = min(one for one in self._stamps_ns if one > jump.latest_ns) - jump.latest_ns
            if ahead_ns > jump.allowed_ns:
                return Loss(jump.serial, _jumped(ahead_ns))
        return None


def _jumped(ahead_ns: int) -> str:
    return f"its stamps jumped by {ahead_ns / NANOSECONDS:.3g} s"
