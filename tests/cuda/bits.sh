#!/bin/sh
# Usage: sh tests/cuda/bits.sh PROGRAM RUNS [LAUNCHER...]
# Runs "PROGRAM bits" RUNS times more and compares each with the first: the same bits in every run. Under the emulator
# (a LAUNCHER) each run takes blocks and warps in another order. One check a run.
set -eu
program=$1 runs=$2
shift 2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$@" "$program" bits > "$scratch/first"
grep -c -v ' refused$' "$scratch/first" | sed 's/$/ results are compared/'
same=0 other=0 run=1
while [ "$run" -le "$runs" ]; do
  CUDA_ON_CPU_SHUFFLE=$((run * 7919)) "$@" "$program" bits > "$scratch/again"
  if cmp -s "$scratch/first" "$scratch/again"; then
    same=$((same + 1))
  else
    other=$((other + 1))
    echo "run $run has other bits:"
    diff "$scratch/first" "$scratch/again" || true
  fi
  run=$((run + 1))
done
echo "$same passed, $other failed"
[ "$other" -eq 0 ]
