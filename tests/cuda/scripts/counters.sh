#!/bin/sh
# Usage: sh tests/cuda/scripts/counters.sh PROGRAM EMULATOR [RULES]
# Runs each counted case of sat_cuda_counts under the emulator, prints what it counted as a Markdown table (that of
# docs/gpu/counters.md) and holds it against tests/cuda/scripts/counters.txt. One check a rule; "N passed, N failed".
set -eu
export LC_ALL=C
program=$1 emulator=$2
here=$(dirname "$0")
rules=${3:-$here/counters.txt}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$emulator" "$program" list > "$scratch/cases"
while read -r name; do
  echo "case $name" >> "$scratch/facts"
  if ! CUDA_ON_CPU_STATS=$scratch/launches "$emulator" "$program" "$name" >> "$scratch/facts" < /dev/null; then
    echo "$name could not be counted"
    rm -f "$scratch/launches"
  fi
  # Kernels are named by what the source says.
  [ ! -e "$scratch/launches" ] || c++filt < "$scratch/launches" >> "$scratch/facts"
  rm -f "$scratch/launches"
done < "$scratch/cases"
awk -v rules="$rules" -f "$here/counters.awk" "$scratch/facts"
