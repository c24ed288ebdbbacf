#!/usr/bin/env bash
# Records the clean drives that the shipped profile is fitted on, where they are not there yet: out/models/*.mcap.
set -euo pipefail
cd "$(dirname "$0")/.."

mkdir -p out/models
newer() { [ -e "$1" ] && [ ! "$2" -nt "$1" ]; }
newer out/models/camvid_train.mcap zmask_ros/data/camvid.py ||
  zmask world camvid train --force -o out/models/camvid_train.mcap
newer out/models/street.mcap zmask_ros/data/street/drive.py ||
  zmask world street {3000..3029} --seconds 20 --rate 0.5 --force -o out/models/street.mcap
