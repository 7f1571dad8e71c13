#!/bin/sh
# Usage: sh tests/cuda.sh [BUILD_FOLDER [CMAKE_OPTION...]]
# The proof of the CUDA backend on any machine with nvcc: builds for sm_80, sm_90a and the PTX of both with warnings as
# errors, holds ptxas' report against budgets, runs the device suite under an emulator of CUDA (tests/cuda/scripts/emulator.sh)
# as several devices, with its checks of memory, initialisation, leaks and races, in shuffled orders, counts what the
# kernels move, and tries tests/gpu.sh. Where there is a GPU, the suite runs on it too. Ends with "N passed, N failed".
set -u
export LC_ALL=C
cd "$(dirname "$0")/.." || exit 1
. cmake/packages.sh
. tests/cuda/scripts/report.sh

missing() {
  echo "the CUDA backend is not tested: $1"
  echo "0 passed, 0 failed"
  exit 0
}

build=${1:-build-cuda}
[ $# -eq 0 ] || shift
command -v nvcc > /dev/null 2>&1 || missing "nvcc is not in PATH"
gpus=$(nvidia-smi -L 2> /dev/null | grep -c '^GPU ')
[ -n "${SAT_CUDA_EMULATOR:-}" ] || [ -d ../shared/tools/cuda-on-cpu ] || [ "$gpus" -gt 0 ] ||
  missing "there is no GPU, and no emulator (SAT_CUDA_EMULATOR, or ../shared/tools/cuda-on-cpu)"

mkdir -p "$build"
build=$(cd "$build" && pwd)
tests=$build/tests/cuda/sat_cuda_tests counts=$build/tests/cuda/sat_cuda_counts
open_steps "$build/cuda-steps"
need_packages binutils cmake doctest-dev g++ libcli11-dev \
  libeigen3-dev libjpeg-dev libpng-dev libtiff-dev ninja-build pkg-config zlib1g-dev || exit 1

# Tests that need more than a plain device are in these suites; they run in steps of their own.
elsewhere='--test-suite-exclude=memory cap,several devices,whole model,two gigabytes,six gigabytes'

if ! step "builds for sm_80, sm_90a and PTX, warnings are errors" 3000 sh tests/cuda/scripts/build.sh "$build" "$@"; then
  close_steps
  exit 1
fi
step "installed, found and linked" 300 sh tests/consumer/run.sh cmake "$build" "${CXX:-c++}"
step "registers, spills and shared memory" 60 sh tests/cuda/scripts/budgets.sh "$build"
emulator=$(sh tests/cuda/scripts/emulator.sh "$build/emulator")
case $? in
  0) ;;
  1) absent "under the emulator" "there is none" ;;
  *) record "builds the emulator" failed 0 0 1 "see $build/emulator/build.log" ;;
esac

if [ -n "$emulator" ]; then
  step "suite as sm_90, leaks" 600 env CUDA_ON_CPU_ARCH=90 CUDA_ON_CPU_LEAKCHECK=1 \
    "$emulator" "$tests" "$elsewhere"
  step "suite as sm_80, uninitialised reads" 600 env CUDA_ON_CPU_ARCH=80 CUDA_ON_CPU_INITCHECK=1 \
    "$emulator" "$tests" "$elsewhere"
  step "suite as sm_90, races of warps and of lanes, uninitialised reads, shuffled" 900 env CUDA_ON_CPU_ARCH=90 \
    CUDA_ON_CPU_LANES=1 CUDA_ON_CPU_INITCHECK=1 CUDA_ON_CPU_SHUFFLE=11 "$emulator" "$tests" "$elsewhere"
  step "whole models as sm_90" 600 env CUDA_ON_CPU_ARCH=90 sh tests/cuda/scripts/each_case.sh "$tests" 300 \
    "--test-suite=whole model" -- "$emulator"
  step "whole models as sm_80" 600 env CUDA_ON_CPU_ARCH=80 sh tests/cuda/scripts/each_case.sh "$tests" 300 \
    "--test-suite=whole model" -- "$emulator"
  step "equal bits in 5 shuffled orders as sm_90" 300 env CUDA_ON_CPU_ARCH=90 sh tests/cuda/scripts/bits.sh "$counts" 5 "$emulator"
  step "equal bits in 5 shuffled orders as sm_80" 300 env CUDA_ON_CPU_ARCH=80 sh tests/cuda/scripts/bits.sh "$counts" 5 "$emulator"
  step "memory caps, on a device of 256 MB" 300 env CUDA_ON_CPU_MEMORY=256M \
    "$emulator" "$tests" '--test-suite=memory cap'
  step "a window of SAT-Nano on a device of 2 GB" 300 env CUDA_ON_CPU_MEMORY=1907M \
    "$emulator" "$tests" '--test-suite=two gigabytes'
  step "a window of SAT-Pro on a device of 6 GB" 300 env CUDA_ON_CPU_MEMORY=5722M \
    "$emulator" "$tests" '--test-suite=six gigabytes'
  step "two devices" 300 env CUDA_ON_CPU_DEVICES=2 "$emulator" "$tests" '--test-suite=several devices'
  step "two devices share the cases" 300 env CUDA_ON_CPU_DEVICES=2 \
    sh tests/cuda/scripts/two_devices.sh "$build/examples/sat" "$emulator"
  step "what the kernels move" 600 sh tests/cuda/scripts/counters.sh "$counts" "$emulator"
  step "probe as sm_90" 60 env CUDA_ON_CPU_ARCH=90 "$emulator" "$build/tests/cuda/sat_cuda_probe" emulated
  step "probe as sm_80" 60 env CUDA_ON_CPU_ARCH=80 "$emulator" "$build/tests/cuda/sat_cuda_probe" emulated
  step "tests/gpu.sh and its failures" 600 sh tests/cuda/scripts/try_gpu.sh "$build" "$emulator"
fi

if [ "$gpus" -gt 0 ]; then
  step "probe on the GPU" 60 "$build/tests/cuda/sat_cuda_probe"
  step "suite on the GPU" 1800 sh tests/cuda/scripts/each_case.sh "$tests" 60 "$elsewhere" --
  step "whole models on the GPU" 600 "$tests" '--test-suite=whole model'
  step "equal bits on the GPU" 300 sh tests/cuda/scripts/bits.sh "$counts" 5
  [ "$gpus" -lt 2 ] || step "several GPUs" 300 "$tests" '--test-suite=several devices'
  if command -v compute-sanitizer > /dev/null 2>&1; then
    for tool in memcheck racecheck initcheck synccheck; do
      step "compute-sanitizer $tool" 900 compute-sanitizer --tool "$tool" --kernel-name-exclude kns=conv3d_wgmma \
        --error-exitcode 99 "$tests" "$elsewhere" '--source-file-exclude=*test_conv3d_wgmma.cpp'
      step "compute-sanitizer $tool, wgmma" 900 sh tests/cuda/scripts/sanitize_wgmma.sh "$tool" "$tests"
    done
  else
    absent "compute-sanitizer" "is not installed"
  fi
else
  absent "on a GPU" "there is none"
fi
close_steps
