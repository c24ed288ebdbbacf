"""A recorded drive, defended: ros2 bag play with its time -> defense_node, and RViz to show it."""

from __future__ import annotations

from launch.actions import ExecuteProcess, RegisterEventHandler
from launch_ros.event_handlers import OnStateTransition

from launch import LaunchDescription
from zmask_ros.launching.actions import (
    Values,
    description,
    shared_memory_for_all,
    shutdown_on_exit,
)
from zmask_ros.launching.arguments import REPLAY
from zmask_ros.launching.defense_actions import defense_actions

CLOCK_HZ = "100"
# What a defense has published while the bag was recorded: this one publishes the same.
DEFENSE_TOPICS = ".*/zmask/.*"


def actions(value: Values) -> list[object]:
    """What is started: the bag when the node is active, so that no frame is lost; everything ends with either."""
    player = ExecuteProcess(cmd=player_command(value), output="screen")
    defense = defense_actions(value, use_sim_time="true")
    active = OnStateTransition(goal_state="active", entities=[player], handle_once=True)
    return [
        RegisterEventHandler(active),
        shutdown_on_exit(player),
        shutdown_on_exit(defense.node),
        *defense.all,
    ]


def player_command(value: Values) -> list[str]:
    """The words of ros2 bag play."""
    command = ["ros2", "bag", "play", value["bag"], "--clock", CLOCK_HZ, "--rate", value["rate"]]
    command += ["--exclude-regex", DEFENSE_TOPICS, "--disable-keyboard-controls"]
    return [*command, "--loop"] if value["loop"] == "true" else command


def generate_launch_description() -> LaunchDescription:
    """Read by ros2 launch."""
    return description(REPLAY, actions, *shared_memory_for_all())
