# shellcheck shell=bash
# What every script here needs to know: where things are, and which ROS 2 is used. Sourced, never run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv

fail() {
    echo "zmask_ros: $*" >&2
    exit 1
}

say() {
    echo "zmask_ros: $*" >&2
}

# Runs Python outside of any environment that the caller has active.
plain_python() {
    env -u _ROS_WHEELS_BOOTSTRAP_COMPLETE -u VIRTUAL_ENV "$@"
}

# "system": a ROS 2 that the user has sourced and that the system's Python can import. "wheels": ROS 2 from PyPI, in .venv.
ros_flavour() {
    if [ -n "${ZMASK_ROS_FLAVOUR:-}" ]; then
        echo "$ZMASK_ROS_FLAVOUR"
    elif [ -n "${ROS_DISTRO:-}" ] && "$(system_python)" -c '
import sys, rclpy
sys.exit("ros_wheels_bootstrapper" in sys.modules or sys.prefix != sys.base_prefix)' 2>/dev/null; then
        echo system
    else
        echo wheels
    fi
}

# The Python to build from: never the one of .venv, which may be first in PATH.
system_python() {
    local candidate
    while read -r candidate; do
        case $candidate in "$venv"/*) continue ;; esac
        echo "$candidate"
        return
    done < <(type -aP "${PYTHON:-python3}")
    echo "${PYTHON:-python3}"
}
