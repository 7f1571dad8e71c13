#!/bin/sh
# Usage: sh tests/run.sh [PRESET [CMAKE_OPTION...]]
# Installs what a fresh Debian 12 lacks, builds, runs all tests of the preset (default: release), and ends with
# "N passed, N failed": test cases of the test program plus the checks that stand beside it.
set -eu
export LC_ALL=C
cd "$(dirname "$0")/.."
. cmake/packages.sh
preset=${1:-release}
[ $# -eq 0 ] || shift

need_packages ca-certificates binutils cmake doctest-dev g++ libcli11-dev ninja-build nlohmann-json3-dev pkg-config \
  zlib1g-dev
# The option is a word or nothing.
# shellcheck disable=SC2046
cmake --preset "$preset" $(cache_options) "$@"
cmake --build --preset "$preset" -j "$(build_jobs)"

case $preset in
  release) build=build ;;
  *) build=build-$preset ;;
esac
log=$build/Testing/Temporary/LastTest.log
rm -f "$log"
status=0
ctest --preset "$preset" -j "$(nproc)" --no-tests=error || status=$?

# A run of the test program prints its own count; any other check counts as one. A run that failed without a failed
# case (a crash, a leak, a time limit) counts as one failure more.
awk -v status="$status" '
  /^[0-9]+\/[0-9]+ Testing: / { passed_here = failed_here = counted = 0 }
  /^\[doctest\] test cases: / { counted = 1; passed_here = $6; failed_here = $9 }
  /^Test Passed\./ { passed += counted ? passed_here : 1; failed += failed_here; ++runs }
  /^Test Failed\./ { passed += passed_here; failed += failed_here > 0 ? failed_here : 1; ++runs }
  END {
    if (status != 0 && failed == 0) failed = 1
    if (runs == 0) failed = 1
    printf "%d passed, %d failed\n", passed, failed
    exit failed > 0
  }' "$log"
