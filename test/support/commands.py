"""The commands as a user calls them."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from zmask_ros.cli.main import main
from zmask_ros.io.bags.writer import BagWriter
from zmask_ros.io.images.codec import encode

TOPIC = "/camera/image_raw"


def zmask(capsys, *arguments: object) -> tuple[int, str, str]:
    """Run `zmask` with these arguments: exit code, stdout, stderr."""
    before = sys.argv
    sys.argv = ["zmask", *map(str, arguments)]
    try:
        main()
        code = 0
    except SystemExit as error:
        code = int(error.code or 0)
    finally:
        sys.argv = before
    out, err = capsys.readouterr()
    return code, out, err


def refused(capsys, *arguments: object) -> str:
    """Run `zmask`, see it refuse, return its one sentence."""
    code, out, err = zmask(capsys, *arguments)
    assert code == 2, (out, err)
    lines = [line for line in err.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    return lines[0]


def record(path: Path, images, topic: str = TOPIC) -> Path:
    with BagWriter(path) as bag:
        for index, image in enumerate(images):
            bag.write_image(topic, image, "rgb8", 1_000_000_000 + index * 66_666_667, "camera")
    return path


def record_twelve_bits(path: Path, images) -> Path:
    """The images as those of a camera of 12 bits: 16-bit ones, of which the low bits are used."""
    with BagWriter(path) as bag:
        for index, image in enumerate(images):
            wide = encode(image, "rgb16")
            samples = np.frombuffer(wide.data, "<u2") >> 4
            fields = vars(wide) | {"data": samples.view(np.uint8)}
            header = SimpleNamespace(stamp=SimpleNamespace(sec=index, nanosec=0), frame_id="camera")
            bag.write_message(TOPIC, "sensor_msgs/msg/Image", SimpleNamespace(header=header, **fields), index)
    return path
