from __future__ import annotations

import array
import struct
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zmask_ros.io.images.codec import (
    ENCODINGS,
    ImageError,
    ImageFields,
    decode,
    encode,
    encode_compressed,
)
from zmask_ros.io.images.damage import png_ends_early
from zmask_ros.io.images.pixel_layouts import LAYOUTS

LOSSLESS = (
    *("rgb8", "bgr8", "rgba8", "bgra8", "8UC3", "8UC4"),
    *("rgb16", "bgr16", "rgba16", "bgra16", "16UC3", "16UC4"),
)
GREY = ("mono8", "8UC1", "mono16", "16UC1")
YUV = ("yuv422", "uyvy", "yuv422_yuy2", "yuyv", "nv12", "nv21", "nv24")
BAYER = tuple(name for name in ENCODINGS if name.startswith("bayer"))


@dataclass(frozen=True)
class Compressed:
    format: str
    data: Any


def rows_of(fields: ImageFields) -> np.ndarray:
    return np.frombuffer(fields.data, np.uint8).reshape(-1, fields.step)


def with_padding(fields: ImageFields, padding: int) -> ImageFields:
    """The same image as a driver writes it that aligns its rows: what fills the gap must not show."""
    padded = np.pad(rows_of(fields), ((0, 0), (0, padding)), constant_values=0xA5)
    return replace(fields, step=padded.shape[1], data=array.array("B", padded.tobytes()))


def as_big_endian(fields: ImageFields) -> ImageFields:
    swapped = np.frombuffer(fields.data, "<u2").byteswap().tobytes()
    return replace(fields, is_bigendian=1, data=array.array("B", swapped))


def random_image(seed: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def blocky_image(seed: int, height: int, width: int) -> np.ndarray:
    """Constant over aligned 2x2 pixels, so that shared chroma loses nothing."""
    small = random_image(seed, (height + 1) // 2, (width + 1) // 2)
    return np.ascontiguousarray(small.repeat(2, axis=0).repeat(2, axis=1)[:height, :width])


def round_trip(image: np.ndarray, encoding: str, padding: int, big_endian: bool) -> np.ndarray:
    fields = encode(image, encoding)
    if big_endian and encoding.upper().find("16") >= 0:
        fields = as_big_endian(fields)
    return decode(with_padding(fields, padding))


sizes = st.integers(1, 37)
paddings = st.integers(0, 9)
seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(LOSSLESS), seeds, sizes, sizes, paddings, st.booleans())
def test_colour_survives_exactly(name: str, seed: int, h: int, w: int, padding: int, big: bool) -> None:
    image = random_image(seed, h, w)
    assert np.array_equal(round_trip(image, name, padding, big), image)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(GREY), seeds, sizes, sizes, paddings, st.booleans())
def test_grey_comes_back_as_rgb(name: str, seed: int, h: int, w: int, padding: int, big: bool) -> None:
    grey = random_image(seed, h, w)[..., :1].repeat(3, axis=2)
    assert np.array_equal(round_trip(grey, name, padding, big), grey)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(YUV), seeds, sizes, sizes, paddings)
def test_yuv_survives_within_its_quantisation(name: str, seed: int, h: int, w: int, padding: int) -> None:
    image = blocky_image(seed, h, w)
    # Its chroma has rows of two steps; `test_nv24_...` has padding.
    decoded = round_trip(image, name, 0 if name == "nv24" else padding, big_endian=False)
    assert decoded.shape == image.shape
    assert np.abs(decoded.astype(int) - image).max() <= 4


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(BAYER),
    st.tuples(*[st.integers(0, 255)] * 3),
    st.integers(3, 37),
    st.integers(3, 37),
    paddings,
    st.booleans(),
)
def test_bayer_gives_a_plain_colour_back(
    name: str, colour: tuple[int, int, int], h: int, w: int, padding: int, big: bool
) -> None:
    image = np.full((h, w, 3), colour, np.uint8)
    assert np.array_equal(round_trip(image, name, padding, big), image)


@pytest.mark.parametrize(
    ("name", "mosaic"),
    [
        ("bayer_rggb8", [[200, 90], [90, 20]]),
        ("bayer_bggr8", [[20, 90], [90, 200]]),
        ("bayer_gbrg8", [[90, 20], [200, 90]]),
        ("bayer_grbg8", [[90, 200], [20, 90]]),
    ],
)
def test_bayer_names_read_the_first_two_by_two_pixels(name: str, mosaic: list[list[int]]) -> None:
    data = np.tile(np.array(mosaic, np.uint8), (4, 5))
    rgb = decode(ImageFields(8, 10, name, 0, 10, array.array("B", data.tobytes())))
    assert rgb.shape == (8, 10, 3)
    assert np.all(rgb == [200, 90, 20])


def test_bayer_keeps_the_place_of_a_red_corner() -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    image[:8, :8, 0] = 255
    decoded = decode(encode(image, "bayer_gbrg8"))
    assert np.all(decoded[2:6, 2:6] == [255, 0, 0])
    assert np.all(decoded[10:, 10:] == 0)


