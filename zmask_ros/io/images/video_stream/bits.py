"""Bits of a video header, the highest of each byte first."""

from __future__ import annotations


class BitReader:
    """Reads numbers one after the other.

    Raises:
        EOFError: by every method, where there are no more bits.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def bits(self, count: int) -> int:
        """The next ``count`` bits as a number."""
        end = self._at + count
        if end > 8 * len(self._data):
            raise EOFError("a header ends too early")
        window = int.from_bytes(self._data[self._at // 8 : (end + 7) // 8], "big")
        self._at = end
        return (window >> (-end % 8)) & ((1 << count) - 1)

    def flag(self) -> bool:
        """The next bit."""
        return bool(self.bits(1))

    def ue(self) -> int:
        """Read the next Exp-Golomb code, which is `ue(v)` in H.264 and H.265 and `uvlc()` in AV1."""
        zeros = 0
        while not self.flag():
            zeros += 1
            if zeros > 32:
                raise EOFError("a header has a number that is too long")
        return (1 << zeros) - 1 + self.bits(zeros)

    def se(self) -> int:
        """Read the next signed Exp-Golomb code, which is `se(v)` in H.264 and H.265."""
        code = self.ue()
        return (code + 1) // 2 if code % 2 else -(code // 2)
