#!/bin/sh
# Usage: sh examples/demo.sh
# Installs what a fresh Debian 12 lacks, builds the `sat` program, and segments a real head-and-neck CT of this
# repository with the shipped model into ./demo-out.
set -eu
export LC_ALL=C
cd "$(dirname "$0")/.."
. cmake/packages.sh

need_packages ca-certificates cmake g++ libcli11-dev \
  libeigen3-dev libjpeg-dev libpng-dev libtiff-dev ninja-build pkg-config zlib1g-dev
# The option is a word or nothing.
# shellcheck disable=SC2046
cmake --preset release $(cache_options) -DSAT_TESTS=OFF -DSAT_EXAMPLES=ON
cmake --build --preset release -j "$(build_jobs)"

rm -rf demo-out
build/examples/sat segment examples/data/pt_222_ct.nii.gz --modality ct -o demo-out \
  --prompts "brainstem,spinal cord,right parotid gland,left parotid gland,esophagus,larynx,mandible"

preview=$(find demo-out -name preview.png)
[ -n "$preview" ] || { echo "the run left no preview.png in demo-out" >&2; exit 1; }
echo
echo "Done. Look at $preview first: three planes through the organs, with their outlines."
echo "In the same folder, on the scan's own grid: one mask a name (open them over"
echo "examples/data/pt_222_ct.nii.gz in a viewer such as ITK-SNAP), a label map with its legend,"
echo "statistics.json (volumes in mm3) and manifest.json (every decision that was taken)."
echo "This model is small and trained on 140 scans; its limits are in weights/README.md. Not a medical device."
