#!/bin/sh
# Usage: sh tests/cuda/scripts/bits.sh PROGRAM RUNS [LAUNCHER...]
# Runs "PROGRAM bits" RUNS times more and compares each with the first: the same bits in every run. Under the emulator
# (a LAUNCHER) each run takes blocks and warps in another order. One check a run.
set -u
program=$1 runs=$2
shift 2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if ! "$@" "$program" bits > "$scratch/first"; then
  cat "$scratch/first"
  echo "the program failed"
  echo "0 passed, 1 failed"
  exit 1
fi
echo "$(grep -c -v ' refused$' "$scratch/first") results are compared"
same=0 other=0 run=1
while [ "$run" -le "$runs" ]; do
  if CUDA_ON_CPU_SHUFFLE=$((run * 7919)) "$@" "$program" bits > "$scratch/again" &&
    cmp -s "$scratch/first" "$scratch/again"; then
    same=$((same + 1))
  else
    other=$((other + 1))
    echo "run $run failed or has other bits:"
    diff "$scratch/first" "$scratch/again"
  fi
  run=$((run + 1))
done
echo "$same passed, $other failed"
[ "$other" -eq 0 ]
