"""Time of each stage of a frame, by the CPU's clock or by CUDA events."""

from __future__ import annotations

import time
from typing import Any

import torch


class StageTimer:
    """Marks the ends of a frame's stages, one after the other.

    On CUDA a mark is an event in the stream and costs no synchronization until the times are read.

    Args:
        device: where the stages run.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._marks: list[tuple[str, Any]] = [("", self._now())]

    def _now(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()  # type: ignore[no-untyped-call]
        return event

    def mark(self, stage: str) -> None:
        """Mark the end of the stage called ``stage``; it began at the previous mark."""
        self._marks.append((stage, self._now()))

    def milliseconds(self) -> dict[str, float]:
        """Time of each stage in milliseconds, in their order."""
        if self._cuda:
            torch.cuda.synchronize()
        pairs = zip(self._marks, self._marks[1:], strict=False)
        return {name: self._between(start, end) for (_, start), (name, end) in pairs}

    def _between(self, start: Any, end: Any) -> float:
        return float(start.elapsed_time(end)) if self._cuda else (end - start) * 1e3
