"""The whole demo, with a tiny network."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from support import TESTS
from zmask_ros.data.street import CLASS_NAMES
from zmask_ros.demo.run import profile_origin
from zmask_ros.segmenters import load_segmenter

PICTURE = np.full((40, 40, 3), (255, 0, 255), np.uint8)


# For a whole demo, on a machine that is busy with other things.
PATIENCE_S = 400


def tiny_segmenter(folder: Path) -> Path:
    classes = ", ".join(f"{name}: [{20 * index}, 90, 60]" for index, name in enumerate(CLASS_NAMES))
    path = folder / "tiny.yaml"
    path.write_text(
        "builder: support.tiny_network:build\narguments: {seed: 0, classes: 11}\ninput_size: [48, 64]\n"
        "mean: [0.5, 0.5, 0.5]\n"
        f"std: [0.25, 0.25, 0.25]\nclasses: {{{classes}}}\nlayers: {{shallow: ['0'], deep: ['2']}}\n"
    )
    return path


@pytest.fixture
def demo(tmp_path: Path) -> list[str]:
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    assert cv2.imwrite(str(tmp_path / "patch.png"), PICTURE)
    options = (
        f"--out {tmp_path}/out --patch {tmp_path}/patch.png --segmenter {tiny_segmenter(tmp_path)} --clean-drives 2"
    )
    return [sys.executable, "-m", "zmask_ros.cli.main", "demo", *options.split(), "--device", "cpu"]


@pytest.fixture
def environment() -> dict[str, str]:
    path = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def children(folder: Path) -> Iterator[str]:
    """Command lines of running processes that have to do with ``folder``."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line:
            yield line


def test_the_whole_way_twice(demo: list[str], environment: dict[str, str], tmp_path: Path) -> None:
    demo += ["--seconds", "2", "--rate", "5", "--picture", "0.5", "1.5", "--carrier", "truck", "--json"]
    first = subprocess.run(demo, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert first.returncode == 0, first.stderr
    summary = json.loads(first.stdout)
    assert summary["frames"] == summary["frames_sent"] == summary["flags_received"] == 10
    assert summary["frames_attacked"] == 5
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == summary
    left = {path.name for path in (tmp_path / "out").iterdir()}
    profile = "street.zmask.safetensors"
    assert left == {"drive", "overlay.mp4", "contact_sheet.png", "summary.json", "clean.mcap", profile, ".made.json"}
    assert cv2.VideoCapture(str(tmp_path / "out" / "overlay.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 10

    fitted = (tmp_path / "out" / profile).stat().st_mtime_ns
    second = subprocess.run(demo, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert second.returncode == 0, second.stderr
    assert "used again" in second.stderr
    assert (tmp_path / "out" / profile).stat().st_mtime_ns == fitted


def test_a_signal_leaves_no_process_and_no_half_file(
    demo: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    process = subprocess.Popen([*demo, "--seconds", "600"], env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + PATIENCE_S
    while sum("street_camera" in line for line in children(tmp_path)) == 0:
        assert process.poll() is None and time.monotonic() < deadline
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 130
    assert list(children(tmp_path)) == []
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "clean.mcap",
        "street.zmask.safetensors",
        ".made.json",
    }


def test_a_segmenter_of_other_classes_is_refused(demo: list[str], environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(
        (tmp_path / "tiny.yaml")
        .read_text()
        .replace("classes: 11", "classes: 10")
        .replace(f"{CLASS_NAMES[0]}: [0, 90, 60], ", "")
    )
    refused = subprocess.run(demo, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert refused.returncode == 2
    assert "11 classes" in refused.stderr


def test_a_folder_that_is_no_bag_is_not_replaced(demo: list[str], environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "out" / "drive").mkdir(parents=True)
    (tmp_path / "out" / "drive" / "holiday.jpg").touch()
    refused = subprocess.run(demo, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert refused.returncode == 2
    assert "choose another --out" in refused.stderr
    assert (tmp_path / "out" / "drive" / "holiday.jpg").exists()


def test_a_profile_of_other_layers_is_not_used_again() -> None:
    segmenter = load_segmenter("lraspp_camvid", "cpu")
    other = replace(segmenter, description=replace(segmenter.description, deep_layers=("backbone.9",)))
    assert profile_origin("drives", segmenter) == profile_origin("drives", segmenter)
    assert profile_origin("drives", segmenter) != profile_origin("drives", other)
    assert profile_origin("drives", segmenter) != profile_origin("other drives", segmenter)
