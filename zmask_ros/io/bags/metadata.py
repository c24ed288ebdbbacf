"""What the metadata.yaml of a rosbag2 directory says, in any of its versions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from zmask_ros.io.bags.offered_qos import OfferedQos, read_offered_qos
from zmask_ros.io.bags.raw_messages import BagError


@dataclass(frozen=True)
class BagMetadata:
    """What is used of a metadata.yaml; what the storage files say of themselves is not taken from here.

    Attributes:
        version: of its layout.
        storage: the storage plugin, such as `mcap`; empty after a reindexing by Humble.
        distribution: of ROS that recorded it; empty before version 8.
        compression: such as `zstd (file)`; empty without.
        files: the names of the storage files in the order of recording.
        total: the messages of all topics.
        counts: the messages of each topic.
        offered: the quality of service that the recorded publishers of each topic offered, where it is known.
    """

    version: int
    storage: str
    distribution: str
    compression: str
    files: tuple[str, ...]
    total: int
    counts: dict[str, int]
    offered: dict[str, OfferedQos]


def read_metadata(path: Path) -> BagMetadata:
    """Read a metadata.yaml.

    Raises:
        BagError: it cannot be understood.
    """
    # What is not what it should be raises exceptions of no common class.
    try:
        information = yaml.safe_load(path.read_text("utf-8"))["rosbag2_bagfile_information"]
        return _metadata(information)
    except PermissionError as error:
        raise BagError(f"{path} may not be read: {error.strerror}.") from error
    except Exception as error:
        reason = "it is empty" if not path.stat().st_size else str(error) or type(error).__name__
        raise BagError(f"its metadata.yaml cannot be understood ({' '.join(reason.split())})") from error


def _metadata(information: dict[str, Any]) -> BagMetadata:
    counts: dict[str, int] = {}
    offered: dict[str, OfferedQos] = {}
    for topic in information.get("topics_with_message_count") or ():
        name = topic["topic_metadata"]["name"]
        counts[name] = counts.get(name, 0) + int(topic.get("message_count") or 0)
        if (qos := read_offered_qos(topic["topic_metadata"].get("offered_qos_profiles"))) is not None:
            offered[name] = qos
    compression = information.get("compression_format") or ""
    mode = (information.get("compression_mode") or "none").lower()
    return BagMetadata(
        version=int(information.get("version") or 0),
        storage=information.get("storage_identifier") or "",
        distribution=information.get("ros_distro") or "",
        compression=f"{compression} ({mode})" if compression and mode != "none" else "",
        # Up to version 3 the name of the folder stood before that of the file.
        files=tuple(re.split(r"[/\\]", name)[-1] for name in information.get("relative_file_paths") or ()),
        total=int(information.get("message_count") or 0),
        counts=counts,
        offered=offered,
    )
