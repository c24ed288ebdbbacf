#!/usr/bin/env bash
# Makes .venv (with ROS=kilted, .venv-kilted) with everything that the project needs.
# Does nothing when it is as requirements/ wants it.
set -euo pipefail
. "$(dirname "$0")/common.sh"

flavour=$(ros_flavour)
base=$(system_python)
stamp=$venv/.zmask_stamp
wanted="$flavour ${ROS_DISTRO:-} $venv $(cat "$root"/requirements/*.txt "$root/scripts/setup.sh" | sha256sum | cut -d' ' -f1)"

[ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && exit 0

# pip takes what is in PYTHONPATH for installed.
[ "$flavour" = system ] || unset PYTHONPATH

command -v "$base" >/dev/null || fail "there is no $base: install Python 3.10 or newer (Debian, Ubuntu: sudo apt install python3 python3-venv)."
"$base" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
    fail "$("$base" -V 2>&1) is too old: Python 3.10 or newer is needed; name one with PYTHON=python3.11 make ..."
"$base" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$base cannot make virtual environments: install python3-venv (Debian, Ubuntu: sudo apt install python3-venv)."
for compiler in gcc g++; do
    command -v "$compiler" >/dev/null ||
        fail "there is no $compiler, which the ROS 2 messages are compiled with: install it (Debian, Ubuntu: sudo apt install build-essential)."
done

venv_fits() {
    local shares=false
    [ "$flavour" = system ] && shares=true
    [ -x "$venv/bin/pip" ] && grep -qx "include-system-site-packages = $shares" "$venv/pyvenv.cfg"
}

make_venv() {
    local options=()
    [ "$flavour" = system ] && options=(--system-site-packages)
    say "making ${venv##*/} with $("$base" -V) ..."
    plain_python "$base" -m venv --clear "${options[@]}" "$venv"
}

install_requirements() {
    local files=(torch python onnx dev)
    if [ "$flavour" = system ]; then files+=(ros-system); else files+=(arrays view fleet fleet-dev colcon "ros-$distribution"); fi
    local options=() file
    for file in "${files[@]}"; do options+=(-r "$root/requirements/$file.txt"); done
    [ "$flavour" = wheels ] && options+=(-c "$root/requirements/ros-$distribution-constraints.txt")
    say "installing ${files[*]} (torch is most of it: 5 GB on disk) ..."
    plain_python "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${options[@]}"
}

# See findings/ros_wheels_include_directories.sh.
repair_wheels() {
    { grep -rlZ '"/opt/python/' "$venv/share" --include='*Export.cmake' || true; } | xargs -0 -r sed -i \
        's#INTERFACE_INCLUDE_DIRECTORIES "/opt/python/[^"]*"#INTERFACE_INCLUDE_DIRECTORIES ""#'
}

# colcon chains to the workspace below through the setup files of its prefix.
write_prefix_setup() {
    local shell
    for shell in bash sh zsh; do
        printf '. "%s/bin/activate"\nexport AMENT_PREFIX_PATH="%s"\n' "$venv" "$venv" >"$venv/local_setup.$shell"
    done
    cp "$venv/local_setup.bash" "$venv/setup.bash"
}

venv_fits || make_venv
touch "$venv/COLCON_IGNORE"
install_requirements
if [ "$flavour" = wheels ]; then
    repair_wheels
    write_prefix_setup
fi
echo "$wanted" >"$stamp"
