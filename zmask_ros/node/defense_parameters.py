"""The parameters of `defense_node`. config/defense.yaml repeats them for users; a test holds the two together."""

from __future__ import annotations

from dataclasses import dataclass

from zmask_ros.node.parameters import parameter

IMAGE_TRANSPORTS = ("raw", "compressed")


@dataclass(frozen=True)
class DefenseParameters:
    """See each field's description."""

    segmenter: str = parameter(
        "lraspp_camvid", "Name of a segmenter in config/segmenters, or the path of a YAML file that describes one."
    )
    profile: str = parameter(
        "", "Path of the profile (.zmask.safetensors) that zmask fit made; empty: the one shipped with the segmenter."
    )
    device: str = parameter(
        "auto", "Where the network runs: auto, cpu, cuda or cuda:N; auto takes cuda if there is one."
    )
    image_transport: str = parameter(
        "raw", "raw subscribes to image_raw, compressed to image_raw/compressed.", choices=IMAGE_TRANSPORTS
    )
    threshold: float = parameter(
        0.0,
        "A frame is an attack when its score is above this; 0 takes the profile's threshold.",
        minimum=0.0,
        live=True,
    )
    num_threads: int = parameter(0, "CPU threads of the network; 0 leaves it to torch.", minimum=0, maximum=1024)
    camera_name: str = parameter(
        "", "Name of the camera in diagnostics; empty: the node's namespace, or else 'camera'."
    )
    hardware_id: str = parameter("", "Hardware id in diagnostics; empty: the camera's name.")
    diagnostics_period_s: float = parameter(
        1.0, "Seconds between two messages on /diagnostics, by the wall clock.", minimum=0.1, maximum=60.0
    )
    stale_after_s: float = parameter(
        1.0, "Without a frame for this many seconds the input is reported as an error.", minimum=0.05, maximum=3600.0
    )
    publish_undefended: bool = parameter(
        False, "Also publish zmask/undefended, the labels that the network gives without the defence, to compare."
    )
