"""The demo: its scenario, its processes, and what is used again."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zmask_ros.demo import (
    CLEAN_FRAMES,
    DemoError,
    Made,
    NodeFailed,
    NodeProcess,
    Scenario,
    clean_drives,
    executable,
    free_domain,
    processes,
    source_digest,
)
from zmask_ros.demo.run import _profile_origin
from zmask_ros.segmenters import load_segmenter

PICTURE = np.full((40, 40, 3), (255, 0, 255), np.uint8)


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
    assert source_digest("data/street") == source_digest("data/street")
    assert source_digest("data/street") != source_digest("data/street", "errors.py")


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


def test_a_profile_of_other_layers_is_not_used_again(tmp_path: Path) -> None:
    segmenter = load_segmenter("lraspp_camvid", "cpu")
    other = replace(segmenter, description=replace(segmenter.description, deep_layers=("backbone.9",)))
    assert _profile_origin("drives", segmenter) == _profile_origin("drives", segmenter)
    assert _profile_origin("drives", segmenter) != _profile_origin("drives", other)
    assert _profile_origin("drives", segmenter) != _profile_origin("other drives", segmenter)
