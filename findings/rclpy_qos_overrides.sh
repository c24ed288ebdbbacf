#!/usr/bin/env bash
# rclpy writes the QoS overrides of one topic into the profile object that it is given, and so into every later topic
# that uses the same object.
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
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from std_msgs.msg import String

rclpy.init()
node = rclpy.create_node("listener", parameter_overrides=[Parameter("qos_overrides./first.subscription.depth", value=7)])
profile = QoSProfile(depth=1)
node.create_subscription(String, "first", print, profile, qos_overriding_options=QoSOverridingOptions.with_default_policies())
second = node.create_subscription(String, "second", print, profile)
print("version: rclpy", version("ros-rclpy"))
print("expected: the override of topic 'first' leaves the profile as it was, and 'second' has depth 1")
print("seen: the profile has depth", profile.depth, "and 'second' has depth", second.qos_profile.depth)
sys.exit((profile.depth, second.qos_profile.depth) != (7, 7))
END
