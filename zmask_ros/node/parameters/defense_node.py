"""The parameters of `defense_node`. config/defense.yaml repeats them for users; a test holds the two together."""

from __future__ import annotations

from dataclasses import dataclass

from zmask_ros.flags.topics import TRANSPORTS
from zmask_ros.inference import RUNTIMES
from zmask_ros.node.parameters.spec import parameter

MODES = ("streaming", "full")
IMAGE_TRANSPORTS = ("raw", *TRANSPORTS)
# rclpy takes an empty list for a list of bytes.
ONE_CAMERA = [""]


@dataclass(frozen=True)
class DefenseParameters:
    """What a user can set of `defense_node`; each field carries its description."""

    cameras: list[str] = parameter(
        ONE_CAMERA,
        "Names of the cameras, such as front and rear: each has its topics in a namespace of its name, and its own "
        "parameters. One empty name: one camera, whose topics lie in the node's own namespace.",
    )
    autostart: bool = parameter(
        True, "Configure and activate at the start; false leaves it to a lifecycle manager, or to ros2 lifecycle."
    )
    segmenter: str = parameter(
        "lraspp_camvid", "Name of a segmenter in config/segmenters, or the path of a YAML file that describes one."
    )
    profile: str = parameter(
        "", "Path of the profile (.zmask.safetensors) that zmask fit made; empty: the one shipped with the segmenter."
    )
    device: str = parameter(
        "auto", "Where the network runs: auto, cpu, cuda or cuda:N; auto takes cuda if there is one."
    )
    runtime: str = parameter(
        "",
        "What the network runs in: torch; onnx, ONNX Runtime, which is refused where it says anything else than torch; "
        "auto, onnx where it can be used and otherwise torch. Empty: as the segmenter's description says, or torch.",
        choices=("", *RUNTIMES),
    )
    graphs: str = parameter(
        "",
        "Folder that zmask export wrote for this segmenter and profile, for onnx; empty: the graphs are made when the "
        "network is loaded.",
    )
    image_transport: str = parameter(
        "raw",
        "raw subscribes to image_raw, compressed to image_raw/compressed; ffmpeg and foxglove are video, from "
        "image_raw/ffmpeg (FFMPEGPacket) and image_raw/foxglove (CompressedVideo).",
        choices=IMAGE_TRANSPORTS,
    )
    significant_bits: int = parameter(
        0,
        "Of 16-bit images, so many low bits carry the picture: 12 for a camera of 12 bits. 0, auto: all 16, and where "
        "they seem to be fewer, the flag's reason says so.",
        minimum=0,
        maximum=16,
    )
    mode: str = parameter(
        "streaming",
        "streaming analyses a clean frame only where the screening asks for it, and masks a known patch within one "
        "pass of the network; full analyses every frame, and segments an attacked one twice. With publish_undefended "
        "it is always full.",
        choices=MODES,
    )
    keyframe_interval_s: float = parameter(
        0.5,
        "In streaming mode, seconds after which a frame is fully analysed again, with a known patch or without.",
        minimum=0.0,
        maximum=60.0,
    )
    threshold: float = parameter(
        0.0,
        "A frame is an attack when its score is above this; 0 takes the profile's threshold.",
        minimum=0.0,
        live=True,
    )
    masking_threshold: float = parameter(
        0.0,
        "A frame is masked and segmented again when its score is above this, even if it is not called an attack; 0 "
        "takes the profile's. What is an attack is always masked.",
        minimum=0.0,
        live=True,
    )
    attack_on_frames: int = parameter(
        0,
        "So many attacked frames in a row raise the alarm; 0 takes the vote of the profile, which is 1 of 1 unless "
        "it was calibrated otherwise.",
        minimum=0,
        maximum=1000,
        live=True,
    )
    attack_off_frames: int = parameter(
        1, "So many clean frames in a row have to follow before the alarm ends.", minimum=1, maximum=1000, live=True
    )
    drift_every_frames: int = parameter(
        5,
        "Each so many-th frame of a camera is compared with the profile, to tell whether it fits; 0: none is.",
        minimum=0,
        maximum=1000,
    )
    drift_warning: float = parameter(
        1.0,
        "Diagnostics warn that the profile may not fit a camera above this distance; 1: as far as held-out stretches "
        "of the drives that it was fitted on.",
        minimum=0.0,
        live=True,
    )
    drift_error: float = parameter(
        1.5, "Diagnostics report an error, that the profile does not fit, above this distance.", minimum=0.0, live=True
    )
    least_verdict_share: float = parameter(
        0.5,
        "Diagnostics warn when a smaller share than this of a camera's frames of the last 5 s got a verdict, as on a "
        "machine that is too busy; 0: they never do.",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )
    max_batch: int = parameter(
        8,
        "Frames of several cameras that wait together are worked on together, but not more than this.",
        minimum=1,
        maximum=64,
    )
    max_age_s: float = parameter(
        0.0,
        "A frame whose stamp is older than this when its turn comes is not worked on and flagged unknown; 0: no limit.",
        minimum=0.0,
        maximum=3600.0,
    )
    timeout_s: float = parameter(
        1.0,
        "Without a frame for this many seconds a flag says unknown, and diagnostics report an error; without a verdict "
        "for so long the alarm is unknown.",
        minimum=0.05,
        maximum=3600.0,
    )
    stuck_after_s: float = parameter(
        1.5,
        "A frame that the network has been working on for this many seconds is flagged unknown, and so is what waits.",
        minimum=0.1,
        maximum=600.0,
    )
    num_threads: int = parameter(0, "CPU threads of the network; 0 leaves it to torch.", minimum=0, maximum=1024)
    camera_name: str = parameter(
        "", "With one camera, its name in flags and diagnostics; empty: the node's namespace, or else 'camera'."
    )
    hardware_id: str = parameter("", "Hardware id in diagnostics; empty: the names of the cameras.")
    diagnostics_period_s: float = parameter(
        1.0, "Seconds between two messages on /diagnostics, by the wall clock.", minimum=0.1, maximum=60.0
    )
    publish_undefended: bool = parameter(
        False, "Also publish zmask/undefended, the labels that the network gives without the defence, to compare."
    )


@dataclass(frozen=True)
class CameraParameters:
    """Of each camera that is named in `cameras`, such as ``front.profile``; empty takes what all cameras have."""

    image_topic: str = parameter(
        "", "Topic of its images without /compressed and the like; empty: image_raw in its namespace."
    )
    image_transport: str = parameter(
        "", "As image_transport of the node; empty: the same as that.", choices=("", *IMAGE_TRANSPORTS)
    )
    profile: str = parameter("", "Path of its own profile; empty: as profile of the node.")
    significant_bits: int = parameter(
        0, "Of its 16-bit images; 0: as significant_bits of the node.", minimum=0, maximum=16
    )
