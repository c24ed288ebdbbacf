#!/usr/bin/env bash
# The published evaluation: the shipped profile, and the paper's own variant fitted on the same drives.
set -euo pipefail
cd "$(dirname "$0")/.."

camvid=${ZMASK_CAMVID:-../shared/data/camvid}
shipped=models/lraspp_camvid.zmask.safetensors
paper=out/models/paper.zmask.safetensors
[ -d "$camvid" ] || { echo "CamVid is not at $camvid: set ZMASK_CAMVID to its folder." >&2; exit 2; }
export ZMASK_CAMVID=$camvid

tools/clean_drives.sh
if [ ! -e "$paper" ] || [ "$shipped" -nt "$paper" ]; then
  zmask fit out/models/camvid_train.mcap out/models/street.mcap --topic /camera/image_raw --variant paper -o "$paper"
fi
zmask evaluate --camvid "$camvid" --profile "ours=$shipped" --profile "paper=$paper" --docs docs/evaluation.md "$@"
