"""What workers load themselves, by names that mean the same to them: a network, and the files of a recipe."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from zmask_ros.attacks import Recipe
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


def recipe_anywhere(recipe: Recipe) -> Recipe:
    """A recipe that means the same to a process with another working directory."""
    shape, palette = (None if name is None else os.path.abspath(name) for name in (recipe.shape, recipe.palette))
    return replace(recipe, shape=shape, palette=palette)
