# shellcheck shell=bash disable=SC2034
# What every script here needs to know: where things are, and which ROS 2 is used. Sourced, never run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# ROS=kilted: that distribution from PyPI, with a virtual environment and a build of its own beside those of Jazzy.
distribution=${ROS:-jazzy}
beside=${ROS:+-$ROS}
[ "$distribution" != jazzy ] || beside=
venv=$root/.venv$beside
build=$root/build$beside
install=$root/install$beside
logs=$root/log$beside

fail() {
    echo "zmask_ros: $*" >&2
    exit 1
}

say() {
    echo "zmask_ros: $*" >&2
}

[ -f "$root/requirements/ros-$distribution.txt" ] ||
    fail "ROS=$distribution is not known: ROS=jazzy and ROS=kilted are installed from PyPI; without ROS=, a sourced ROS 2 is used."

# Runs Python outside of any environment that the caller has active.
plain_python() {
    env -u _ROS_WHEELS_BOOTSTRAP_COMPLETE -u VIRTUAL_ENV "$@"
}

# "system": a ROS 2 that the user has sourced and that the system's Python can import. "wheels": ROS 2 from PyPI, in .venv.
ros_flavour() {
    if [ -n "${ZMASK_ROS_FLAVOUR:-}" ]; then
        echo "$ZMASK_ROS_FLAVOUR"
    elif [ -n "${ROS:-}" ]; then
        echo wheels
    elif [ -n "${ROS_DISTRO:-}" ] && "$(system_python)" -c '
import sys, rclpy
sys.exit("ros_wheels_bootstrapper" in sys.modules or sys.prefix != sys.base_prefix)' 2>/dev/null; then
        echo system
    else
        echo wheels
    fi
}

# Which variable names Fast DDS its profile: Fast DDS 3, of Kilted and later, has renamed it and complains of the old one.
fast_dds_variable() {
    local prefixes prefix
    IFS=: read -ra prefixes <<<"${AMENT_PREFIX_PATH:-}"
    for prefix in "${prefixes[@]}"; do
        [ ! -d "$prefix/share/fastrtps" ] || { echo FASTRTPS_DEFAULT_PROFILES_FILE && return; }
    done
    echo FASTDDS_DEFAULT_PROFILES_FILE
}

# The Python to build from: never the one of .venv, which may be first in PATH.
system_python() {
    local candidate
    while read -r candidate; do
        case $candidate in "$root"/.venv*) continue ;; esac
        echo "$candidate"
        return
    done < <(type -aP "${PYTHON:-python3}")
    echo "${PYTHON:-python3}"
}
