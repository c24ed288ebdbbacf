#!/usr/bin/env bash
# rclpy gives a subscription with QoS overriding options the depth of an earlier one of the same topic, also when that
# one has been destroyed, instead of the depth that is asked for; nobody has overridden anything.
set -euo pipefail
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder" || exit 2
"$folder/bin/pip" install --quiet --disable-pip-version-check --constraint "$(dirname "$0")/../requirements/ros-jazzy-constraints.txt" \
    'ros-rclpy[fastrtps]==7.1.6' ros-std-msgs==5.3.6 PyYAML==6.0.3 numpy==2.2.6 || exit 2

# Without what another ROS may have set.
env -i PATH="$PATH" HOME="$HOME" ROS_LOG_DIR="$folder/log" ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST "$folder/bin/python" - <<'END'
import sys
from importlib.metadata import version

import rclpy
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from std_msgs.msg import String

rclpy.init()
node = rclpy.create_node("listener")


def subscribed(depth: int):
    options = QoSOverridingOptions.with_default_policies()
    return node.create_subscription(String, "images", print, QoSProfile(depth=depth), qos_overriding_options=options)


first = subscribed(1)
node.destroy_subscription(first)
second = subscribed(30)
print("version: rclpy", version("ros-rclpy"))
print("expected: the second subscription has depth 30")
print("seen: it has depth", second.qos_profile.depth)
sys.exit(second.qos_profile.depth != 1)
END
