"""The parts of the nodes that need no ROS import without it, and without torch."""

from __future__ import annotations

import subprocess
import sys

MODULES = (
    "device_errors",
    "diagnostics.health",
    "diagnostics.network",
    "mailbox",
    "main",
    "network_host",
    "parameters.cameras",
    "parameters.defense_node",
    "parameters.docs",
    "parameters.flag_recorder",
    "parameters.recorder",
    "parameters.spec",
    "parameters.street_camera",
    "worker",
)


def test_parts_import_without_ros_and_torch() -> None:
    imports = "; ".join(f"import zmask_ros.node.{module}" for module in MODULES)
    block = "import sys; sys.modules.update(rclpy=None, torch=None)"
    subprocess.run([sys.executable, "-c", f"{block}; {imports}"], check=True, timeout=30)
