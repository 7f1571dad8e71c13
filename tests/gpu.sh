#!/bin/sh
# Usage: sh tests/gpu.sh [--out DIR] [--build DIR] [--runs N] [--quick] [--no-build] [--with LAUNCHER]
# Everything worth knowing about the CUDA backend on the GPU of this machine: builds it, asks a probe what decides the
# rest, runs the device suite a case a process, the sanitizers, memory caps, the same kernels N times (20), and
# benchmarks of every variant beside cuDNN and PyTorch where they are installed; what uses wgmma comes last. Needs the CUDA
# toolkit, CMake, a C++20 compiler and the packages of tests/run.sh. Writes DIR/REPORT-DATE-DEVICE.md (DIR: docs/gpu).
# A step that fails is written down and the next one taken; the exit status is 0 where none failed. --quick: small
# benchmarks. --with: programs are run by a launcher (one word).
set -u
export LC_ALL=C
cd "$(dirname "$0")/.." || exit 1
. tests/cuda/scripts/report.sh

out=docs/gpu build=build-gpu runs=20 size=96x96x96 quick="" launcher=env builds=yes
while [ $# -gt 0 ]; do
  case $1 in
    --quick) size=8x16x16 quick="--op conv3d_norm/64-64 --size 8x16x16 --repeat 1" ;;
    --no-build) builds=no ;;
    --out | --build | --runs | --with)
      [ $# -gt 1 ] || { echo "$1 needs a value" >&2; exit 2; }
      case $1 in
        --out) out=$2 ;;
        --build) build=$2 ;;
        --runs) runs=$2 ;;
        --with) launcher=$2 ;;
      esac
      shift
      ;;
    *) sed -n '2,9s/^# //p' "$0" >&2; exit 2 ;;
  esac
  shift
done
mkdir -p "$out" "$build" || exit 1
out=$(cd "$out" && pwd) build=$(cd "$build" && pwd)
tests=$build/tests/cuda/sat_cuda_tests counts=$build/tests/cuda/sat_cuda_counts program=$build/examples/sat
probe=$build/tests/cuda/sat_cuda_probe
plain_device='--test-suite-exclude=memory cap,several devices,whole model,two gigabytes,six gigabytes'
open_steps "$build/gpu-steps"

if [ "$builds" = yes ]; then
  step "packages" 600 sh -c \
    '. cmake/packages.sh && need_packages binutils cmake doctest-dev g++ libcli11-dev libeigen3-dev libjpeg-dev libpng-dev libtiff-dev ninja-build zlib1g-dev'
  cudnn=OFF
  find /usr/include "${CUDA_HOME:-/usr/local/cuda}/include" -maxdepth 2 -name cudnn.h 2> /dev/null | grep -q . && cudnn=ON
  if [ $cudnn = ON ]; then
    step "builds with cuDNN" 3600 sh tests/cuda/scripts/build.sh "$build" -DSAT_CUDNN=ON || cudnn=OFF
  fi
  [ $cudnn = ON ] || step "builds" 3600 sh tests/cuda/scripts/build.sh "$build" -DSAT_CUDNN=OFF
fi
has_cudnn=$(sed -n 's/^SAT_CUDNN:BOOL=//p' "$build/CMakeCache.txt" 2> /dev/null)

if device=$("$launcher" "$counts" device 2> /dev/null); then
  record "finds a device" passed 0 1 0 "$device"
else
  device="no device"
  record "finds a device" failed 0 0 1 "$("$launcher" "$counts" device 2>&1 | tail -n 1)"
fi

# First what decides the rest, then what was seen to work elsewhere, then what needs wgmma: a kernel that hangs or takes
# the device's context along does so to as little as possible. Each case has a process and a minute of its own.
emulated=emulated
[ "$launcher" != env ] || emulated=
# The word is one or none.
# shellcheck disable=SC2086
step "probe" 60 "$launcher" "$probe" $emulated
step "registers, spills and shared memory" 60 sh tests/cuda/scripts/budgets.sh "$build"
cases() {  # NAME FILTER...: of the device suite
  name=$1
  shift
  step "$name" 1800 sh tests/cuda/scripts/each_case.sh "$tests" 60 "$@" -- "$launcher"
}
with_wgmma='*test_conv3d_wgmma.cpp,*test_self_test.cpp,*test_device_session.cpp'
cases "device suite" "$plain_device" "--source-file-exclude=$with_wgmma"
sanitized=no
if ! command -v compute-sanitizer > /dev/null 2>&1; then
  absent "compute-sanitizer" "is not installed"
