"""Nodes in processes of their own, and the domain that they meet on."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from zmask_ros.demo import processes
from zmask_ros.demo.processes import DemoError, NodeFailedError, NodeProcess, executable, free_domain


def program(folder: Path, code: str) -> Path:
    path = folder / "node"
    path.write_text(f"#!/bin/sh\n{code}\n")
    path.chmod(0o755)
    return path


def test_a_node_that_fails_is_told_with_its_output(tmp_path: Path) -> None:
    process = NodeProcess(program(tmp_path, "echo no such profile >&2; exit 2"), {}, "/camera", tmp_path)
    with process, pytest.raises(NodeFailedError, match="node failed with exit code 2") as raised:
        process.expect_end(10.0)
    assert raised.value.output == "no such profile"
    with pytest.raises(NodeFailedError, match="ended too early"):
        process.expect_running()


def test_a_node_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "GRACE_S", 0.1)
    with NodeProcess(program(tmp_path, "trap '' TERM; echo ready; exec sleep 60"), {}, "/camera", tmp_path) as process:
        while process.output != "ready":
            process.expect_running()
        with pytest.raises(NodeFailedError, match=r"did not end"):
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
    monkeypatch.setattr(processes, "LAST_DOMAIN", 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("", processes.DISCOVERY_PORT + processes.DOMAIN_PORTS))
        with pytest.raises(DemoError, match="in use"):
            free_domain()
    assert free_domain() == 1
