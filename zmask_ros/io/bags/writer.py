"""Write mcap bags that `ros2 bag play`, RViz and Foxglove open: images, camera infos, and any other message."""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rosbags.interfaces import Connection, Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from zmask_ros.io.bags.camera_info import CameraInfoFields, RegionFields
from zmask_ros.io.bags.raw_messages import BagError
from zmask_ros.io.images.codec import encode
from zmask_ros.io.stamps import NANOSECONDS
from zmask_ros.resources import find_resource

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
# Jazzy also reads its predecessor's metadata, and so do the distributions before it.
_METADATA_VERSION: Literal[8] = 8
_FOREVER = QosTime(0, 0)


class BagWriter:
    """One bag, written into a temporary folder next to its place and put there when it is whole.

    A path that ends in ``.mcap`` becomes that one file, any other a rosbag2 directory. An exception within ``with``,
    Ctrl-C too, leaves nothing behind. A bag that cannot be put in its place is kept in that folder.

    Args:
        path: where the bag will be; its folder is made if need be.
        compress: zstd chunks; half the size for several times the writing time.
        overwrite: replace a bag that is there already; anything that is no bag is never replaced.

    Raises:
        BagError: something is at ``path`` already, or the folder cannot be written to.
    """

    def __init__(self, path: Path, compress: bool = False, overwrite: bool = False) -> None:
        self.path = Path(path)
        self._overwrite = overwrite
        _check_place(self.path, overwrite)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(".partial", f".{self.path.name}.", self.path.parent))
        except OSError as error:
            raise BagError(f"The bag {self.path} cannot be written: {error.strerror}.") from error
        self._partial = self._folder / self.path.name.removesuffix(".mcap")
        try:
            self._writer = Writer(self._partial, version=_METADATA_VERSION, storage_plugin=StoragePlugin.MCAP)
            if compress:
                self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
            self._writer.open()
        except BaseException as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            if isinstance(error, OSError):
                raise BagError(f"The bag {self.path} cannot be written: {error.strerror}.") from error
            raise
        self._connections: dict[str, Connection] = {}
        self._open = True

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def write_image(
        self, topic: str, image: np.ndarray, encoding: str, stamp_ns: int, frame_id: str, received_ns: int | None = None
    ) -> None:
        """An `Image`; ``image`` and ``encoding`` as in `zmask_ros.io.images.codec.encode`.

        ``stamp_ns`` is the header's; ``received_ns`` (default: the same) orders the messages in the bag.
        """
        fields = encode(image, encoding)
        data = np.frombuffer(fields.data, np.uint8)
        message = message_class(IMAGE)(header=header_message(stamp_ns, frame_id), **vars(fields) | {"data": data})
        self.write_message(topic, IMAGE, message, stamp_ns if received_ns is None else received_ns)

    def write_camera_info(
        self, topic: str, info: CameraInfoFields, stamp_ns: int, frame_id: str, received_ns: int | None = None
    ) -> None:
        """A `CameraInfo`."""
        matrices = {"d": info.d, "k": info.k, "r": info.r, "p": info.projection}
        fields = vars(info) | {name: np.asarray(values, np.float64) for name, values in matrices.items()}
        fields["roi"] = region_message(info.roi)
        message = message_class(CAMERA_INFO)(header=header_message(stamp_ns, frame_id), **fields)
        self.write_message(topic, CAMERA_INFO, message, stamp_ns if received_ns is None else received_ns)

    def write_message(self, topic: str, msgtype: str, message: Any, received_ns: int) -> None:
        """Any message of ROS 2 Jazzy's own packages, such as one that `CameraBags.messages` handed on.

        Raises:
            BagError: a type that is not known, fields that do not fit it, or a disk that is full.
        """
        # First, so that an unknown type and a message that does not fit its type are different errors.
        self._connection(topic, msgtype)
        try:
            data = _types().serialize_cdr(message, msgtype)
        # The generated serializers raise whatever a wrong field makes them raise.
        except Exception as error:
            raise BagError(f"A message on {topic} does not fit {msgtype} ({error}).") from error
        self.write_serialized(topic, msgtype, data, received_ns)

    def write_serialized(self, topic: str, msgtype: str, data: bytes | memoryview, received_ns: int) -> None:
        """A message as it came over the wire: CDR with its four bytes of header.

        Raises:
            BagError: a type that is not known, or a disk that is full.
        """
        connection = self._connection(topic, msgtype)
        try:
            self._writer.write(connection, received_ns, data)
        except OSError as error:
            raise BagError(f"The bag {self.path} cannot be written any further: {error.strerror}.") from error

    def close(self) -> None:
        """Finish the bag and put it in its place.

        Raises:
            BagError: it cannot be finished, or something else is at its place by now; what was recorded is kept,
                and the sentence says where.
        """
        if not self._open:
            return
        self._open = False
        try:
            self._writer.close()
            self._publish()
        except (OSError, BagError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error).rstrip(".")
            raise BagError(
                f"The bag {self.path} cannot be finished: {reason}; the recording is kept in {self._partial}."
            ) from error
        except BaseException:
            self._remove()
            raise
        self._remove()

    def abort(self) -> None:
        """Remove what was written."""
        if self._open:
            self._open = False
            self._writer.abort()
            self._remove()

    def _remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _publish(self) -> None:
        _check_place(self.path, self._overwrite)
        if self.path.suffix == ".mcap":
            next(self._partial.glob("*.mcap")).replace(self.path)
            return
        replaced = self._folder / "replaced"
        if self.path.exists():
            self.path.rename(replaced)
        try:
            self._partial.rename(self.path)
        except BaseException:
            if replaced.exists():
                replaced.rename(self.path)
            raise

    def _connection(self, topic: str, msgtype: str) -> Connection:
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic, msgtype, typestore=types_with(msgtype, topic), offered_qos_profiles=[_qos(msgtype)]
            )
        connection = self._connections[topic]
        if connection.msgtype != msgtype:
            raise BagError(f"Topic {topic} carries {connection.msgtype} and cannot carry {msgtype} too.")
        return connection