@pytest.mark.parametrize("name", BAYER)
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 9), (9, 2)])
def test_bayer_of_a_pixel_or_two_is_not_black(name: str, size: tuple[int, int]) -> None:
    rgb = decode(encode(np.full((*size, 3), 130, np.uint8), name))
    assert rgb.shape == (*size, 3)
    assert rgb.max() == 130


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("uyvy", [90, 81, 240, 145]),
        ("yuyv", [81, 90, 145, 240]),
        ("yuv422", [90, 81, 240, 145]),
        ("yuv422_yuy2", [81, 90, 145, 240]),
    ],
)
def test_yuv422_orders_are_told_apart(name: str, data: list[int]) -> None:
    rgb = decode(ImageFields(1, 2, name, 0, 4, array.array("B", data)))
    assert np.abs(rgb[0, 0].astype(int) - [255, 0, 0]).max() <= 3
    assert rgb[0, 1].min() > 60
    assert rgb[0, 1, 0] == 255


def test_an_odd_width_of_yuv422_uses_half_of_the_last_pair() -> None:
    first_black_then_red = array.array("B", [128, 16, 128, 16, 90, 81, 240, 99])
    rgb = decode(ImageFields(1, 3, "uyvy", 0, 8, first_black_then_red))
    assert rgb.shape == (1, 3, 3)
    assert rgb[0, 0].max() <= 2
    assert np.abs(rgb[0, 2].astype(int) - [255, 0, 0]).max() <= 3


def test_nv12_of_odd_size_has_chroma_for_the_last_row_and_column() -> None:
    image = np.zeros((5, 7, 3), np.uint8)
    image[4:, 6:] = [255, 0, 0]
    fields = encode(image, "nv12")
    assert (fields.step, len(fields.data)) == (8, 8 * (5 + 3))
    decoded = decode(fields)
    assert np.abs(decoded[4, 6].astype(int) - [255, 0, 0]).max() <= 4
    assert decoded[:4, :6].max() <= 4


def test_nv24_has_a_pair_of_chroma_for_every_pixel_in_rows_of_twice_the_step() -> None:
    luma = [[81, 145, 41], [16, 235, 81]]
    chroma = [[90, 240, 54, 34, 240, 110], [128, 128, 128, 128, 90, 240]]
    rows = [[*luma[0], 7], [*luma[1], 7], [*chroma[0], 7, 7], [*chroma[1], 7, 7]]
    data = array.array("B", [value for row in rows for value in row])
    expected = [[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[0, 0, 0], [255, 255, 255], [255, 0, 0]]]
    assert np.abs(decode(ImageFields(2, 3, "nv24", 0, 4, data)).astype(int) - expected).max() <= 2


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["mono16", "rgb16", "bgra16", "bayer_grbg16"]), st.integers(1, 16), seeds, st.booleans())
def test_significant_bits_are_stretched_to_eight(name: str, bits: int, seed: int, big: bool) -> None:
    height, width, channels = 6, 8, {"rgb16": 3, "bgra16": 4}.get(name, 1)
    full = np.random.default_rng(seed).integers(0, 2**bits, (height, width * channels), np.uint16)
    as_sixteen, step = full << (16 - bits), width * channels * 2
    expected = decode(ImageFields(height, width, name, 0, step, array.array("B", as_sixteen.tobytes())))
    data = array.array("B", (full.byteswap() if big else full).tobytes())
    assert np.array_equal(decode(ImageFields(height, width, name, int(big), step, data), bits), expected)


def test_what_lies_above_the_significant_bits_is_full_scale_and_not_wrapped() -> None:
    values = np.array([[0, 4095, 4096, 65535]], "<u2")
    decoded = decode(ImageFields(1, 4, "mono16", 0, 8, array.array("B", values.tobytes())), 12)
    assert decoded[0, :, 0].tolist() == [0, 255, 255, 255]


def test_significant_bits_say_nothing_about_images_of_eight() -> None:
    image = random_image(8, 6, 5)
    for message in (encode(image, "bgr8"), Compressed("png", encode_compressed(image, "png"))):
        assert np.array_equal(decode(message, 12), image)


def test_sixteen_bits_lose_their_low_byte_and_nothing_else() -> None:
    values = np.array([[0x0000, 0x00FF, 0x0100, 0x12FF, 0xFFFF]], "<u2")
    data = array.array("B", values.tobytes())
    rgb = decode(ImageFields(1, 5, "mono16", 0, 10, data))
    assert rgb[0, :, 0].tolist() == [0, 0, 1, 0x12, 0xFF]
    swapped = array.array("B", values.byteswap().tobytes())
    assert np.array_equal(decode(ImageFields(1, 5, "16UC1", 1, 10, swapped)), rgb)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, np.array, array.array])
