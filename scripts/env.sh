# shellcheck shell=bash disable=SC1091,SC2154
# The environment in which everything runs: the venv, ROS 2, this package as built. Sourced, never run.
# Sourced by the scripts here after common.sh; sets nothing that it can leave to the user.

# A python of another environment of ROS wheels may have set these for itself.
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE
if [ "$(ros_flavour)" = system ]; then
    . "$venv/bin/activate"
else
    unset LD_LIBRARY_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH PYTHONPATH
    . "$venv/setup.bash"
fi

if [ -f "$install/local_setup.bash" ]; then
    set +u
    . "$install/local_setup.bash"
    set -u
fi

# What `ros2 run zmask_ros` would find, for machines without ros2.
export PATH=$install/zmask_ros/lib/zmask_ros:$PATH
export ROS_LOG_DIR=${ROS_LOG_DIR:-$logs/ros}
# An image does not fit into the shared memory segment that Fast DDS takes by default.
profile_variable=$(fast_dds_variable)
[ "$profile_variable" = FASTRTPS_DEFAULT_PROFILES_FILE ] || unset FASTRTPS_DEFAULT_PROFILES_FILE
export "$profile_variable=${!profile_variable:-$root/config/fastdds.xml}"
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
