#!/usr/bin/env bash
# mcap's reader takes no notice of reverse=True if the file has no chunks, as after rosbag2's preset "fastwrite": what
# is asked for as the last message is the first one.
set -euo pipefail
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder" || exit 2
"$folder/bin/pip" install --quiet --disable-pip-version-check mcap==1.6.0 || exit 2

"$folder/bin/python" - <<'END'
import sys
from importlib.metadata import version
from io import BytesIO

from mcap.reader import make_reader
from mcap.writer import Writer

COUNT = 20


def times(in_chunks: bool) -> list[int]:
    """When the messages of a file were logged, asked for from the last one to the first."""
    file = BytesIO()
    writer = Writer(file, use_chunking=in_chunks)
    writer.start()
    channel = writer.register_channel("/state", "json", 0)
    for number in range(COUNT):
        writer.add_message(channel, number, b"{}", number)
    writer.finish()
    file.seek(0)
    return [message.log_time for _, _, message in make_reader(file).iter_messages(log_time_order=True, reverse=True)]


forth = list(range(COUNT))
seen = {name: times(in_chunks) for name, in_chunks in (("with chunks", True), ("without chunks", False))}
print("version: mcap", version("mcap"))
print(f"expected: descending log times, from {COUNT - 1} to 0")
for name, order in seen.items():
    print(f"seen: {name}: from {order[0]} to {order[-1]}")
sys.exit(seen != {"with chunks": forth[::-1], "without chunks": forth})
END
