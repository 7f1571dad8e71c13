#!/bin/sh
# Usage: sh tests/cuda/scripts/build.sh BUILD_FOLDER [CMAKE_OPTION...]
# Builds the device suite, the counted cases and the program for sm_80, sm_90a and the PTX of both, with warnings as
# errors. Each object of a kernel file has ptxas' report beside it, NAME.o.ptxas, which budgets.sh reads.
set -eu
export LC_ALL=C
cd "$(dirname "$0")/../../.."
. cmake/packages.sh
build=$1
shift
launcher="sh;$PWD/tests/cuda/scripts/keep_report.sh"
command -v ccache > /dev/null 2>&1 && launcher="$launcher;ccache"
# The option is a word or nothing.
# shellcheck disable=SC2046
cmake -S . -B "$build" $(command -v ninja > /dev/null 2>&1 && echo -GNinja) -DCMAKE_BUILD_TYPE=Release $(cache_options) \
  -DCMAKE_CUDA_COMPILER_LAUNCHER="$launcher" -DCMAKE_CUDA_FLAGS=-Xptxas=-v \
  -DSAT_CUDA=ON -DSAT_WERROR=ON -DSAT_TESTS=ON -DSAT_EXAMPLES=ON "$@"
cmake --build "$build" -j "$(build_jobs)" --target sat_cuda_tests sat_cuda_counts sat_cuda_probe sat_program