def types_with(msgtype: str, topic: str) -> Any:
    """All messages that can be written, ``msgtype`` of this topic among them.

    Raises:
        BagError: it is not.
    """
    if msgtype not in _types().fielddefs:
        raise BagError(f"Messages of type {msgtype} (topic {topic}) are not known and cannot be written.")
    return _types()


@functools.cache
def _types() -> Any:
    """ROS 2 Jazzy's messages and ours."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types: dict[str, Any] = {}
    for path in find_resource("msg").glob("*.msg"):
        types |= get_types_from_msg(path.read_text("utf-8"), f"zmask_ros/msg/{path.stem}")
    store.register(types)
    return store


def message_class(msgtype: str) -> Any:
    """The class of the messages of a type that can be written, such as ``sensor_msgs/msg/Image``."""
    return _types().types[msgtype]


def header_message(stamp_ns: int, frame_id: str) -> Any:
    """A `std_msgs/Header`; the stamp is in nanoseconds."""
    seconds, nanoseconds = divmod(stamp_ns, NANOSECONDS)
    stamp = message_class("builtin_interfaces/msg/Time")(sec=seconds, nanosec=nanoseconds)
    return message_class("std_msgs/msg/Header")(stamp=stamp, frame_id=frame_id)


def region_message(region: RegionFields) -> Any:
    """A `sensor_msgs/RegionOfInterest`."""
    return message_class("sensor_msgs/msg/RegionOfInterest")(
        x_offset=region.x, y_offset=region.y, height=region.height, width=region.width, do_rectify=region.rectified
    )


def _qos(msgtype: str) -> Qos:
    """Reliable, as the node publishes: a player offers what was recorded, and any subscriber takes reliable."""
    depth = 1 if msgtype in (IMAGE, COMPRESSED_IMAGE) else 10
    return Qos(
        QosHistory.KEEP_LAST,
        depth,
        QosReliability.RELIABLE,
        QosDurability.VOLATILE,
        _FOREVER,
        _FOREVER,
        QosLiveliness.AUTOMATIC,
        _FOREVER,
        False,
    )


def _check_place(path: Path, overwrite: bool) -> None:
    is_bag = (path / "metadata.yaml").is_file() if path.is_dir() else path.suffix == ".mcap"
    if path.exists() and not overwrite:
        raise BagError(f"{path} exists already; name another place or remove it.")
    if path.exists() and not is_bag:
        raise BagError(f"{path} exists and is no bag, so it is not replaced; name another place.")
