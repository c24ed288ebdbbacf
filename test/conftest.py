"""What all tests share."""

from __future__ import annotations

import os

# A pytest that was started without scripts/run.sh is alone on its domain, too. Set before anything imports rclpy.
os.environ.setdefault("ROS_DOMAIN_ID", str(os.getpid() % 100 + 1))
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
