"""Pictures of many streets."""

from itertools import islice

import numpy as np

from zmask_ros.data.street import StreetDrive
from zmask_ros.data.street.drive import CARRIERS
from zmask_ros.data.street.pictures import PICTURE_SEEDS, PICTURES_A_STREET, STREET_S, street_pictures


def test_each_carrier_has_its_turn_and_each_street_two_pictures():
    pictures = list(islice(street_pictures((48, 64)), PICTURES_A_STREET * len(CARRIERS)))
    expected = [
        frame.image
        for seed, carrier in zip(PICTURE_SEEDS, CARRIERS, strict=False)
        for frame in StreetDrive(seed, STREET_S, PICTURES_A_STREET / STREET_S, 64, 48, carrier)
    ]
    assert len(pictures) == len(expected) == 6
    assert all(np.array_equal(own, other) for own, other in zip(pictures, expected, strict=True))
    assert len({own.tobytes() for own in pictures}) == len(pictures)
