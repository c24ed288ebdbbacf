"""The demo: its scenario, its processes, what it measures, and the whole of it with a tiny network."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from zmask_ros.camera import FrameState
from zmask_ros.cli.demo import FramesUnflagged, _expect_flags
from zmask_ros.demo import (
    CLEAN_FRAMES,
    MEANINGS,
    DemoError,
    DriveCounts,
    Made,
    Measurement,
    NodeFailed,
    NodeProcess,
    Outcome,
    Scenario,
    clean_drives,
    contact_sheet_of,
    executable,
    free_domain,
    measure,
    moments,
    processes,
    read_flags,
    source_digest,
    summarise,
)
from zmask_ros.evaluation import Confusion
from zmask_ros.world.bag_writer import AttackRecord, BagWriter
from zmask_ros.world.street import CLASS_NAMES, StreetFrame

HERE = Path(__file__).parent
PICTURE = np.full((40, 40, 3), (255, 0, 255), np.uint8)
SMALL = Scenario(
    seed=1, seconds=2.0, rate_hz=5.0, carrier="truck", picture_from_s=0.5, picture_until_s=1.5, width=160, height=120
)
ATTACKED = range(3, 8)
UNKNOWN, CLEAN, ATTACK = 0, 1, 2
# For a whole demo, on a machine that is busy with other things.
PATIENCE_S = 400


@dataclass
class TruthfulCamera:
    """Stands in for the network: it knows the labels of every frame of the drive without the picture."""

    scenario: Scenario

    def __post_init__(self) -> None:
        self.segmenter = SimpleNamespace(classes=CLASS_NAMES)
        self._labels = {frame.image.tobytes(): frame.labels for frame in self.scenario.drive(None)}

    def process_image(self, image: np.ndarray) -> SimpleNamespace:
        return SimpleNamespace(pictures=SimpleNamespace(undefended=self._labels[image.tobytes()]))


def write_frame(bag: BagWriter, frame: StreetFrame, state: int, mask: np.ndarray, undefended: np.ndarray) -> None:
    record = AttackRecord(state, "", 0.5, 0.25, 0.0, None, 10.0 + frame.index)
    received_ns = frame.stamp_ns + frame.index * 100_000_000
    bag.write_attack("/camera/zmask/attack", record, frame.stamp_ns, "camera", received_ns)
    planes = {"mask": mask.astype(np.uint8) * 255, "segmentation": frame.labels, "undefended": undefended}
    for name, plane in planes.items():
        bag.write_image(f"/camera/zmask/{name}", plane, "mono8", frame.stamp_ns, "camera", received_ns)
    bag.write_image("/camera/image_raw", frame.image, "rgb8", frame.stamp_ns, "camera", received_ns)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All right, but: frame 2 a false alarm, 3 missed, 4 unknown, 5 half the mask; undefended labels all Sky."""
    path = tmp_path_factory.mktemp("demo") / "drive"
    with BagWriter(path) as bag:
        for frame in SMALL.drive(PICTURE):
            mask, state = frame.patch_mask.copy(), ATTACK if frame.patch_mask.any() else CLEAN
            if frame.index in (2, 3, 4):
                state, mask = {2: ATTACK, 3: CLEAN, 4: UNKNOWN}[frame.index], np.zeros_like(mask)
            if frame.index == 5:
                rows = np.flatnonzero(mask.any(1))
                mask[rows[len(rows) // 2] :] = False
            write_frame(bag, frame, state, mask, np.zeros_like(frame.labels))
    return path


@pytest.fixture(scope="module")
def found(recorded: Path) -> Measurement:
    seen: list[int] = []
    result = measure(SMALL, PICTURE, recorded, TruthfulCamera(SMALL), lambda: seen.append(1))
    assert len(seen) == SMALL.frames
    return result


def outcome(index: int, cover: float) -> Outcome:
    return Outcome(index, index, cover, None, float("nan"))


def test_the_picture_is_there_in_its_time_alone() -> None:
    drive, advert = SMALL.drive(PICTURE), SMALL.drive(None)
    shown = [index for index in range(len(drive)) if SMALL.shows_picture(index)]
    assert shown == list(ATTACKED)
    assert [index for index, frame in enumerate(drive) if frame.patch_mask.any()] == shown
    assert np.array_equal(drive[2].image, advert[2].image)
    assert len(drive) == SMALL.frames


def test_the_default_scenario_shows_a_large_patch_for_a_good_part_of_the_drive() -> None:
    drive = Scenario(rate_hz=1.0, width=160, height=120).drive(PICTURE)
    covers = np.array([frame.patch_mask.mean() for frame in drive])
    assert (covers > 0.01).mean() >= 0.35
    assert covers.max() > 0.07
    assert (covers == 0).mean() >= 0.3


def test_clean_drives_are_other_streets_with_every_carrier() -> None:
    scenario = Scenario(seed=201, width=64, height=48)
    drives = list(clean_drives(3, scenario))
    assert scenario.seed not in {drive.seed for drive in drives}
    assert {drive.carrier for drive in drives} == {None, "billboard", "truck"}
    assert {len(drive) for drive in drives} == {CLEAN_FRAMES}


def test_figures_follow_from_what_was_recorded(found: Measurement) -> None:
    figures = summarise(found, SMALL, DriveCounts(10, 0), 1.5)
    assert list(figures) == list(MEANINGS)
    assert (figures["frames"], figures["flags_received"], figures["frames_unknown"]) == (10, 10, 1)
    assert (figures["frames_attacked"], figures["frames_over_1_percent"]) == (5, 5)
    assert figures["recall"] == pytest.approx(3 / 5)
    assert figures["false_alarm_rate"] == pytest.approx(1 / 5)
    assert figures["mask_iou"] == pytest.approx((0 + 0 + 0.5 + 1 + 1) / 5, abs=0.02)
    assert figures["miou_clean"] == figures["miou_defended"] == 1.0
    assert 0 < figures["miou_attacked"] < 0.2
    assert figures["node_latency_ms_p50"] == pytest.approx(14.5)
    # Recorded every 0.3 s, driven every 0.2 s.
    assert figures["playback_rate"] == pytest.approx(2 / 3)


def test_a_frame_without_flag_counts_as_missed(found: Measurement) -> None:
    lost = [Outcome(o.index, o.stamp_ns, o.cover, None if o.index == 7 else o.flag, o.mask_iou) for o in found.outcomes]
    rest = Measurement(found.clean, found.attacked, found.defended, lost)
    assert summarise(rest, SMALL, DriveCounts(10, 0), 0.0)["recall"] == pytest.approx(2 / 5)
    with pytest.raises(FramesUnflagged, match=r"1 of 10 frames") as raised:
        _expect_flags(rest, DriveCounts(10, 0))
    assert raised.value.exit_code == 1
    _expect_flags(found, DriveCounts(10, 0))


def test_a_drive_without_patch_has_no_figures_of_it() -> None:
    empty = Confusion(11)
    found = Measurement(empty, empty, empty, [outcome(index, 0.0) for index in range(4)])
    figures = summarise(found, SMALL, DriveCounts(4, 4), 0.0)
    assert figures["recall"] is None and figures["mask_iou"] is None and figures["miou_clean"] is None
    json.dumps(figures, allow_nan=False)
    assert len(moments(found.outcomes)) == 1


def test_flags_read_back_by_stamp(recorded: Path) -> None:
    flags = read_flags(recorded, "/camera/zmask/attack")
    states = [flag.state for _, flag in sorted(flags.items())]
    assert states[2:6] == [FrameState.ATTACK, FrameState.CLEAN, FrameState.UNKNOWN, FrameState.ATTACK]


def test_five_moments_in_time() -> None:
    covers = [0, 0, 0, 0.02, 0.05, 0.09, 0.011, 0, 0, 0.0]
    chosen = moments([outcome(index, cover) for index, cover in enumerate(covers)])
    assert [(name, o.index) for name, o in chosen] == [
        ("before", 1),
        ("small", 3),
        ("middling", 4),
        ("large", 5),
        ("after", 8),
    ]


def test_contact_sheet_has_a_row_a_moment(recorded: Path, found: Measurement) -> None:
    palette = np.zeros((256, 3), np.uint8)
    sheet = contact_sheet_of(found, SMALL, PICTURE, recorded, palette)
    assert sheet.dtype == np.uint8
    assert sheet.shape[0] > 5 * 240
    assert sheet.shape[1] > 4 * 320


def test_what_was_made_from_the_same_is_current(tmp_path: Path) -> None:
    made, file = Made(tmp_path / "made.json"), tmp_path / "file"
    assert not made.is_current(file, "a")
    made.note(file, "a")
    assert not made.is_current(file, "a"), "the file itself is not there"
    file.touch()
    assert made.is_current(file, "a")
    assert not made.is_current(file, "b")
    (tmp_path / "made.json").write_text("{")
    assert not made.is_current(file, "a")


def test_source_digest_tells_parts_apart() -> None:
    assert source_digest("world/street") == source_digest("world/street")
    assert source_digest("world/street") != source_digest("world/street", "fitting.py")


def program(folder: Path, code: str) -> Path:
    path = folder / "node"
    path.write_text(f"#!/bin/sh\n{code}\n")
    path.chmod(0o755)
    return path


def test_a_node_that_fails_is_told_with_its_output(tmp_path: Path) -> None:
    process = NodeProcess(program(tmp_path, "echo no such profile >&2; exit 2"), {}, "/camera", tmp_path)
    with process, pytest.raises(NodeFailed, match="node failed with exit code 2") as raised:
        process.expect_end(10.0)
    assert raised.value.output == "no such profile"
    with pytest.raises(NodeFailed, match="ended too early"):
        process.expect_running()


def test_a_node_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "GRACE_S", 0.1)
    with NodeProcess(program(tmp_path, "trap '' TERM; echo ready; exec sleep 60"), {}, "/camera", tmp_path) as process:
        while process.output != "ready":
            process.expect_running()
        with pytest.raises(NodeFailed, match=r"did not end"):
            process.stop(signal.SIGTERM, 0.1)
        assert process.running
    assert not process.running


def test_a_node_gets_its_parameters_from_a_file(tmp_path: Path) -> None:
    parameters = {"seed": 3, "rate_hz": 15.0, "qos_overrides": {"/camera/zmask/mask": {"publisher": {"depth": 10}}}}
    with NodeProcess(program(tmp_path, 'echo "$@"'), parameters, "/camera", tmp_path) as process:
        process.expect_end(10.0)
    assert process.output == f"--ros-args -r __ns:=/camera --params-file {tmp_path}/node.yaml"
    written: dict[str, Any] = json.loads((tmp_path / "node.yaml").read_text())
    assert written == {"/**": {"ros__parameters": parameters}}


def test_without_the_built_package_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMENT_PREFIX_PATH", "/no/such/prefix")
    with pytest.raises(DemoError, match="make demo"):
        executable("defense_node")


def test_a_domain_that_is_in_use_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(processes, "LAST_DOMAIN", 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("", processes.DISCOVERY_PORT + processes.DOMAIN_PORTS))
        with pytest.raises(DemoError, match="in use"):
            free_domain()
    assert free_domain() == 1


def tiny_segmenter(folder: Path) -> Path:
    classes = ", ".join(f"{name}: [{20 * index}, 90, 60]" for index, name in enumerate(CLASS_NAMES))
    path = folder / "tiny.yaml"
    path.write_text(
        "builder: tiny_network:build\narguments: {seed: 0, classes: 11}\ninput_size: [48, 64]\nmean: [0.5, 0.5, 0.5]\n"
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
    path = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
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
