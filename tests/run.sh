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

need_packages ca-certificates binutils cmake doctest-dev g++ libcli11-dev \
  libeigen3-dev libjpeg-dev libpng-dev libtiff-dev ninja-build \
  pkg-config zlib1g-dev
case " $* " in *" -DSAT_DICOM=ON "*) need_packages libdcmtk-dev ;; esac
# The option is a word or nothing.
# shellcheck disable=SC2046
if ! cmake --preset "$preset" $(cache_options) -DSAT_TESTS=ON -DSAT_EXAMPLES=ON "$@" ||
  ! cmake --build --preset "$preset" -j "$(build_jobs)"; then
  echo "the build failed"
  echo "0 passed, 1 failed"
  exit 1
fi

case $preset in
  release) build=build ;;
  *) build=build-$preset ;;
esac
log=$build/Testing/Temporary/LastTest.log
failures=$build/Testing/Temporary/LastTestsFailed.log
rm -f "$log" "$failures"
status=0
ctest --preset "$preset" -j "$(nproc)" --no-tests=error || status=$?

# A run of the test program prints its own count; any other check counts as one. A run that failed without a failed
# case (a crash, a leak, a time limit) counts as one failure more. The first file holds "number:name" of what failed.
touch "$log" "$failures"
awk -v status="$status" '
  FILENAME == ARGV[1] { sub(/^[0-9]+:/, ""); bad[$0] = 1; next }
  /^[0-9]+\/[0-9]+ Testing: / { name = $0; sub(/^[^:]*: /, "", name); seen[name] = 1 }
  /^\[doctest\] test cases: / { counted[name] = 1; cases_passed[name] = $6; cases_failed[name] = $9 }
  END {
    for (name in bad) seen[name] = 1
    for (name in seen) {
      passed += counted[name] ? cases_passed[name] : !bad[name]
      failed += bad[name] && !cases_failed[name] ? 1 : cases_failed[name]
    }
    if (status != 0 && !failed) failed = 1
    printf "%d passed, %d failed\n", passed, failed
    exit failed > 0
  }' "$failures" "$log"
