"""Nothing is decoded of which part is lost: JPEG by the warnings of libjpeg-turbo, PNG by its checksums."""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from itertools import product
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.lossy_jpegs import LOSSES, lose, street_frames, street_jpegs
from zmask_ros.io.images.codec import ImageError, decode, encode_compressed

# 200 pictures of each share by: ZMASK_LOST_JPEGS=200 make test-slow.
COUNT = int(os.environ.get("ZMASK_LOST_JPEGS", "4"))
SHARES = (*np.linspace(0.01, 0.1, 10), *np.linspace(0.15, 0.9, 16))
# Of a loss of 1 %, and by chance: what is left has as many blocks as the picture.
UNNOTICED_SHARE = 0.002


@dataclass(frozen=True)
class Compressed:
    data: Any
    format: str = "jpeg"


def is_noticed(data: bytes, whole: bytes) -> bool:
    """Whether a damaged picture is refused, or is none the worse."""
    try:
        pixels = decode(Compressed(data))
    except ImageError:
        return True
    return np.array_equal(pixels, decode(Compressed(whole)))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(LOSSES),
    st.floats(0.02, 0.9),
    st.floats(0, 1),
    st.sampled_from([(95, 0), (80, 0), (50, 0), (80, 40)]),
)
def test_no_jpeg_of_which_part_is_lost_is_decoded(loss: str, share: float, place: float, kind: tuple[int, int]) -> None:
    for whole in street_jpegs(*kind)[:2]:
        assert is_noticed(lose(whole, loss, share, place), whole)


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_of_many_jpegs_of_which_part_is_lost_none_is_decoded(loss: str) -> None:
    random, tried, unnoticed = np.random.default_rng(19), 0, []
    for share, _ in product(SHARES, range(COUNT)):
        wholes = street_jpegs(*((95, 0), (80, 0), (50, 0), (80, 40))[random.integers(4)])
        whole = wholes[random.integers(len(wholes))]
        tried += 1
        if not is_noticed(lose(whole, loss, share, random.uniform()), whole):
            unnoticed.append(share)
    print(f"{loss}: {tried} pictures, {len(unnoticed)} unnoticed, of shares {sorted(set(unnoticed))}")
    assert all(share < 0.015 for share in unnoticed)
    assert len(unnoticed) <= UNNOTICED_SHARE * tried


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_share_of_a_cut_off_jpeg_that_is_missing_is_named(share: float) -> None:
    whole = encode_compressed(np.random.default_rng(1).integers(0, 256, (480, 640, 3), np.uint8))
    for loss in ("to the end", "to the end, end marker kept"):
        with pytest.raises(ImageError, match=r"at least [\d.]+% of the picture is missing") as refused:
            decode(Compressed(lose(whole, loss, share, 0.0)))
        named = float(str(refused.value).split("at least ")[1].split("%")[0]) / 100
        assert named == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_share_of_a_cut_off_png_that_is_missing_is_named(share: float) -> None:
    whole = encode_compressed(np.random.default_rng(1).integers(0, 256, (480, 640, 3), np.uint8), "png")
    with pytest.raises(ImageError, match=r"at least [\d.]+% of the picture is missing") as refused:
        decode(Compressed(whole[: round(len(whole) * (1 - share))], "png"))
    named = float(str(refused.value).split("at least ")[1].split("%")[0]) / 100
    assert named == pytest.approx(share, abs=0.02)


def with_wrong_byte(whole: bytes, place: int, change: int) -> bytes:
    data = bytearray(whole)
    data[place] ^= change
    return bytes(data)


END_CHECKSUM = 4
"""Bytes at the end of a PNG, of a chunk that holds nothing: whatever they are, the picture is whole."""


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 255))
def test_a_png_of_which_a_byte_is_wrong_is_refused(place: int, change: int) -> None:
    whole = encode_compressed(street_frames()[0][:120, :160], "png")
    with pytest.raises(ImageError):
        decode(Compressed(with_wrong_byte(whole, place % (len(whole) - END_CHECKSUM), change), "png"))


