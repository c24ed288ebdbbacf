"""What is lost of a JPEG or PNG.

That something is lost, the decoders say: libjpeg-turbo by its warnings, libpng by the checksums. How much, and what
libjpeg-turbo cannot notice, is worked out here.
"""

from __future__ import annotations

import zlib

import numpy as np
import simplejpeg

from zmask_ros.io.images.compressed_header import PNG_SIGNATURE, CompressedHeader, jpeg_segments

# Length, kind and checksum of a chunk.
_PNG_FRAME = 12
_HUFFMAN_TABLES = 0xC4
_LUMA_AC = 0x10
# A table begins with its kind, and how many codes there are of each length; their symbols follow.
_CODE_COUNTS = 17
_BLOCK = 8
_NOT_DECODED = 128
_ZEROS = bytes(64)


def png_ends_early(data: bytes) -> bool:
    """Whether a chunk of a PNG claims to end after the data: OpenCV clears as much memory as a chunk claims."""
    at, kind = len(PNG_SIGNATURE), b""
    while at < len(data) and kind != b"IEND":
        kind = data[at + 4 : at + 8]
        at += _PNG_FRAME + int.from_bytes(data[at : at + 4], "big")
    return at > len(data)


def has_zeroed_stretch(data: bytes) -> bool:
    """Whether a stretch within a JPEG's scans was overwritten with zeros: lost packets that were not left out.

    libjpeg-turbo decodes zeros to blocks. Where these are by chance as many as were lost, it has nothing to warn of.
    With a Huffman table for luma whose first code is not the end of a block, as in the standard one, the 63 AC
    coefficients of such a block are all alike, as those of no picture are. With others, zeros are more blocks by far
    than were lost.
    """
    if _ZEROS not in data:
        return False
    begin, ends_blocks = len(data), False
    for marker, at in jpeg_segments(data):
        begin = at
        if marker == _HUFFMAN_TABLES:
            ends_blocks |= _ends_luma_blocks(data[at + 2 : at + int.from_bytes(data[at : at + 2], "big")])
    return not ends_blocks and data.find(_ZEROS, begin, data.rfind(b"\xff\xd9")) >= 0


def _ends_luma_blocks(tables: bytes) -> bool:
    """Whether the first code of a segment's table for luma's AC coefficients, all zeros, is the end of a block."""
    while len(tables) > _CODE_COUNTS:
        if tables[0] == _LUMA_AC:
            return tables[_CODE_COUNTS] == 0
        tables = tables[_CODE_COUNTS + sum(tables[1:_CODE_COUNTS]) :]
    return False


def missing_share(data: bytes, header: CompressedHeader) -> float:
    """The share of a damaged picture that is missing at least, 0..1; 0 where it cannot be known."""
    return _png_missing_share(data, header) if header.is_png else _jpeg_missing_share(data, header)


def _jpeg_missing_share(data: bytes, header: CompressedHeader) -> float:
    """libjpeg-turbo leaves blocks for which there is no data at medium gray, the mean of all coefficients zero."""
    if header.progressive:
        return 0.0
    try:
        gray = simplejpeg.decode_jpeg(data, "GRAY", strict=False)[..., 0]
    except ValueError:
        return 0.0
    height, width = (side // _BLOCK * _BLOCK for side in gray.shape)
    blocks = gray[:height, :width].reshape(height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
    return float(np.mean((blocks == _NOT_DECODED).all(axis=(1, 3)))) if blocks.size else 0.0


def _png_missing_share(data: bytes, header: CompressedHeader) -> float:
    """What the first chunk with a wrong checksum, and all after it, would have held."""
    wanted = header.height * (1 + (header.width * header.channels * header.depth + 7) // 8)
    inflate, found, at = zlib.decompressobj(), 0, len(PNG_SIGNATURE)
    while at + _PNG_FRAME <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data) or zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            break
        if data[at + 4 : at + 8] == b"IDAT":
            try:
                found += len(inflate.decompress(data[at + 8 : end], wanted))
            except zlib.error:
                break
        at = end + 4
    return max(0.0, 1.0 - found / wanted)
