"""The defense of one camera or of several: one node, in a namespace if need be.

The defaults of all parameters are in config/defense.yaml; an argument that is not set changes nothing there.
"""

from __future__ import annotations

from launch import LaunchDescription
from zmask_ros.launching.actions import Values, description
from zmask_ros.launching.arguments import DEFENSE
from zmask_ros.launching.defense_actions import defense_actions


def actions(value: Values) -> list[object]:
    """What is started."""
    return defense_actions(value).all


def generate_launch_description() -> LaunchDescription:
    """Read by ros2 launch."""
    return description(DEFENSE, actions)
