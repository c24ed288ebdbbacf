"""Other roads and cameras without any attack, which a head learns not to take for patches: pictures, folders, bags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zmask_ros.errors import ZmaskError
from zmask_ros.io.bags.reader import BagError, CameraBags
from zmask_ros.io.images.files import IMAGE_ENDINGS, is_picture, pictures_in, read_picture
from zmask_ros.progress import Progress, silent
from zmask_ros.segmenters import Segmenter
from zmask_ros.training.division import evenly
from zmask_ros.training.sources import CleanSources, at_input_size

MOST_PICTURES = 300
"""Of all places together, about: they are held in memory."""
COMPARED_SHARE = 0.25
"""Of the pictures of each place."""


@dataclass(frozen=True)
class BenignPictures:
    """Benign pictures, uint8 [h, w, 3] RGB each, at the network's input size.

    Attributes:
        taught: the head learns from them that they are harmless.
        compared: profiles are compared on them. They are the last of each place, since neighbors look alike.
    """

    taught: tuple[np.ndarray, ...] = ()
    compared: tuple[np.ndarray, ...] = ()

    @property
    def all(self) -> tuple[np.ndarray, ...]:
        """Those and those."""
        return (*self.taught, *self.compared)


@dataclass(frozen=True)
class BenignSources:
    """Where benign pictures come from.

    Attributes:
        places: picture files, folders with pictures in them, and bags.
        topic: of a bag that has several image topics.
    """

    places: tuple[Path, ...]
    topic: str | None = None

    def check(self) -> None:
        """Refuse places that nothing can be read from, before anything is.

        Raises:
            ZmaskError: a place is neither a picture, a folder with pictures in it, nor a bag.
        """
        for place in self.places:
            if _is_named_as_picture(place):
                read_picture(place)
            elif not _has_pictures(place):
                self._topic_of(place)

    def read(self, segmenter: Segmenter, progress: Progress = silent) -> BenignPictures:
        """The pictures, evenly chosen where there are more than `MOST_PICTURES`, divided.

        Raises:
            ZmaskError: see `check`.
        """
        taught: list[np.ndarray] = []
        compared: list[np.ndarray] = []
        single = [place for place in self.places if _is_named_as_picture(place)]
        places = [place for place in self.places if place not in single]
        most = MOST_PICTURES // max(len(places) + bool(single), 1)
        with progress("Reading benign pictures", "pictures", None) as advance:

            def sized(image: np.ndarray) -> np.ndarray:
                advance()
                return at_input_size(segmenter, image)

            def divide(images: Sequence[np.ndarray]) -> None:
                count = round(COMPARED_SHARE * len(images))
                taught.extend(images[: len(images) - count])
                compared.extend(images[len(images) - count :])

            divide([sized(read_picture(path)) for path in evenly(single, most)])
            for place in places:
                if _has_pictures(place):
                    divide([sized(read_picture(path)) for path in evenly(pictures_in(place), most)])
                else:
                    frames = CleanSources(None, (place,), self._topic_of(place), 1, most)
                    divide(evenly([sized(frame.image) for frame in frames], most))
        return BenignPictures(tuple(taught), tuple(compared))

    def _topic_of(self, bag: Path) -> str:
        """The image topic that is read of a bag: its only one, or else the one that was asked for."""
        problem: BagError | None = None
        for wanted in dict.fromkeys((None, self.topic)):
            try:
                with CameraBags((bag,), wanted) as camera:
                    return camera.topic
            except BagError as error:
                problem = error
        raise ZmaskError(f"{bag} is no picture, no folder with pictures in it, and not to be read as a bag: {problem}")


def _is_named_as_picture(place: Path) -> bool:
    return place.suffix.lower() in IMAGE_ENDINGS


def _has_pictures(place: Path) -> bool:
    return place.is_dir() and any(map(is_picture, place.iterdir()))