elif [ "$launcher" != env ]; then
  absent "compute-sanitizer" "takes no launcher"
else
  sanitized=yes
  for tool in memcheck racecheck initcheck synccheck; do
    step "compute-sanitizer $tool" 1800 compute-sanitizer --tool "$tool" --kernel-name-exclude kns=conv3d_wgmma \
      --error-exitcode 99 "$tests" "$plain_device" "--source-file-exclude=$with_wgmma"
  done
fi
step "memory caps" 600 "$launcher" "$tests" '--test-suite=memory cap'

# Each variant on its own, so that one that cannot run does not hide the others; on the layers of each level
# of a U-Net, or quickly on one.
bench() {  # VARIANT
  case $1/$device/$has_cudnn in
    wgmma/*sm_90*) ;;
    wgmma/*) absent "bench conv3d $1" "is for sm_90"; return ;;
    cudnn/*/ON) ;;
    cudnn/*) absent "bench conv3d $1" "is not built in: there is no cudnn.h"; return ;;
  esac
  # What is quick are words.
  # shellcheck disable=SC2086
  step "bench conv3d $1" 1800 "$launcher" "$program" bench --device cuda ${quick:---op conv3d_norm} --variant "$1"
}
for variant in plain tiled mma cudnn; do bench $variant; done

cases "device suite, wgmma" '--source-file=*test_conv3d_wgmma.cpp,*test_self_test.cpp'
cases "device suite, whole runs" "$plain_device" '--source-file=*test_device_session.cpp'
cases "whole models" '--test-suite=whole model'
step "equal bits in $runs runs" 900 sh tests/cuda/scripts/bits.sh "$counts" "$runs" "$launcher"
case $device in
  *"devices: "[2-9]*) step "several devices" 600 "$launcher" "$tests" '--test-suite=several devices' ;;
  *) absent "several devices" "there is one at most" ;;
esac
bench wgmma
[ -n "$quick" ] || step "bench everything" 3600 "$launcher" "$program" bench --device cuda
if [ $sanitized = yes ]; then
  for tool in memcheck racecheck initcheck synccheck; do
    step "compute-sanitizer $tool, wgmma" 1800 sh tests/cuda/scripts/sanitize_wgmma.sh "$tool" "$tests"
  done
fi
if [ "$launcher" = env ] && python3 -c 'import torch; assert torch.cuda.is_available()' > /dev/null 2>&1; then
  step "bench PyTorch" 900 python3 tests/bench/torch_gpu.py --size $size
else
  absent "bench PyTorch" "is not installed, or finds no GPU"
fi

report=$out/REPORT-$(date -u +%Y-%m-%d)-$(echo "${device%%,*}" | tr -c 'A-Za-z0-9\n' '-' | tr -s '-').md
fenced() { printf '```\n'; cat; printf '```\n'; }
{
  printf '# %s, %s\n\n' "${device%%,*}" "$(date -u +%Y-%m-%d)"
  echo "Written by \`tests/gpu.sh\`: $passed checks passed, $failed failed."
  [ "$launcher" = env ] || echo "Run by $(basename "$launcher"), not on a GPU: no time in this report means anything."
  printf '\n- device: %s\n' "$device"
  echo "- commit: $(git describe --always --dirty 2> /dev/null || echo unknown)"
  echo "- system: $(uname -sr), $(nvcc --version 2> /dev/null | sed -n 's/.*release \([^,]*\),.*/CUDA \1/p')"
  nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,power.limit --format=csv,noheader 2> /dev/null | sed 's/^/- /'
  printf '\n## Steps\n'
  steps_table
  if [ "$failed" -gt 0 ]; then
    printf '\n## What failed\n'
    failed_steps | while read -r name; do
      printf '\n### %s\n' "$name"
      log=$(log_of "$name")
      [ ! -e "$log" ] || tail -n 40 "$log" | fenced
    done
  fi
  printf '\n## Probe\n'
  fenced < "$(log_of "probe")"
  printf '\n## Benchmarks\n'
  for log in "$steps"/bench_*.log; do
    [ -e "$log" ] || continue
    printf '\n### %s\n' "$(basename "$log" .log | tr _ ' ')"
    fenced < "$log"
  done
  printf '\n## Resources\n'
  grep '^|' "$(log_of "registers, spills and shared memory")"
} > "$report"
echo "report: $report"
close_steps