def test_every_kind_of_buffer_is_read(kind: Any) -> None:
    image = random_image(1, 6, 5)
    raw = image.tobytes()
    data = {np.array: image, array.array: array.array("B", raw)}.get(kind)
    message = ImageFields(6, 5, "rgb8", 0, 15, kind(raw) if data is None else data)
    assert np.array_equal(decode(message), image)


def test_rgb8_is_a_view_of_the_message_with_or_without_padding() -> None:
    fields = encode(random_image(2, 6, 5), "rgb8")
    for message in (fields, with_padding(fields, 3)):
        assert np.shares_memory(decode(message), np.frombuffer(message.data, np.uint8))


@pytest.mark.parametrize(("name", "sample"), [("mono8", "u1"), ("16UC1", "u2"), ("32FC1", "f4")])
def test_planes_keep_their_type(name: str, sample: str) -> None:
    plane = np.arange(35, dtype=sample).reshape(5, 7)
    fields = encode(plane, name)
    assert (fields.height, fields.width, fields.encoding, fields.is_bigendian) == (5, 7, name, 0)
    assert fields.step == 7 * plane.itemsize
    assert np.array_equal(np.frombuffer(fields.data, plane.dtype.newbyteorder("<")).reshape(5, 7), plane)


def test_a_plane_of_another_type_is_refused() -> None:
    with pytest.raises(ImageError, match="float64"):
        encode(np.zeros((4, 4)), "32FC1")


GOOD = encode(random_image(3, 4, 6), "rgb8")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"height": 0}, "6x0 pixels has no content"),
        ({"width": 0}, "0x4 pixels has no content"),
        ({"width": -6}, "no content"),
        ({"step": 17}, "step 17 is less than the 18 bytes"),
        ({"step": 0}, "step 0 is less"),
        ({"step": 19}, "data has 72 bytes, but rgb8 with 4 rows of step 19 needs 76"),
        ({"height": 5}, "needs 90"),
        ({"data": array.array("B")}, "data has 0 bytes"),
        ({"encoding": "rgb9"}, "Unknown image encoding 'rgb9'; known are rgb8, bgr8"),
        ({"encoding": ""}, "Unknown image encoding ''"),
        ({"encoding": "32FC1"}, "encoding '32FC1' holds numbers, such as distances or a heat map"),
        ({"encoding": "16SC2"}, "encoding '16SC2' holds numbers"),
        ({"height": 2**31, "width": 2**31}, "beyond the limit of 64 Mpx"),
        ({"data": "text"}, "not a buffer of bytes"),
    ],
)
def test_fields_that_lie_are_named(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ImageError, match=sentence):
        decode(replace(GOOD, **change))


@pytest.mark.parametrize("name", ENCODINGS)
def test_one_missing_byte_is_noticed_in_every_encoding(name: str) -> None:
    fields = encode(random_image(4, 5, 7), name)
    with pytest.raises(ImageError, match="needs"):
        decode(replace(fields, data=fields.data[:-1]))
    with pytest.raises(ImageError, match="less than"):
        decode(replace(fields, step=LAYOUTS[name].row_bytes(7) - 1))


@pytest.mark.parametrize("kind", ["jpeg", "png"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.99])
def test_a_cut_off_image_is_refused(kind: str, share: float) -> None:
    data = encode_compressed(random_image(6, 40, 60), kind)
    with pytest.raises(ImageError, match=r"corrupt or cut off|neither JPEG nor PNG"):
        decode(Compressed(kind, data[: int(len(data) * share)]))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_never_a_picture(noise: bytes) -> None:
    for beginning in (b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n"):
        with pytest.raises(ImageError):
            decode(Compressed("jpeg", beginning + noise))


def test_an_absurd_size_is_refused_before_it_is_decoded() -> None:
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header + b"\0\0\0\0"
    with pytest.raises(ImageError, match="60000x60000 pixels is beyond the limit"):
        decode(Compressed("png", bomb))


def test_a_chunk_that_claims_gigabytes_is_refused_before_memory_is_cleared_for_it() -> None:
    data = encode_compressed(random_image(6, 4, 6), "png")
    at = data.index(b"IDAT")
    claiming = data[: at - 4] + struct.pack(">I", 2**31 - 1) + data[at:]
    assert png_ends_early(claiming)
    with pytest.raises(ImageError, match="corrupt or cut off"):
        decode(Compressed("png", claiming))
    assert not png_ends_early(data + b"after the end")
    assert decode(Compressed("png", data + b"after the end")).shape == (4, 6, 3)


def test_something_else_is_named() -> None:
    with pytest.raises(ImageError, match="A dict is neither"):
        decode({})


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3)),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_only_rgb_images_are_encoded(image: np.ndarray) -> None:
    with pytest.raises(ImageError):
        encode(image, "rgb8")
    with pytest.raises(ImageError):
        encode_compressed(image)


def test_encoded_data_is_what_rclpy_takes_without_looking() -> None:
    fields = encode(random_image(7, 4, 6), "rgb8")
    assert isinstance(fields.data, array.array)
    assert fields.data.typecode == "B"
