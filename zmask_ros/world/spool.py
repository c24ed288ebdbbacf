"""Messages on their way to the disk: whoever receives them never waits for it."""

from __future__ import annotations

import queue
import threading
import time

from zmask_ros.world.bag_segments import SegmentedBag
from zmask_ros.world.recordings import RawMessage


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
            try:
                self._write_all()
            finally:
                self._bag.close()
        # Whatever it is, whoever waits for the thread has to learn of it.
        except Exception as error:
            self.error = error

    def _write_all(self) -> None:
        while self._write_until(time.monotonic() + self._sync_s):
            self._bag.sync()

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
