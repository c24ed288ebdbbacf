"""The errors of a demo."""

from __future__ import annotations

from zmask_ros.errors import ZmaskError


class DemoError(ZmaskError):
    """The demo cannot go on; the sentence says why."""


class NodeFailedError(DemoError):
    """A node ended that should be running, or did not end as it should; ``output`` is what it printed."""

    def __init__(self, sentence: str, output: str) -> None:
        super().__init__(sentence)
        self.output = output
