"""The `format` of a compressed image is obeyed, or the image is refused."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zmask_ros.io.images.codec import ImageError, decode, encode, encode_compressed

BAYER = ("bayer_rggb", "bayer_bggr", "bayer_gbrg", "bayer_grbg")


@dataclass(frozen=True)
class Compressed:
    format: str
    data: Any


def written(kind: str, pixels: np.ndarray) -> bytes:
    """Pixels as OpenCV takes them, BGR or gray, in a file of this kind."""
    return cv2.imencode(f".{kind}", pixels, [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()


def smooth(seed: int, height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (15, 15), 6)


def error(decoded: np.ndarray, image: np.ndarray) -> float:
    return float(np.abs(decoded.astype(int) - image).mean())


@pytest.mark.parametrize("text", ["jpeg", "png", "rgb8; jpeg compressed bgr8", "bgr8; png compressed bgr8", "", "tiff"])
@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_content_and_not_the_name_of_the_codec_decides(kind: str, text: str) -> None:
    image = smooth(5, 40, 61)
    assert error(decode(Compressed(text, encode_compressed(image, kind))), image) < (2 if kind == "jpeg" else 1e-9)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(BAYER),
    st.sampled_from(["{0}8; jpeg compressed ", "{0}8; jpeg compressed {0}8", "{0}8; png compressed ", "{0}8;jpeg"]),
    st.tuples(*[st.integers(0, 255)] * 3),
    st.integers(3, 40),
    st.integers(3, 40),
)
def test_a_bayer_mosaic_is_demosaiced(
    pattern: str, text: str, color: tuple[int, int, int], height: int, width: int
) -> None:
    fields = encode(np.full((height, width, 3), color, np.uint8), f"{pattern}8")
    mosaic = np.frombuffer(fields.data, np.uint8).reshape(height, width)
    decoded = decode(Compressed(text.format(pattern), written("png", mosaic)))
    assert np.array_equal(decoded, decode(fields))
    in_jpeg = decode(Compressed(text.format(pattern), written("jpeg", mosaic)))
    assert error(in_jpeg, np.full_like(decoded, color)) < 12


@pytest.mark.parametrize("pattern", BAYER)
@pytest.mark.parametrize("bits", [10, 12, 16])
def test_a_bayer_mosaic_of_sixteen_bits_in_a_png_is_demosaiced(pattern: str, bits: int) -> None:
    mosaic = np.random.default_rng(3).integers(0, 2**bits, (12, 16), np.uint16)
    raw = encode(mosaic, "mono16")
    expected = decode(type(raw)(12, 16, f"{pattern}16", 0, raw.step, raw.data), bits)
    assert np.array_equal(decode(Compressed(f"{pattern}16; png compressed ", written("png", mosaic)), bits), expected)


def test_a_mosaic_that_the_publisher_has_made_gray_is_taken_as_gray() -> None:
    gray = smooth(1, 30, 40)[..., 0]
    decoded = decode(Compressed("bayer_rggb8; jpeg compressed mono8", written("jpeg", gray)))
    assert np.array_equal(decoded[..., 0], decoded[..., 2]) and error(decoded[..., 0], gray) < 2


def test_a_mosaic_that_the_publisher_has_made_a_color_picture_is_taken_as_one() -> None:
    image = smooth(1, 30, 40)
    decoded = decode(Compressed("bayer_rggb8; png compressed bgr8", written("png", image[..., ::-1])))
    assert np.array_equal(decoded, image)


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "bgra8"])
@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_of_a_target_of_rgb_the_file_has_red_where_blue_belongs(encoding: str, kind: str) -> None:
    image = smooth(2, 30, 40)
    as_bgr = Compressed(f"{encoding}; {kind} compressed bgr8", written(kind, image[..., ::-1]))
    as_rgb = Compressed(f"{encoding}; {kind} compressed rgb8", written(kind, image))
    without = Compressed(f"{encoding}; {kind} compressed", written(kind, image[..., ::-1]))
    for message in (as_bgr, as_rgb, without):
        assert error(decode(message), image) < 3


@pytest.mark.parametrize("bits", [0, 10, 12, 14, 16])
def test_a_png_of_sixteen_bits_is_read_as_the_raw_image_is(bits: int) -> None:
    plane = np.random.default_rng(4).integers(0, 2 ** (bits or 16), (12, 16), np.uint16)
    assert np.array_equal(
        decode(Compressed("mono16; png compressed ", written("png", plane)), bits),
        decode(encode(plane, "mono16"), bits),
    )
    colors = np.random.default_rng(4).integers(0, 2 ** (bits or 16), (12, 16, 3), np.uint16)
    decoded = decode(Compressed("rgb16; png compressed bgr16", written("png", colors)), bits)
    expected = (colors[..., ::-1] >> ((bits or 16) - 8)).astype(np.uint8)
    assert np.array_equal(decoded, expected)


def test_gray_becomes_rgb_and_alpha_is_dropped() -> None:
    gray = Compressed("mono8; png compressed ", written("png", np.full((3, 4), 77, np.uint8)))
    assert np.array_equal(decode(gray), np.full((3, 4, 3), 77))
    with_alpha = written("png", np.full((3, 4, 4), (10, 20, 30, 0), np.uint8))
    assert np.array_equal(decode(Compressed("png", with_alpha)), np.full((3, 4, 3), (30, 20, 10)))


GRAY, COLOR = np.full((8, 8), 100, np.uint8), np.full((8, 8, 3), 100, np.uint8)


@pytest.mark.parametrize(
    ("text", "pixels", "sentence"),
    [
        ("bayer_rggb8; jpeg compressed ", COLOR, "says that it is a Bayer mosaic, but has colors"),
        ("bayer_rggb8; jpeg compressed bgr8", GRAY, "says that it is in color, but is gray"),
        ("rgb8; jpeg compressed bgr8", GRAY, "says that it is in color, but is gray"),
        ("bayer_rggb10; jpeg compressed ", GRAY, "has an encoding that is not known"),
        ("32FC1; png compressed ", GRAY, "has an encoding that is not known"),
        ("16UC1; compressedDepth png", GRAY, "holds distances and no camera's picture"),
    ],
)
@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_a_format_that_cannot_be_obeyed_is_refused(kind: str, text: str, pixels: np.ndarray, sentence: str) -> None:
    with pytest.raises(ImageError, match=sentence):
        decode(Compressed(text, written(kind, pixels)))


@pytest.mark.parametrize(("place", "value"), [(1, 0xC3), (4, 12)])
def test_a_jpeg_of_another_kind_is_not_called_damaged(place: int, value: int) -> None:
    """Lossless, and of 12 bits: here only the header says so."""
    data = bytearray(written("jpeg", COLOR))
    data[data.index(b"\xff\xc0") + place] = value
    with pytest.raises(ImageError, match="of a kind that is not read, or its header is damaged"):
        decode(Compressed("jpeg", bytes(data)))


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.from_regex(r"[a-z0-9_]{0,12};? ?(jpeg|png)? ?(compressed)? ?[a-z0-9_]{0,12}"))
def test_any_format_gives_a_picture_or_a_sentence(text: str) -> None:
    for kind, pixels in (("jpeg", COLOR), ("png", GRAY)):
        with suppress(ImageError):
            assert decode(Compressed(text, written(kind, pixels))).shape == (8, 8, 3)
