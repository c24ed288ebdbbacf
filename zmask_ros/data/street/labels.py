"""CamVid's eleven classes, and the ids that only live on the canvas while a frame is drawn."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

CLASS_NAMES = (
    "Sky",
    "Building",
    "Pole",
    "Road",
    "Pavement",
    "Tree",
    "SignSymbol",
    "Fence",
    "Car",
    "Pedestrian",
    "Bicyclist",
)


class Label(IntEnum):
    """Ids of the drawn classes; the last two become BUILDING and CAR when the frame is finished."""

    SKY = 0
    BUILDING = 1
    POLE = 2
    ROAD = 3
    PAVEMENT = 4
    TREE = 5
    SIGN = 6
    FENCE = 7
    CAR = 8
    PEDESTRIAN = 9
    BICYCLIST = 10
    PICTURE_ON_BILLBOARD = 101
    PICTURE_ON_TRUCK = 102


def _final_labels() -> np.ndarray:
    table = np.arange(256, dtype=np.uint8)
    table[Label.PICTURE_ON_BILLBOARD] = Label.BUILDING
    table[Label.PICTURE_ON_TRUCK] = Label.CAR
    return table


FINAL_LABELS = _final_labels()
