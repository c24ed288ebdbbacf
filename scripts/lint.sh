#!/usr/bin/env bash
# Style, types, who imports whom, shell scripts.
set -euo pipefail
cd "$(dirname "$0")/.."
ruff check .
ruff format --check .
mypy zmask_ros/
lint-imports --no-logo --no-cache
shellcheck -x --source-path=SCRIPTDIR scripts/*.sh tools/*.sh findings/*.sh .ci/run
