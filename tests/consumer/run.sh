#!/bin/sh
# Usage: tests/consumer/run.sh CMAKE BUILD_DIR COMPILER [FLAG...]   Run from the repository root.
# Installs the built library into an empty prefix, moves the prefix, and builds and runs the consumer twice: by
# find_package(sat) and by pkg-config. Nothing of the source tree but tests/consumer is seen by it.
set -eu
cmake=$1
build=$2
compiler=$3
shift 3
root=$PWD
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

"$cmake" --install "$build" --prefix "$scratch/first" --component sat_development > "$scratch/log"
mv "$scratch/first" "$scratch/prefix"
cp tests/consumer/CMakeLists.txt tests/consumer/main.cpp "$scratch"
cd "$scratch"

"$cmake" -S . -B by-cmake -DCMAKE_PREFIX_PATH="$scratch/prefix" -DCMAKE_CXX_COMPILER="$compiler" \
  -DCMAKE_CXX_FLAGS="$*" -DCMAKE_BUILD_TYPE=Release > configure.log || { cat configure.log; exit 1; }
"$cmake" --build by-cmake > build.log || { cat build.log; exit 1; }
segment() {
  "$1" "$root/weights/sat-small.safetensors" "$root/weights/sat-small-bank.safetensors" \
    "$root/tests/golden/trained-small/hippocampus_036.nii.gz" hippocampus "$2"
}
segment ./by-cmake/consumer mask.nii.gz

pc=$(dirname "$(find prefix -name sat.pc)")
flags=$(PKG_CONFIG_PATH="$pc" pkg-config --static --cflags --libs sat)
# The flags are words to be split.
# shellcheck disable=SC2086
"$compiler" -std=c++17 "$@" main.cpp $flags -o by-pkg-config
segment ./by-pkg-config mask-too.nii.gz
cmp mask.nii.gz mask-too.nii.gz
