#!/usr/bin/env bash
# Style, types and shell scripts.
set -euo pipefail
cd "$(dirname "$0")/.."
ruff check .
ruff format --check .
mypy zmask_ros/
shellcheck -x --source-path=SCRIPTDIR scripts/*.sh tools/*.sh .ci/run
