"""The stamps of a video's packets: what is lost without a trace in the packets shows in them."""

from __future__ import annotations

from collections import deque

from zmask_ros.io.stamps import NANOSECONDS

MOST_DELAYED = 16
"""H.264 and H.265 keep no more pictures back than this to show them in their order."""
_WINDOW = 32
# Of the time that the fewest pictures take whose loss would go unnoticed.
_SHARE = 0.75


class Pace:
    """The usual time from packet to packet, and how far packets come in another order than they are shown.

    Attributes:
        depth: how many packets that are shown later have come before one, at most.
    """

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self._stamps_ns: deque[int] = deque(maxlen=_WINDOW)
        self._latest_ns: deque[int] = deque(maxlen=_WINDOW)

    def loss(self, stamp_ns: int, unnoticed: int) -> str:
        """What the stamp of the next packet says was lost before it, as a clause; empty if nothing.

        Args:
            stamp_ns: packets of a video come in another order than their pictures are shown, by `MOST_DELAYED` at most.
            unnoticed: as in `PacketInfo`.
        """
        step_ns = self._step_ns()
        latest_ns = self._latest_ns[-1] if self._latest_ns else stamp_ns
        ahead_ns = stamp_ns - latest_ns
        jumped = ""
        if step_ns and unnoticed > 1 and ahead_ns >= _SHARE * unnoticed * step_ns:
            jumped = f"its stamps jumped by {ahead_ns / NANOSECONDS:.3g} s"
        elif step_ns and -ahead_ns > (MOST_DELAYED + 1) * step_ns:
            jumped = f"its stamps jumped back by {-ahead_ns / NANOSECONDS:.3g} s"
        if jumped:
            self._latest_ns.clear()
            self._stamps_ns.clear()
        self.depth = max(self.depth, min(MOST_DELAYED, sum(one > stamp_ns for one in self._stamps_ns)))
        self._stamps_ns.append(stamp_ns)
        self._latest_ns.append(stamp_ns if jumped else max(stamp_ns, latest_ns))
        return jumped

    def _step_ns(self) -> float:
        if len(self._latest_ns) < 2:
            return 0.0
        return (self._latest_ns[-1] - self._latest_ns[0]) / (len(self._latest_ns) - 1)
