#!/usr/bin/env bash
# Rerun's reader of mcap files takes every 8-bit image of one channel for a depth image: maps of classes, which ROS
# records as mono8, arrive as distances.
set -euo pipefail
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder" || exit 2
"$folder/bin/pip" install --quiet --disable-pip-version-check numpy==2.2.6 rerun-sdk==0.41.0 rosbags==0.11.9 mcap==1.6.0 || exit 2

"$folder/bin/python" - "$folder/bag" <<'END'
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from rerun.chunk import McapReader
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

bag, store = Path(sys.argv[1]), get_typestore(Stores.ROS2_JAZZY)
types = store.types
stamp = types["builtin_interfaces/msg/Time"](1, 0)
header = types["std_msgs/msg/Header"](stamp, "camera")
labels = np.repeat(np.arange(11, dtype=np.uint8), 88).reshape(22, 44)
Image = types["sensor_msgs/msg/Image"]
image = Image(header, 22, 44, "mono8", 0, 44, labels.ravel())
with Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
    topic = writer.add_connection("/segmentation", Image.__msgtype__, typestore=store)
    writer.write(topic, 10**9, store.serialize_cdr(image, Image.__msgtype__))

kinds = set()
for chunk in McapReader(next(bag.glob("*.mcap"))).stream().to_chunks():
    if chunk.entity_path == "/segmentation":
        kinds |= {name.split(":")[0] for name in chunk.to_record_batch().schema.names if name.endswith(":format")}
print("version: rerun-sdk", version("rerun-sdk"))
print("expected: an image of one channel is shown as an image: ['Image']")
print("seen:", sorted(kinds))
sys.exit(kinds != {"DepthImage"})
END
