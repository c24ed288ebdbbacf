#!/usr/bin/env bash
# The published evaluation: the shipped profile, and fitted on the same drives but not calibrated: our mean z-scores,
# and the paper's own variant.
set -euo pipefail
cd "$(dirname "$0")/.."

camvid=${ZMASK_CAMVID:-}
shipped=models/lraspp_camvid.zmask.safetensors
[ -d "$camvid" ] || { echo "CamVid was not found: set ZMASK_CAMVID to its folder." >&2; exit 2; }

tools/clean_drives.sh
fitted() {  # fitted NAME OPTIONS...: a profile in out/models, newer than the network
  local result=out/models/$1.zmask.safetensors
  shift
  if [ ! -e "$result" ] || [ models/lraspp_camvid.safetensors -nt "$result" ]; then
    zmask fit out/models/camvid_train.mcap out/models/street.mcap --topic /camera/image_raw "$@" -o "$result"
  fi
}

fitted fitted --variant mean-z
fitted paper --variant paper
zmask evaluate --camvid "$camvid" --profile "ours=$shipped" --profile "mean z-scores=out/models/fitted.zmask.safetensors" \
  --profile "paper=out/models/paper.zmask.safetensors" --docs docs/evaluation.md "$@"
