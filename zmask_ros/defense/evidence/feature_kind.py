"""What an evidence head sees of its layers."""

from __future__ import annotations

from enum import Enum


class FeatureKind(Enum):
    """What a head sees of its layers."""

    CHANNELS = "channels"
    """The z-score of each channel, see `head_features`."""
    ENERGIES = "channels and energies"
    """The same with the energy of each channel."""
    RELATIVE = "channels and energies, relative to the image"
    """The same, with the image's own means in place of the clean ones."""
    DESCRIPTORS = "descriptors"
    """Channel-agnostic descriptors, see `descriptors`: the head is not bound to a network."""

    @property
    def of_channels(self) -> bool:
        """Whether the head sees a network's own channels, and so belongs to that network."""
        return self is not FeatureKind.DESCRIPTORS

    @property
    def textured(self) -> bool:
        """Whether energies are among the features."""
        return self in (FeatureKind.ENERGIES, FeatureKind.RELATIVE)

    @property
    def relative(self) -> bool:
        """Whether z-scores and energies are those of the distance from the image's own mean."""
        return self is FeatureKind.RELATIVE
