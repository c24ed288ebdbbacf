#!/usr/bin/env bash
# Of an mcap file with chunks and their index, but without the optional index of the messages in them (rosbag2's storage
# option noMessageIndex), rosbags counts all messages and hands on not one, without an error.
set -euo pipefail
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder" || exit 2
"$folder/bin/pip" install --quiet --disable-pip-version-check numpy==2.2.6 rosbags==0.11.9 mcap==1.6.0 || exit 2

"$folder/bin/python" - "$folder" <<'END'
import sys
from importlib.metadata import version
from pathlib import Path

from mcap.reader import make_reader
from mcap.writer import IndexType, Writer
from rosbags.highlevel import AnyReader

COUNT, TYPE = 20, "std_msgs/msg/String"


def recorded(path: Path, indexes: IndexType) -> Path:
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=256, index_types=indexes)
        writer.start("ros2")
        schema = writer.register_schema(TYPE, "ros2msg", b"string data\n")
        channel = writer.register_channel("/words", "cdr", schema)
        for number in range(COUNT):
            text = f"word {number}\0".encode()
            data = b"\0\1\0\0" + len(text).to_bytes(4, "little") + text
            writer.add_message(channel, number * 10**9, data, number * 10**9)
        writer.finish()
    return path


print("version: rosbags", version("rosbags"))
print(f"expected: {COUNT} messages are counted and {COUNT} are read of either file")
seen = []
for name, indexes in (("with", IndexType.ALL), ("without", IndexType.ALL & ~IndexType.MESSAGE)):
    path = recorded(Path(sys.argv[1]) / f"{name}.mcap", indexes)
    with path.open("rb") as file:
        if sum(1 for _ in make_reader(file).iter_messages()) != COUNT:
            sys.exit(2)
    with AnyReader([path]) as reader:
        read = [reader.deserialize(data, connection.msgtype).data for connection, _, data in reader.messages()]
        seen.append((reader.message_count, len(read)))
    print(f"seen: {name} the index of messages: {seen[-1][0]} are counted, {seen[-1][1]} are read")
sys.exit(seen != [(COUNT, COUNT), (COUNT, 0)])
END
