"""What reading and writing, and flags, do without."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import zmask_ros.flags
import zmask_ros.io


def test_io_and_flags_import_neither_torch_nor_rclpy() -> None:
    rooms = (zmask_ros.flags, zmask_ros.io)
    modules = [found.name for room in rooms for found in pkgutil.walk_packages(room.__path__, f"{room.__name__}.")]
    assert {"zmask_ros.flags.flag", "zmask_ros.io.bags.writer", "zmask_ros.io.images.codec"} <= set(modules)
    script = f"import {', '.join(modules)}, sys; assert not {{'torch', 'rclpy'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
