#!/bin/sh
# Compares the U-Net with PyTorch's: the programs take turns, and medians and their ratio are printed.
#   compare_unet.sh BENCH PYTHON [ROUNDS [SIZE [THREADS]]]
# BENCH is the built sat_bench_unet, PYTHON an interpreter that has torch; SIZE the side of a cubic window.
set -eu
bench=$1
python=$2
rounds=${3:-3}
size=${4:-96}
threads=${5:-2}
peer=$(dirname "$0")/peer_unet.py
figures=$(mktemp -d)
trap 'rm -rf "$figures"' EXIT

round=0
while [ "$round" -lt "$rounds" ]; do
  "$bench" --once --size "$size" "$size" "$size" --threads "$threads" >> "$figures/sat"
  for layout in contiguous channels_last_3d; do
    "$python" "$peer" --once --size "$size" "$size" "$size" --threads "$threads" --layout "$layout" \
      >> "$figures/$layout"
  done
  round=$((round + 1))
done

median() {
  sort -g "$figures/$1" | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'
}
awk -v sat="$(median sat)" -v contiguous="$(median contiguous)" -v last="$(median channels_last_3d)" \
    -v size="$size" -v threads="$threads" -v rounds="$rounds" 'BEGIN {
  best = contiguous < last ? contiguous : last
  printf "U-Net, %dx%dx%d window, f32, %d threads, medians of %d\n", size, size, size, threads, rounds
  printf "  sat                        %8.3f s\n", sat
  printf "  PyTorch contiguous         %8.3f s\n", contiguous
  printf "  PyTorch channels_last_3d   %8.3f s\n", last
  printf "  PyTorch (better) / sat     %8.2f\n", best / sat
}'
