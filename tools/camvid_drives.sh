#!/usr/bin/env bash
# Records the drives of CamVid's training split, each as a bag of its own, where they are not there yet.
set -euo pipefail
cd "$(dirname "$0")/.."

mkdir -p out/models
for drive in 0001TP 0016E5 0006R0; do
  bag=out/models/$drive.mcap
  [ -e "$bag" ] && [ ! zmask_ros/data/camvid.py -nt "$bag" ] ||
    zmask world camvid train --drive "$drive" --force -o "$bag"
done
