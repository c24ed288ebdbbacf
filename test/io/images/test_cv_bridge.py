"""Our codec against cv_bridge, where that is installed: every encoding that both know."""

from __future__ import annotations

import array
from dataclasses import replace

import numpy as np
import pytest

from zmask_ros.io.images.codec import ENCODINGS, ImageError, decode, encode

# One that is installed but broken is a failure.
cv_bridge = pytest.importorskip("cv_bridge", reason="cv_bridge is not installed", exc_type=ModuleNotFoundError)

# Rounded there, cut off here.
WIDE_TOLERANCE = 1


def known_to_both() -> list[str]:
    """What cv_bridge can make rgb8 of: it knows colors of none of the encodings that are named by a type alone."""
    image, bridge, known = np.zeros((4, 4, 3), np.uint8), cv_bridge.CvBridge(), []
    for name in ENCODINGS:
        try:
            bridge.imgmsg_to_cv2(encode(image, name), "rgb8")
        except cv_bridge.CvBridgeError:
            continue
        known.append(name)
    return known


@pytest.mark.parametrize("encoding", known_to_both())
@pytest.mark.parametrize("size", [(4, 6), (48, 64), (33, 50)])
def test_both_give_the_same_pixels(encoding: str, size: tuple[int, int]) -> None:
    random = np.random.default_rng(1)
    message = encode(random.integers(0, 256, (*size, 3), np.uint8), encoding)
    if "16" in encoding:
        # Low bytes too, which nothing that was 8 bits wide has.
        message = replace(message, data=array.array("B", random.bytes(len(message.data))))
    theirs = cv_bridge.CvBridge().imgmsg_to_cv2(message, "rgb8")
    difference = np.abs(decode(message).astype(int) - theirs)
    assert difference.max() <= (WIDE_TOLERANCE if "16" in encoding else 0)


def test_most_encodings_are_known_to_both() -> None:
    assert {"rgb8", "bgr8", "mono8", "mono16", "bayer_rggb8", "yuv422", "rgba16"} <= set(known_to_both())


def test_what_neither_knows_is_refused() -> None:
    message = encode(np.zeros((4, 4, 3), np.uint8), "rgb8")
    with pytest.raises(ImageError, match="Unknown image encoding 'rgb9'.*cv_bridge does not know it"):
        decode(type(message)(4, 4, "rgb9", 0, 12, message.data))
