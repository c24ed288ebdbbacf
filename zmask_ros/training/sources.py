"""TODO."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zmask_ros.data.camvid import CamVid
from zmask_ros.errors import ZmaskError
from zmask_ros.io.bags.reader import CameraBags, ReadReport
from zmask_ros.training.clean_fit import HELD_OUT_EVERY, CleanFrame


@dataclass(frozen=True)
class CleanSources:
    """Where clean frames come from; of each source about ``frames``, evenly over it.

    Frames are counted as `zmask fit` counts them when it is given the same bags and ``every``: within each bag, and
    only those that it reads. So whatever is left out here, a frame that one of them holds out, the other does too.
    """

    camvid: Path | None
    bags: tuple[Path, ...]
    topic: str | None
    every: int
    frames: int

    def check_named(self) -> None:
        """Refuse a command line that names no clean frames.

        Raises:
            ZmaskError: it does not.
        """
        if not self.bags and not self.camvid:
            raise ZmaskError("Name clean frames: --clean BAG or --camvid FOLDER.")

    def __iter__(self) -> Iterator[CleanFrame]:
        if self.camvid:
            yield from self._camvid(self.camvid)
        if self.bags:
            yield from self._bags()

    def _camvid(self, root: Path) -> Iterator[CleanFrame]:
        split = CamVid(root, "train")
        for index in range(0, len(split), stride(len(split), self.frames)):
            yield CleanFrame("CamVid", "training split", index, split[index].image)

    def _bags(self) -> Iterator[CleanFrame]:
        with CameraBags(self.bags, self.topic, self.every) as whole:
            taken = stride(whole.total, self.frames)
        with CameraBags(self.bags, self.topic, self.every * taken) as camera:
            for frame in camera.frames(ReadReport()):
                yield CleanFrame(str(frame.bag), frame.topic, frame.index // self.every, frame.image)


def stride(total: int, wanted: int) -> int:
    """Each how many-th of ``total`` frames to take for about ``wanted`` of them, at least so many if there are.

    Never a multiple of how many-th is held out: either none or all of the frames would be.
    """
    largest = max(1, total // wanted)
    return largest - 1 if largest % HELD_OUT_EVERY == 0 else largest
