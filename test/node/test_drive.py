"""The whole way in processes: street_camera -> defense_node -> recorder -> a bag that reads back."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest

from support import TESTS

# One that is installed but broken is a failure.
pytest.importorskip("rclpy", reason="ROS 2 is not installed", exc_type=ModuleNotFoundError)

from support.node_processes import StartedNode
from support.tiny_network import describe, fit
from zmask_ros.data.street import StreetDrive
from zmask_ros.io.bags.reader import CameraBags, ReadReport

DRIVE = {"seed": 3, "carrier": "billboard", "rate_hz": 10.0, "duration_s": 1.0, "width": 160, "height": 120}


@pytest.mark.parametrize("drawn_first", [False, True])
def test_a_drive_in_lockstep_is_flagged_and_recorded_frame_by_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn_first: bool
) -> None:
    monkeypatch.syspath_prepend(str(TESTS))
    description = describe(tmp_path)
    network = {"segmenter": str(description), "profile": str(fit(description)), "num_threads": 1}
    bag, sent, recorded = tmp_path / "bag", tmp_path / "sent.json", tmp_path / "recorded.json"
    names = ("attack", "mask", "overlay", "segmentation", "undefended")
    topics = ["/drive/camera_info", "/drive/image_raw", *(f"/drive/zmask/{name}" for name in names)]
    pace = {"pace": "lockstep", "min_subscribers": 2, "summary": str(sent), "drawn_first": drawn_first}
    with (
        StartedNode("defense_node", {**network, "publish_undefended": True}, "/drive"),
        StartedNode("recorder", {"path": str(bag), "summary": str(recorded), "topics": topics}, "/drive") as recorder,
        StartedNode("street_camera", {**DRIVE, **pace}, "/drive") as camera,
    ):
        assert camera.wait(240.0) == 0
        assert recorder.end(signal.SIGINT)[0] == 0
        assert "Traceback" not in camera.output + recorder.output
    drive = StreetDrive(**DRIVE)
    assert json.loads(sent.read_text()) == {
        "frames_sent": len(drive),
        "flags_received": len(drive),
        "flags_missing": 0,
    }
    assert json.loads(recorded.read_text()) == dict.fromkeys(topics, len(drive))
    images = list(CameraBags([bag], "/drive/image_raw").frames(ReadReport()))
    assert [image.stamp_ns for image in images] == [frame.stamp_ns for frame in drive]
    assert all(np.array_equal(image.image, frame.image) for image, frame in zip(images, drive, strict=True))


@pytest.mark.parametrize(
    ("executable", "parameters", "words"),
    [
        ("street_camera", {"picture": "/no/such.png"}, "/no/such.png"),
        ("street_camera", {"rate_hz": 0.0}, "at least 0.1"),
        ("recorder", {}, "path is empty"),
    ],
)
def test_a_bad_start_is_one_sentence(executable: str, parameters: dict[str, object], words: str) -> None:
    with StartedNode(executable, parameters) as process:
        assert process.wait() == 2, process.output
        assert len(process.output.strip().splitlines()) == 1
        assert words in process.output


def test_a_path_may_begin_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    cv2.imwrite(str(tmp_path / "12.png"), np.full((20, 20, 3), 90, np.uint8))
    given = {"min_subscribers": 0, "settle_s": 0.0, "picture": "~/12.png", "summary": "~/sent.json"}
    with StartedNode("street_camera", {**DRIVE, **given}, "/home") as camera:
        assert camera.wait() == 0, camera.output
    assert json.loads((tmp_path / "sent.json").read_text())["frames_sent"] == 10
