"""A network by its name, which workers load themselves."""

from __future__ import annotations

from dataclasses import dataclass

from zmask_ros.errors import ZmaskError
from zmask_ros.fleet.bag_names import segmenter_anywhere
from zmask_ros.segmenters import Segmenter, load_segmenter


@dataclass(frozen=True)
class NamedNetwork:
    """A network that is the same wherever it is loaded.

    Attributes:
        segmenter, device: its description, and where it runs.
        digest: of the network that is meant.
    """

    segmenter: str
    device: str
    digest: str

    @staticmethod
    def of(name: str, device: str, loaded: Segmenter) -> NamedNetwork:
        """The network that was loaded here under that name."""
        return NamedNetwork(segmenter_anywhere(name), device, loaded.digest)

    def load(self) -> Segmenter:
        """Load it.

        Raises:
            ZmaskError: there is none of that name, or it is another one here.
        """
        loaded = load_segmenter(self.segmenter, self.device)
        if loaded.digest != self.digest:
            raise ZmaskError(f"{self.segmenter} is another network on a worker: give all machines the same weights.")
        return loaded
