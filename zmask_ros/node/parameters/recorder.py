"""The parameters of `recorder`."""

from __future__ import annotations

from dataclasses import dataclass

from zmask_ros.node.parameters.spec import parameter

RECORDED = ["image_raw", "camera_info", "zmask/attack", "zmask/segmentation", "zmask/mask", "zmask/overlay"]


@dataclass(frozen=True)
class RecorderParameters:
    """What a user can set of `recorder`; each field carries its description."""

    path: str = parameter("", "Where the bag goes: a directory, or a file that ends in .mcap.")
    topics: list[str] = parameter(RECORDED, "The topics to record, relative to the node's namespace.")
    overwrite: bool = parameter(False, "Replace a bag that is there already.")
    compress: bool = parameter(False, "Compress the bag: half the size, several times the work.")
    last: str = parameter(
        "image_raw",
        "Subscribed to when all other topics of this namespace have a publisher, so that a camera which waits for its "
        "subscribers starts when everything is recorded; empty: at once.",
    )
    summary: str = parameter("", "Path of a JSON file with the messages per topic, written at the end; empty: none.")
