"""What a codec's module says of a packet before it is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class PacketError(Exception):
    """A packet that is damaged, or not of its codec; the reason, as half a sentence."""


class HeadersOnlyError(PacketError):
    """A packet without a picture, which has what those after it are decoded with: some writers send it by itself."""

    def __init__(self) -> None:
        super().__init__("has no picture, only what those after it are decoded with")


@dataclass(frozen=True)
class PacketInfo:
    """One packet, which holds one picture.

    Attributes:
        starts: whether decoding can begin with it.
        is_open: of one that starts, whether packets after it may be shown before it, need pictures from before it, and
            do not say so.
        is_leading: whether it says that it is such a packet.
        loss: what was lost before it, as a clause; empty if nothing is known to be.
        unnoticed: with the loss of so many pictures, or a multiple of it, and no key frame among them, the packet would
            be the same.
        is_blind: whether the stream has nothing that tells a loss.
    """

    starts: bool
    is_open: bool = False
    is_leading: bool = False
    loss: str = ""
    unnoticed: int = 1
    is_blind: bool = False


class PacketReader(Protocol):
    """Reads the packets of one stream in their order."""

    def read(self, data: bytes) -> PacketInfo:
        """What the next packet says of itself.

        Raises:
            HeadersOnlyError: it belongs to the next packet.
            PacketError: it is damaged.
        """
