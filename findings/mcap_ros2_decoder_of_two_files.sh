#!/usr/bin/env bash
# A DecoderFactory of mcap-ros2-support that has read one file decodes the next one by the types of the first: it knows
# a type by its number, and each file numbers its types anew. The values are wrong, and nothing is said.
set -euo pipefail
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder" || exit 2
"$folder/bin/pip" install --quiet --disable-pip-version-check mcap==1.6.0 mcap-ros2-support==0.6.0 || exit 2

"$folder/bin/python" - <<'END'
import sys
from importlib.metadata import version
from io import BytesIO

from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from mcap_ros2.writer import Writer

TYPES = {"/speed": ("std_msgs/Float64", "float64 data", 12.5), "/gear": ("std_msgs/Int64", "int64 data", 4)}


def recorded(topics: tuple[str, ...]) -> bytes:
    """A file with one message on each topic, which come in this order."""
    file = BytesIO()
    with Writer(file) as writer:
        for topic in topics:
            msgtype, text, value = TYPES[topic]
            writer.write_message(topic, writer.register_msgdef(msgtype, text), {"data": value}, 1, 1)
    return file.getvalue()


def read(file: bytes, factory: DecoderFactory) -> dict[str, float]:
    reader = make_reader(BytesIO(file), decoder_factories=[factory])
    return {channel.topic: message.data for _, channel, _, message in reader.iter_decoded_messages()}


files = recorded(("/speed", "/gear")), recorded(("/gear", "/speed"))
apart = [read(file, DecoderFactory()) for file in files]
factory = DecoderFactory()
together = [read(file, factory) for file in files]
right = {topic: value for topic, (_, _, value) in TYPES.items()}
print("version: mcap-ros2-support", version("mcap-ros2-support"))
print("expected:", right, "of both files")
for name, seen in (("a factory for each file", apart), ("one factory", together)):
    print(f"seen: {name}: {seen[0]}, then {seen[1]}")
sys.exit(not (apart == [right, right] and together[0] == right and together[1] != right))
END
