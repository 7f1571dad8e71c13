#!/bin/sh
# Usage: sh tests/cuda/scripts/two_devices.sh SAT_PROGRAM [LAUNCHER...]
# Two cases on two devices at once give the files that one device gives. One check a case; the machine has two devices,
# or the launcher pretends so.
set -eu
program=$1
shift
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for name in first second; do cp tests/golden/trained-small/hippocampus_036.nii.gz "$scratch/$name.nii.gz"; done
segment() {
  devices=$1
  shift
  "$@" "$program" segment "$scratch/first.nii.gz" "$scratch/second.nii.gz" --prompts "anterior hippocampus,posterior hippocampus" \
    --modality mri --precision fast --device "$devices" --no-preview -o "$scratch/$devices"
}
segment cuda:0 "$@"
segment cuda:0,cuda:1 "$@"
same=0 other=0
for name in first second; do
  if cmp "$scratch/cuda:0/$name/labels.nii.gz" "$scratch/cuda:0,cuda:1/$name/labels.nii.gz"; then
    same=$((same + 1))
  else
    other=$((other + 1))
  fi
done
used=$(grep -oh '"device": "cuda:[0-9]*' "$scratch"/cuda:0,cuda:1/*/manifest.json | sort -u)
echo "$used"
[ "$(echo "$used" | wc -l)" -eq 2 ] || other=$((other + 1))
echo "$same passed, $other failed"
[ "$other" -eq 0 ]
