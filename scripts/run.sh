#!/usr/bin/env bash
# Runs a command in the environment of the project, alone on its own ROS domain of this machine.
# usage: [ROS=kilted] scripts/run.sh COMMAND [ARGUMENT...]
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$root/scripts/env.sh"

# Other ROS systems on the network neither disturb this run nor see it. Domains above 101 collide with ephemeral ports.
export ROS_DOMAIN_ID=${ZMASK_DOMAIN_ID:-$(($$ % 100 + 1))}
export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST
cd "$root"
exec "$@"
