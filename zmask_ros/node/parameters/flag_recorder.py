"""The parameters of `flag_recorder`, which `zmask record` runs."""

from __future__ import annotations

from dataclasses import dataclass

from zmask_ros.node.parameters.spec import parameter


@dataclass(frozen=True)
class FlagRecorderParameters:
    """What a user can set of `flag_recorder`; each field carries its description."""

    path: str = parameter("", "Folder of the mcap files; more files are added to those that are there.")
    cameras: list[str] = parameter(
        [""], "The cameras of defense_node, each with topics in its own namespace; an empty name: in the node's."
    )
    flags: str = parameter("zmask/attack", "Topic of a camera's flags; every one is written.")
    pictures: list[str] = parameter(
        ["image_raw", "camera_info", "zmask/mask"], "Topics of a camera that are written around an attack."
    )
    before_s: float = parameter(10.0, "Seconds of pictures before an attack.", minimum=0.0, maximum=600.0)
    after_s: float = parameter(10.0, "Seconds of pictures after the last attacked frame.", minimum=0.0, maximum=3600.0)
    memory_mib: int = parameter(
        512,
        "Memory in MiB for pictures that wait for an attack, shared by the cameras; as much again for those that wait "
        "for the disk.",
        minimum=1,
        maximum=1_000_000,
    )
    file_mib: int = parameter(
        256, "A file of this size in MiB is finished and the next begun.", minimum=1, maximum=65536
    )
    total_mib: int = parameter(
        8192, "All files together, in MiB; the oldest are removed.", minimum=2, maximum=1_000_000_000
    )
    sync_s: float = parameter(1.0, "Seconds between two syncs: what a power cut can take.", minimum=0.05, maximum=60.0)
