#!/usr/bin/env bash
# Runs each script of findings/ and says which of them still hold.
set -euo pipefail
. "$(dirname "$0")/common.sh"

failed=0
for finding in "$root"/findings/*.sh; do
    name=$(basename "$finding" .sh)
    echo "== $name"
    code=0
    PYTHON=$(system_python) "$finding" || code=$?
    case $code in
        0) echo "holds" ;;
        1) echo "NO LONGER HOLDS: see what findings/README.md says is worked around" ;;
        *) echo "could not be tried (exit $code)" ;;
    esac
    [ "$code" = 0 ] || failed=1
done
exit $failed
