"""Where clean frames and patches come from: bags, CamVid, picture files. The first step on the way to a profile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from zmask_ros.attacks import load_patch
from zmask_ros.attacks.files import patches_in
from zmask_ros.data.camvid import CamVid
from zmask_ros.errors import ZmaskError
from zmask_ros.io.bags.reader import CameraBags, Frame
from zmask_ros.io.images.codec import AUTO_BITS
from zmask_ros.progress import Progress, silent
from zmask_ros.segmenters import Segmenter, resized

HELD_OUT_EVERY = 5


@dataclass(frozen=True)
class CleanFrame:
    """One frame of a clean drive.

    Attributes:
        bag, topic: which drive.
        index: of the frame in its drive, from 0.
        image: uint8 [H, W, 3] RGB of any size.
    """

    bag: str
    topic: str
    index: int
    image: np.ndarray

    @property
    def held_out(self) -> bool:
        """Whether it takes no part in any training: each fifth frame of a drive, in whatever order drives are read."""
        return self.index % HELD_OUT_EVERY == HELD_OUT_EVERY - 1


@dataclass(frozen=True)
class NamedPatch:
    """An adversarial patch, uint8 [h, w, 3] RGB, and what it is called in notes."""

    name: str
    picture: np.ndarray


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
    significant_bits: int = AUTO_BITS

    def check_named(self) -> None:
        """Refuse sources that name no clean frames.

        Raises:
            ZmaskError: they do not.
        """
        if not self.bags and not self.camvid:
            raise ZmaskError("Name clean frames: --clean BAG or --camvid FOLDER.")

    def __iter__(self) -> Iterator[CleanFrame]:
        if self.camvid:
            split = CamVid(self.camvid, "train")
            for index in range(0, len(split), stride(len(split), self.frames)):
                yield CleanFrame("CamVid", "training split", index, split[index].image)
        if self.bags:
            with CameraBags(self.bags, self.topic, self.every) as whole:
                taken = stride(whole.total, self.frames)
            with CameraBags(self.bags, self.topic, self.every * taken, self.significant_bits) as camera:
                yield from clean_frames(camera.warned_frames(), self.every)


def clean_frames(frames: Iterable[Frame], every: int) -> Iterator[CleanFrame]:
    """The frames of bags, of which each ``every``-th counts."""
    for frame in frames:
        yield CleanFrame(str(frame.bag), frame.topic, frame.index // every, frame.image)


def total_length(frames: Sequence[CleanFrame]) -> int:
    """The frames of the drives that these are of, those between them included: what their indices count."""
    ends = {(frame.bag, frame.topic): 0 for frame in frames}
    for frame in frames:
        ends[frame.bag, frame.topic] = max(ends[frame.bag, frame.topic], frame.index + 1)
    return sum(ends.values())


def stride(total: int, wanted: int) -> int:
    """Each how many-th of ``total`` frames to take for about ``wanted`` of them, at least so many if there are.

    Never a multiple of how many-th is held out: either none or all of the frames would be.
    """
    largest = max(1, total // wanted)
    return largest - 1 if largest % HELD_OUT_EVERY == 0 else largest


def read_frames(segmenter: Segmenter, sources: CleanSources, progress: Progress = silent) -> list[CleanFrame]:
    """All clean frames of ``sources``, at the network's input size."""
    frames = []
    with progress("Reading", "frames", None) as advance:
        for frame in sources:
            frames.append(replace(frame, image=at_input_size(segmenter, frame.image)))
            advance()
    return frames


def at_input_size(segmenter: Segmenter, image: np.ndarray) -> np.ndarray:
    """The image, uint8 [H, W, 3], at the network's input size, in memory of its own."""
    # Images from bags are read-only.
    return np.require(resized(image, segmenter.input_size), requirements=("C", "W"))


def read_patches(paths: Sequence[Path]) -> list[NamedPatch]:
    """The patches in these files and folders.

    Raises:
        ZmaskError: a file is no picture, or a folder has none.
    """
    files: list[Path] = []
    for path in paths:
        inside = patches_in(path) if path.is_dir() else [path]
        if not inside:
            raise ZmaskError(f"There are no PNG files in {path}: name a folder of patches, made by zmask attack.")
        files += inside
    return [NamedPatch(file.name, load_patch(file)) for file in files]
