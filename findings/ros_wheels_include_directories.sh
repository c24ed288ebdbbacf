#!/usr/bin/env bash
# The ROS message wheels export include directories of the machine that built them. CMake refuses to build a package
# that depends on such a target: "Imported target includes non-existent path".
set -euo pipefail
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder" || exit 2
"$folder/bin/pip" install --quiet --disable-pip-version-check --no-deps ros-std-msgs==5.3.6 || exit 2

exported=$(grep -rhoE 'INTERFACE_INCLUDE_DIRECTORIES "/[^"]*"' "$folder/share/std_msgs" --include='*Export.cmake' || true)
echo "version: ros-std-msgs 5.3.6"
echo "expected: no exported target names an absolute include directory"
echo "seen: ${exported:-none does}"
case $exported in *'"/opt/python/'*) exit 0 ;; *) exit 1 ;; esac
