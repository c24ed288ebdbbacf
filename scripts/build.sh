#!/usr/bin/env bash
# Builds the package with colcon into build/ and install/ (with ROS=kilted, build-kilted/ and install-kilted/).
# Does nothing when nothing changed that needs a build: Python, launch and configuration files are linked and not copied, so of those only the names count.
set -euo pipefail
. "$(dirname "$0")/common.sh"
cd "$root"

shopt -s nullglob
linked=$(find zmask_ros launch config deploy rviz model[s] msg -type f ! -name '*.pyc' ! -name '*.partial' | LC_ALL=C sort)
compiled=(CMakeLists.txt package.xml msg/*.msg scripts/build.sh "$venv/.zmask_stamp")
wanted="$root $( { echo "$linked"; cat "${compiled[@]}"; } | sha256sum | cut -d' ' -f1)"
stamp=$build/.zmask_stamp

[ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && [ -f "$install/setup.bash" ] && exit 0

# colcon cannot change between copied and linked files in one tree, nor follow a checkout that moved.
if [ -d "$build/zmask_ros" ] && ! { grep -q '^AMENT_CMAKE_SYMLINK_INSTALL:.*=1' "$build/zmask_ros/CMakeCache.txt" &&
    grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$build/zmask_ros/CMakeCache.txt"; } 2>/dev/null; then
    rm -rf "$build/zmask_ros" "$install/zmask_ros"
fi

. scripts/env.sh
say "building with colcon ..."
mkdir -p "$logs"
if ! colcon --log-base "$logs" build --build-base "$build" --install-base "$install" \
    --symlink-install --packages-select zmask_ros \
    --cmake-args "-DPython3_EXECUTABLE=$venv/bin/python" -DBUILD_TESTING=OFF >"$logs/build.txt" 2>&1; then
    cat "$logs/build.txt" >&2
    fail "colcon build failed; its output stands above and in $logs/build.txt."
fi
echo "$wanted" >"$stamp"
