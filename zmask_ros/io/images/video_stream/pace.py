"""The stamps of a video's packets: what is lost without a trace in the packets shows in them."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

from zmask_ros.io.stamps import NANOSECONDS, typical_step_ns

MOST_DELAYED = 16
"""H.264 and H.265 keep no more pictures back than this to show them in their order."""
_WINDOW = 32


class Pace:
    """The usual time from packet to packet, and how far packets come in another order than they are shown.

    Attributes:
        depth: how many packets that are shown later have come before one, at most.
    """

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self._step_ns = 0
        self._is_reordered = False
        self._jump_ns = 0
        self._clear()

    def begin(self) -> None:
        """Forget the packets so far, since the next one does not follow them; what is usual between packets stays."""
        self._jump_ns = self._usual_jump_ns()
        self._clear()

    def _clear(self) -> None:
        self._stamps_ns: deque[int] = deque(maxlen=_WINDOW)
        self._latest_ns: deque[int] = deque(maxlen=_WINDOW)

    def loss(self, stamp_ns: int, unnoticed: int) -> str:
        """What the stamp of the next packet says was lost before it, as a clause; empty if nothing.

        Args:
            stamp_ns: packets of a video come in another order than their pictures are shown, by `MOST_DELAYED` at most.
            unnoticed: how many packets at least are lost if any are and the packet does not tell.
        """
        jump = self._jump(stamp_ns, unnoticed)
        if jump:
            self.begin()
        later = sum(one > stamp_ns for one in self._stamps_ns)
        self._is_reordered = self._is_reordered or later > 0
        self.depth = max(self.depth, min(MOST_DELAYED, later))
        self._stamps_ns.append(stamp_ns)
        self._latest_ns.append(max(stamp_ns, self._latest_ns[-1] if self._latest_ns else stamp_ns))
        return jump

    def _jump(self, stamp_ns: int, unnoticed: int) -> str:
        if not self._latest_ns:
            return ""
        self._step_ns = typical_step_ns(sorted(self._stamps_ns)) or self._step_ns
        step_ns, ahead_ns = self._step_ns, stamp_ns - self._latest_ns[-1]
        if step_ns and -ahead_ns > (MOST_DELAYED + 1) * step_ns:
            return f"its stamps jumped back by {-ahead_ns / NANOSECONDS:.3g} s"
        if step_ns and ahead_ns > (unnoticed + 0.5) * step_ns + self._usual_jump_ns():
            return f"its stamps jumped by {ahead_ns / NANOSECONDS:.3g} s"
        return ""

    def _usual_jump_ns(self) -> int:
        """How far a packet is ahead of all before it where nothing is lost: it may be shown several packets later."""
        if not self._is_reordered:
            return 0
        latest_ns = list(self._latest_ns)
        return max((after - before for before, after in pairwise(latest_ns)), default=self._jump_ns)
