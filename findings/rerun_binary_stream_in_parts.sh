#!/usr/bin/env bash
# The bytes of a Rerun binary stream, which are documented to be those of an .rrd file, are one only if they are read in
# one piece: read in several, as the method's name suggests, they make a file that Rerun's own reader refuses.
set -euo pipefail
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder" || exit 2
"$folder/bin/pip" install --quiet --disable-pip-version-check numpy==2.2.6 rerun-sdk==0.41.0 || exit 2

"$folder/bin/python" - "$folder" <<'END'
import sys
from importlib.metadata import version
from pathlib import Path

import rerun as rr
from rerun.chunk import RrdReader

folder = Path(sys.argv[1])


def recorded(reads: int) -> Path:
    """Four numbers, written to a file by so many reads."""
    recording = rr.RecordingStream("numbers")
    stream = recording.binary_stream()
    path = folder / f"{reads}.rrd"
    with path.open("wb") as file:
        for number in range(4):
            recording.set_time("number", sequence=number)
            recording.log("value", rr.Scalars(float(number)))
            if (number + 1) % (4 // reads) == 0:
                file.write(stream.read() or b"")
        recording.disconnect()
    return path


def answer(path: Path) -> str:
    try:
        RrdReader(path).store()
    except RuntimeError as error:
        return f"refused ({str(error).partition(': ')[2].partition(':')[0]})"
    return "read"


seen = {reads: answer(recorded(reads)) for reads in (1, 2, 4)}
print("version: rerun-sdk", version("rerun-sdk"))
print("expected: a file from 1, 2 or 4 reads of the stream is read")
for reads, said in seen.items():
    print(f"seen: {reads} reads: {said}")
sys.exit(seen[1] != "read" or "read" in (seen[2], seen[4]))
END
