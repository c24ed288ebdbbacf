"""The parameters of `street_camera`."""

from __future__ import annotations

from dataclasses import dataclass

from zmask_ros.node.parameters.spec import parameter

CARRIERS = ("none", "billboard", "truck")
PACES = ("realtime", "lockstep")


@dataclass(frozen=True)
class StreetCameraParameters:
    """What a user can set of `street_camera`; each field carries its description."""

    seed: int = parameter(1, "Which street: the same seed gives the same drive.", minimum=0)
    rate_hz: float = parameter(15.0, "Frames per second of the drive.", minimum=0.1, maximum=120.0)
    duration_s: float = parameter(20.0, "Length of the drive in seconds.", minimum=0.1, maximum=3600.0)
    width: int = parameter(640, "Width of the images in pixels.", minimum=64, maximum=4096)
    height: int = parameter(480, "Height of the images in pixels.", minimum=64, maximum=4096)
    carrier: str = parameter("billboard", "What can carry a picture.", choices=CARRIERS)
    picture: str = parameter(
        "", "Path of a picture on the carrier, such as a patch of zmask attack; empty: an advertisement."
    )
    picture_from_s: float = parameter(0.0, "Second of the drive from which the picture is there.", minimum=0.0)
    picture_until_s: float = parameter(1e9, "Second of the drive until which the picture is there.", minimum=0.0)
    pace: str = parameter(
        "realtime",
        "realtime sends at rate_hz; lockstep sends a frame when the flag of the frame before has come.",
        choices=PACES,
    )
    min_subscribers: int = parameter(
        1, "The drive starts when image_raw has so many subscribers.", minimum=0, maximum=100
    )
    settle_s: float = parameter(
        0.5, "Seconds between finding them and the first frame: discovery is not symmetric.", minimum=0.0, maximum=60.0
    )
    flag_timeout_s: float = parameter(5.0, "In lockstep: how long to wait for a flag.", minimum=0.1, maximum=600.0)
    frame_id: str = parameter("street_camera", "Frame id of the images.")
    drawn_first: bool = parameter(
        False, "Draw the whole drive before it begins: it takes memory, and no time from the defense."
    )
    loop: bool = parameter(False, "Start the drive again at its end; time jumps back, as with a bag in a loop.")
    summary: str = parameter("", "Path of a JSON file with the counts, written at the end; empty: none.")
