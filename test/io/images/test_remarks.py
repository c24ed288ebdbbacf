"""What is said of images in which little can be seen, or that were perhaps read too dark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pytest

from support.lossy_jpegs import street_frames
from zmask_ros.io.images.codec import AUTO_BITS, decode, encode
from zmask_ros.io.images.remarks import NEARLY_BLACK, NEARLY_ONE_COLOR, PROGRESSIVE, remark, visibility_remark


@dataclass(frozen=True)
class Compressed:
    format: str
    data: Any


def said_of(message: Any, significant_bits: int = AUTO_BITS) -> str:
    return remark(message, decode(message, significant_bits), significant_bits)


def noise(low: int, high: int, height: int = 120, width: int = 160) -> np.ndarray:
    return np.random.default_rng(1).integers(low, high, (height, width, 3), np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (480, 640), (720, 1280)])
def test_black_and_nearly_black_images_are_named(size: tuple[int, int]) -> None:
    assert visibility_remark(np.zeros((*size, 3), np.uint8)) == NEARLY_BLACK
    assert visibility_remark(noise(0, 16, *size)) == NEARLY_BLACK


@pytest.mark.parametrize("color", [(255, 255, 255), (127, 127, 127), (200, 60, 20), (16, 16, 16)])
def test_images_of_one_color_are_named(color: tuple[int, int, int]) -> None:
    constant = np.full((120, 160, 3), color, np.uint8)
    assert visibility_remark(constant) == NEARLY_ONE_COLOR
    assert visibility_remark(cv2.add(constant, noise(0, 3))) == NEARLY_ONE_COLOR


def test_a_hot_pixel_is_no_picture() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    image[::80, ::80] = 255
    assert visibility_remark(image) == NEARLY_BLACK


def test_pictures_pass_without_a_word_also_at_night_and_in_fog() -> None:
    for frame in street_frames():
        assert visibility_remark(frame) == ""
        assert visibility_remark((frame * 0.25).astype(np.uint8)) == ""
        assert visibility_remark((frame * 0.1 + 200).astype(np.uint8)) == ""


@pytest.mark.parametrize(("bits", "named"), [(8, 8), (9, 10), (10, 10), (11, 12), (12, 12), (13, 14), (14, 14)])
@pytest.mark.parametrize("encoding", ["mono16", "bayer_rggb16", "rgb16"])
def test_samples_of_fewer_bits_are_named_until_somebody_has_said_how_many(encoding: str, bits: int, named: int) -> None:
    wide = cv2.resize(street_frames()[0], (320, 240)).astype(np.uint16) * 257 >> (16 - bits)
    wide[0, 0] = 2**bits - 1
    plane = wide.reshape(240, -1) if encoding == "rgb16" else wide[..., 1]
    fields = encode(np.ascontiguousarray(plane), "mono16")
    message = type(fields)(240, 320, encoding, 0, fields.step, fields.data)
    assert f"seem to use {named} bits: set significant_bits to {named}," in said_of(message)
    for set_to in (named, 16):
        assert "significant_bits" not in said_of(message, set_to)
    assert said_of(message, bits) == ""


def test_samples_of_all_bits_pass_without_a_word() -> None:
    assert said_of(encode(street_frames()[0], "rgb16")) == ""
    wide = np.ascontiguousarray(street_frames()[0][..., ::-1]).astype(np.uint16) * 257
    assert said_of(Compressed("rgb16; png compressed bgr16", cv2.imencode(".png", wide)[1].tobytes())) == ""
    twelve = Compressed("rgb16; png compressed bgr16", cv2.imencode(".png", wide >> 4)[1].tobytes())
    assert "set significant_bits to 12" in said_of(twelve) and NEARLY_BLACK in said_of(twelve)
    assert said_of(twelve, 12) == ""


def test_a_progressive_jpeg_is_named() -> None:
    pixels = street_frames()[0][..., ::-1]
    for progressive, said in ((0, ""), (1, PROGRESSIVE)):
        data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive])[1].tobytes()
        assert said_of(Compressed("jpeg", data)) == said
