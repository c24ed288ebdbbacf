"""Small bags of every storage, for the tests of the reader."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag1 import Writer as Rosbag1Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from zmask_ros.io.bags.camera_info import CameraInfoFields, RegionFields
from zmask_ros.io.bags.writer import BagWriter

IMAGE = "sensor_msgs/msg/Image"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
TOPIC = "/front/image_raw"
CAMERA_INFO_TOPIC = "/front/camera_info"
STEP_NS = 100_000_000
HEIGHT, WIDTH = 48, 64


def picture(index: int) -> np.ndarray:
    """Different for every index, and not compressible to nothing."""
    return np.random.default_rng(index).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def stamp_ns(index: int) -> int:
    return 1_700_000_000_000_000_000 + index * STEP_NS


def image_message(store: Any, index: int) -> Any:
    types = store.types
    seconds, nanoseconds = divmod(stamp_ns(index), 1_000_000_000)
    stamp = types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)
    header = types["std_msgs/msg/Header"]
    is_ros1 = "seq" in header.__dataclass_fields__
    return types[IMAGE](
        header=header(seq=index, stamp=stamp, frame_id="front") if is_ros1 else header(stamp, "front"),
        height=HEIGHT,
        width=WIDTH,
        encoding="rgb8",
        is_bigendian=0,
        step=WIDTH * 3,
        data=picture(index).reshape(-1),
    )


def ros1_camera_info(store: Any, info: CameraInfoFields) -> Any:
    types = store.types
    roi = types["sensor_msgs/msg/RegionOfInterest"](
        x_offset=info.roi.x,
        y_offset=info.roi.y,
        height=info.roi.height,
        width=info.roi.width,
        do_rectify=info.roi.rectified,
    )
    d, k, r, p = (np.asarray(values, np.float64) for values in (info.d, info.k, info.r, info.projection))
    return types[CAMERA_INFO](
        header=image_message(store, 0).header,
        height=info.height,
        width=info.width,
        distortion_model=info.distortion_model,
        D=d,
        K=k,
        R=r,
        P=p,
        binning_x=info.binning_x,
        binning_y=info.binning_y,
        roi=roi,
    )


def write_drive(path: Path, count: int, topic: str = TOPIC, compress: bool = False, first: int = 0) -> Path:
    """An mcap bag of our own writer."""
    with BagWriter(path, compress=compress) as writer:
        for index in range(first, first + count):
            writer.write_image(topic, picture(index), "rgb8", stamp_ns(index), "front")
    return path


def write_rosbag2(path: Path, count: int, storage: StoragePlugin, mode: CompressionMode = CompressionMode.NONE) -> Path:
    store = get_typestore(Stores.ROS2_JAZZY)
    writer = Writer(path, version=9, storage_plugin=storage)
    if mode != CompressionMode.NONE:
        writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection(TOPIC, IMAGE, typestore=store)
        for index in range(count):
            data = store.serialize_cdr(image_message(store, index), IMAGE)
            writer.write(connection, stamp_ns(index), data)
    return path


def write_rosbag1(
    path: Path, count: int, compression: str | None, info: CameraInfoFields | None = None, chunk_size: int = 2**20
) -> Path:
    store = get_typestore(Stores.ROS1_NOETIC)
    writer = Rosbag1Writer(path)
    writer.chunk_threshold = chunk_size
    if compression:
        writer.set_compression(Rosbag1Writer.CompressionFormat[compression])
    with writer:
        if info is not None:
            connection = writer.add_connection(CAMERA_INFO_TOPIC, CAMERA_INFO, typestore=store)
            writer.write(connection, stamp_ns(0), store.serialize_ros1(ros1_camera_info(store, info), CAMERA_INFO))
        connection = writer.add_connection(TOPIC, IMAGE, typestore=store)
        for index in range(count):
            writer.write(connection, stamp_ns(index), store.serialize_ros1(image_message(store, index), IMAGE))
    return path


def write_raw(path: Path, payloads: list[bytes], msgtype: str = IMAGE, topic: str = TOPIC) -> Path:
    """A bag whose messages are any bytes."""
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(topic, msgtype, typestore=get_typestore(Stores.ROS2_JAZZY))
        for index, payload in enumerate(payloads):
            writer.write(connection, stamp_ns(index), payload)
    return path


def image_bytes(index: int, **changes: Any) -> bytes:
    store = get_typestore(Stores.ROS2_JAZZY)
    return bytes(store.serialize_cdr(replace(image_message(store, index), **changes), IMAGE))


CAMERA = CameraInfoFields(HEIGHT, WIDTH, (50.0, 0.0, 32.0, 0.0, 50.0, 24.0, 0.0, 0.0, 1.0))
# The left one of a fisheye pair: no field has the value that it would have if it had been left out.
STEREO = CameraInfoFields(
    HEIGHT,
    WIDTH,
    CAMERA.k,
    (0.1, 0.2, 0.3, 0.4),
    "equidistant",
    r=(0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0),
    p=(40.0, 0.0, 30.0, -4.0, 0.0, 40.0, 20.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    binning_x=2,
    binning_y=4,
    roi=RegionFields(1, 2, 60, 40, True),
)
