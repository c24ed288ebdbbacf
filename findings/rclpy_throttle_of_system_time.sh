#!/usr/bin/env bash
# rclpy throttles log messages by the system's clock, where its documentation names the steady one: after that has been
# set back, as the first fix of a GPS or of NTP may do, a warning is not given again for as long as it was set back.
set -euo pipefail
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# The machine's own clock stays as it is: this sets back what one process sees of it.
cat > "$folder/clock.c" <<'END'
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

long seconds_back = 0;

int clock_gettime(clockid_t clock, struct timespec *time) {
    long failed = syscall(SYS_clock_gettime, clock, time);
    if (!failed && clock == CLOCK_REALTIME) time->tv_sec -= seconds_back;
    return (int)failed;
}
END
"${CC:-cc}" -shared -fPIC -o "$folder/clock.so" "$folder/clock.c" || exit 2
"${PYTHON:-python3}" -m venv "$folder/venv" || exit 2
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --constraint "$(dirname "$0")/../requirements/ros-jazzy-constraints.txt" \
    'ros-rclpy[fastrtps]==7.1.6' PyYAML==6.0.3 numpy==2.2.6 || exit 2

# Without what another ROS may have set.
env -i PATH="$PATH" HOME="$HOME" ROS_LOG_DIR="$folder/log" LD_PRELOAD="$folder/clock.so" "$folder/venv/bin/python" - <<'END'
import ctypes
import re
import sys
import time
from importlib.metadata import version

from rclpy.clock import Clock, ClockType
from rclpy.logging import get_logger

EVERY_S, LONG_S, BACK_S = 0.4, 2.0, 3600
loggers = {name: (get_logger(name.replace(" ", "_")), options) for name, options in {
    "by default": {},
    "by the steady clock": {"throttle_time_source_type": Clock(clock_type=ClockType.STEADY_TIME)},
}.items()}


def logged(name: str) -> int:
    """How many of many warnings come through."""
    logger, options = loggers[name]
    until, count = time.monotonic() + LONG_S, 0
    while time.monotonic() < until:
        count += logger.warning(f"the disk is too slow ({name})", throttle_duration_sec=EVERY_S, **options)
        time.sleep(0.01)
    return count


before = {name: logged(name) for name in loggers}
moment = time.time()
ctypes.c_long.in_dll(ctypes.CDLL(None), "seconds_back").value = BACK_S
if not -1.2 * BACK_S < time.time() - moment < -0.8 * BACK_S or min(before.values()) < 3:
    sys.exit(2)
after = {name: logged(name) for name in loggers}
documented = re.search(r"default of\s+``(\w+)``", get_logger("x").log.__doc__)
print("version: rclpy", version("ros-rclpy"))
print("documented: throttle_time_source_type is by default", documented[1] if documented else "not said")
print(f"expected: a warning that may come every {EVERY_S} s comes as often after the clock was set back by an hour")
for name in loggers:
    print(f"seen: {name}: {before[name]} times in {LONG_S:g} s before, {after[name]} times in {LONG_S:g} s after")
sys.exit(not (after["by default"] == 0 and after["by the steady clock"] >= 3))
END
