"""Which of the files that come with the package is taken."""

from __future__ import annotations

import pytest

from zmask_ros.errors import ZmaskError
from zmask_ros.resources import shipped_patch


@pytest.mark.parametrize(
    ("segmenter", "carrier", "name"),
    [
        ("lraspp_camvid", "", "lraspp_camvid.patch.png"),
        ("lraspp_camvid", "truck", "lraspp_camvid.truck.patch.png"),
        ("lraspp_camvid", "billboard", "lraspp_camvid.patch.png"),
        ("unet_camvid", "truck", "unet_camvid.patch.png"),
    ],
)
def test_a_patch_is_that_of_its_carrier_where_there_is_one(segmenter: str, carrier: str, name: str) -> None:
    assert shipped_patch(segmenter, carrier).name == name


def test_where_no_patch_is_shipped_the_sentence_says_how_to_make_one() -> None:
    with pytest.raises(ZmaskError, match="No patch is shipped for segmenter 'mine': make one with zmask attack"):
        shipped_patch("mine", "truck")
