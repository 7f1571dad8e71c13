#!/bin/sh
# Usage: sh tests/cuda/scripts/emulator.sh FOLDER
# Prints the launcher of an emulator of CUDA, or fails where there is none. SAT_CUDA_EMULATOR names a built one or its
# sources; otherwise its sources are looked for beside the repository. What has to be built is built into FOLDER, once.
set -eu
place=${SAT_CUDA_EMULATOR:-$(dirname "$0")/../../../../shared/tools/cuda-on-cpu}
if [ -x "$place/cuda-on-cpu" ] && [ -e "$place/libcudart.so.13" ]; then
  (cd "$place" && echo "$PWD/cuda-on-cpu")
elif [ -f "$place/build.sh" ]; then
  mkdir -p "$1"
  bash "$place/build.sh" "$1" > "$1/build.log" 2>&1 || { cat "$1/build.log" >&2; exit 2; }
  (cd "$1" && echo "$PWD/cuda-on-cpu")
else
  exit 1
fi