@pytest.mark.parametrize("place", range(-END_CHECKSUM, 0))
def test_a_png_of_which_only_the_checksum_of_its_end_is_wrong_is_whole(place: int) -> None:
    picture = street_frames()[0][:120, :160]
    whole = encode_compressed(picture, "png")
    assert np.array_equal(decode(Compressed(with_wrong_byte(whole, place, 1), "png")), picture)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_a_png_whose_chunks_are_right_but_not_all_there_is_refused() -> None:
    whole = encode_compressed(street_frames()[0], "png")
    at, pieces, compressed = 8, [], b""
    while at < len(whole):
        length = int.from_bytes(whole[at : at + 4], "big")
        pieces.append((whole[at + 4 : at + 8], whole[at + 8 : at + 8 + length]))
        at += length + 12
    compressed = b"".join(content for kind, content in pieces if kind == b"IDAT")

    def with_data(data: list[bytes]) -> Compressed:
        chunks = [chunk(*pieces[0]), *(chunk(b"IDAT", part) for part in data), chunk(b"IEND", b"")]
        return Compressed(whole[:8] + b"".join(chunks), "png")

    parts = [compressed[begin : begin + 8192] for begin in range(0, len(compressed), 8192)]
    assert np.array_equal(decode(with_data(parts)), street_frames()[0])
    for lost in range(len(parts)):
        with pytest.raises(ImageError, match="corrupt or cut off"):
            decode(with_data(parts[:lost] + parts[lost + 1 :]))
    wrong_sum = compressed[:-1] + bytes([compressed[-1] ^ 1])
    with pytest.raises(ImageError, match="its checksums do not hold"):
        decode(with_data([wrong_sum]))


KINDS = {
    "no restart markers": [],
    "restart markers": [cv2.IMWRITE_JPEG_RST_INTERVAL, 7],
    "own Huffman tables": [cv2.IMWRITE_JPEG_OPTIMIZE, 1],
    "progressive": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
    **{
        f"4:{x}": [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_4{x}")]
        for x in ("11", "20", "22", "40", "44")
    },
}


def frames_to_encode() -> dict[str, np.ndarray]:
    frame = street_frames()[0]
    flat = {
        name: np.full((120, 160, 3), value, np.uint8) for name, value in (("black", 0), ("gray", 128), ("white", 255))
    }
    return {"street": frame, "odd": frame[:101, :67], "pixel": frame[:1, :1], **flat}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("quality", [5, 50, 95, 100])
def test_no_whole_jpeg_is_called_damaged_and_each_is_what_opencv_makes_of_it(kind: str, quality: int) -> None:
    for name, frame in frames_to_encode().items():
        data = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality, *KINDS[kind]])[1]
        for after in (b"", bytes(4096), b"\xff" * 9, b"the buffer's last content"):
            pixels = decode(Compressed(data.tobytes() + after))
            assert np.array_equal(pixels, cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]), (name, after)


def test_a_motion_jpeg_without_huffman_tables_is_whole() -> None:
    data = street_jpegs(80)[0]
    at, without = 2, data[:2]
    while data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        without += b"" if data[at + 1] == 0xC4 else data[at:end]
        at = end
    assert np.array_equal(decode(Compressed(without + data[at:])), decode(Compressed(data)))


def test_zeros_beside_the_scan_are_no_loss() -> None:
    data = street_jpegs(80)[0]
    notes = b"\xff\xe1" + struct.pack(">H", 2 + 4096) + bytes(4096)
    assert np.array_equal(decode(Compressed(data[:2] + notes + data[2:])), decode(Compressed(data)))


def test_a_stretch_of_zeros_that_decodes_to_as_many_blocks_as_were_lost_is_refused() -> None:
    # Of white noise at this quality a block has about as many bits as one of zeros: libjpeg-turbo takes 155 of these.
    noise = np.random.default_rng(2).integers(0, 256, (240, 320), np.uint8)
    whole = cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_QUALITY, 30])[1].tobytes()
    begin = whole.index(b"\xff\xda") + 40
    for count in range(64, 1000):
        data = whole[:begin] + bytes(count) + whole[begin + count :]
        with pytest.raises(ImageError, match="corrupt or cut off"):
            decode(Compressed(data))
