#!/usr/bin/env bash
# Makes everything in models/ anew: trains the segmenter, optimises the patch, trains the transferable head on networks
# of several families, fits the profile, measures all of it.
# Needs CamVid (ZMASK_CAMVID). Takes hours on two cores; each step is skipped where its result is newer.
set -euo pipefail
cd "$(dirname "$0")/.."

camvid=${ZMASK_CAMVID:-}
name=lraspp_camvid
mkdir -p out/train out/models

[ -d "$camvid" ] || { echo "CamVid was not found: set ZMASK_CAMVID to its folder." >&2; exit 2; }

step() {  # step RESULT DEPENDENCY COMMAND...: run the command unless the result is newer than what it depends on
  local result=$1 dependency=$2
  shift 2
  if [ -e "$result" ] && [ ! "$dependency" -nt "$result" ]; then
    echo "== $result is up to date"
  else
    echo "== $result"
    "$@"
  fi
}

step out/train/camvid.pt tools/train_segmenter.py \
  python tools/train_segmenter.py --stage camvid -o out/train/camvid.pt
step out/train/joint.pt out/train/camvid.pt \
  python tools/train_segmenter.py --stage joint --start out/train/camvid.pt -o out/train/joint.pt
step out/train/long.pt out/train/joint.pt \
  python tools/train_segmenter.py --stage long --start out/train/joint.pt -o out/train/long.pt
step out/train/hidden.pt out/train/long.pt \
  python tools/train_segmenter.py --stage hidden --start out/train/long.pt -o out/train/hidden.pt
step models/$name.safetensors out/train/hidden.pt \
  python tools/export_segmenter.py out/train/hidden.pt -o models/$name.safetensors
step out/models/$name.patch.png models/$name.safetensors \
  zmask attack --street 2001,2003,2005,2007,2009,2011 --camvid "$camvid" --frames 60 --recipe tools/patch_recipe.json \
  -o out/models/$name.patch.png
trucks=()
for seed in {2101..2108}; do trucks+=(--scene "street:$seed:truck"); done
step out/models/$name.truck.patch.png models/$name.safetensors \
  zmask attack "${trucks[@]}" --frames 12 --recipe tools/truck_patch_recipe.json -o out/models/$name.truck.patch.png
cp out/models/$name{,.truck}.patch.{png,json} models/

families=(convnext dilated efficientnet resnet shufflenet squeeze_excitation two_branch unet unet_without_norm)
networks=()
for family in "${families[@]}"; do
  step "out/networks/$family.safetensors" tools/networks.py \
    python tools/train_network.py "$family" -o "out/networks/$family.safetensors"
  networks+=("out/networks/$family.yaml")
done
export PYTHONPATH=$PWD/tools${PYTHONPATH:+:$PYTHONPATH}
# Pictures of other cameras are for measuring here: the head must not need them.
transferable_head() {  # transferable_head RESULT OPTIONS...: train a transferable head
  local result=$1
  shift
  step "$result" "${networks[-1]}" \
    env -u ZMASK_ROADS python tools/train_transferable_head.py "${networks[@]}" $name -o "$result" "$@"
}
transferable_head models/transferable_head.safetensors
for family in "${families[@]}"; do
  transferable_head "out/networks/heads/$family.safetensors" --leave-out "$family"
done
step out/networks/transfer.json models/transferable_head.safetensors \
  python tools/measure_transfer.py "${networks[@]}" --heads out/networks/heads

ordinary=unet_camvid
step out/train/unet.pt tools/train_segmenter.py \
  python tools/train_segmenter.py --network unet --stage ordinary -o out/train/unet.pt
step models/$ordinary.safetensors out/train/unet.pt \
  python tools/export_segmenter.py out/train/unet.pt -o models/$ordinary.safetensors
step models/$ordinary.patch.png models/$ordinary.safetensors \
  zmask attack --segmenter $ordinary --camvid "$camvid" --frames 120 --recipe tools/plain_patch_recipe.json \
  -o models/$ordinary.patch.png
tools/camvid_drives.sh
step models/$ordinary.zmask.safetensors models/$ordinary.safetensors \
  zmask fit out/models/0001TP.mcap out/models/0016E5.mcap out/models/0006R0.mcap --topic /camera/image_raw \
  --segmenter $ordinary -o models/$ordinary.zmask.safetensors

tools/clean_drives.sh
step out/models/fitted.zmask.safetensors models/$name.safetensors \
  zmask fit out/models/camvid_train.mcap out/models/street.mcap --topic /camera/image_raw \
  --variant mean-z -o out/models/fitted.zmask.safetensors
step out/models/calibrated.zmask.safetensors out/models/fitted.zmask.safetensors \
  zmask calibrate out/models/fitted.zmask.safetensors --camvid "$camvid" --clean out/models/street.mcap \
  --topic /camera/image_raw --patches out/models/$name.patch.png --train-patches 2 --rivals 2500 \
  -o out/models/calibrated.zmask.safetensors
step models/$name.zmask.safetensors out/models/calibrated.zmask.safetensors \
  zmask screen out/models/calibrated.zmask.safetensors --camvid "$camvid" --clean out/models/street.mcap \
  --topic /camera/image_raw -o models/$name.zmask.safetensors
python tools/measure_models.py
PYTHONPATH=$PWD/tools python tools/measure_shipped.py
