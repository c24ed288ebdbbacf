#!/usr/bin/env bash
# Of an mcap file without chunks, as rosbag2 records it with its preset "fastwrite", Rerun's reader gives not one
# message, without an error and without a warning: what it makes of it is an empty recording.
set -euo pipefail
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder" || exit 2
"$folder/bin/pip" install --quiet --disable-pip-version-check numpy==2.2.6 rerun-sdk==0.41.0 rosbags==0.11.9 mcap==1.6.0 || exit 2

"$folder/bin/python" - "$folder" <<'END'
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from mcap.reader import make_reader
from mcap.writer import Writer
from rerun.chunk import McapReader
from rosbags.typesys import Stores, get_typestore

COUNT, TOPIC = 20, "/camera"
folder, store = Path(sys.argv[1]), get_typestore(Stores.ROS2_JAZZY)
types = store.types
Image = types["sensor_msgs/msg/Image"]


def recorded(name: str, in_chunks: bool) -> Path:
    """Images of one second each, with all that a summary can have."""
    path = folder / name
    with path.open("wb") as file:
        writer = Writer(file, use_chunking=in_chunks)
        writer.start("ros2")
        text, _ = store.generate_msgdef(Image.__msgtype__, ros_version=2)
        schema = writer.register_schema(Image.__msgtype__, "ros2msg", text.encode())
        channel = writer.register_channel(TOPIC, "cdr", schema)
        for number in range(COUNT):
            stamp = types["builtin_interfaces/msg/Time"](number, 0)
            header = types["std_msgs/msg/Header"](stamp, "camera")
            image = Image(header, 2, 4, "rgb8", 0, 12, np.full(24, number, np.uint8))
            data = bytes(store.serialize_cdr(image, Image.__msgtype__))
            writer.add_message(channel, number * 10**9, data, number * 10**9)
        writer.finish()
    return path


def images(path: Path, recover: bool) -> int:
    """How many images Rerun finds."""
    count = 0
    for chunk in McapReader(path, recover=recover).stream().to_chunks():
        rows = chunk.to_record_batch()
        if chunk.entity_path == TOPIC and any("Image:buffer" in name for name in rows.schema.names):
            count += rows.num_rows
    return count


print("version: rerun-sdk", version("rerun-sdk"))
print(f"expected: all {COUNT} images of either file")
seen = {}
for name, in_chunks in (("with chunks", True), ("without chunks", False)):
    path = recorded(name, in_chunks)
    with path.open("rb") as file:
        if sum(1 for _ in make_reader(file).iter_messages()) != COUNT:
            sys.exit(2)
    try:
        seen[name] = [images(path, recover) for recover in (False, True)]
    except Exception as error:
        seen[name] = f"refused: {error}"
    print(f"seen: {name}: {seen[name]} images, as it is and with recover=True")
sys.exit(seen != {"with chunks": [COUNT, COUNT], "without chunks": [0, 0]})
END
