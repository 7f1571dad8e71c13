#!/bin/sh
# Usage: sh tests/threads.sh [CMAKE_OPTION...]
# Builds what threads share (sat_thread_tests) with the thread sanitizer and runs it. Ends with "N passed, N failed".
set -u
export LC_ALL=C
cd "$(dirname "$0")/.." || exit 1
. cmake/packages.sh

need_packages ca-certificates cmake doctest-dev g++ \
  libeigen3-dev libjpeg-dev libpng-dev libtiff-dev ninja-build pkg-config zlib1g-dev || exit 1
# The option is a word or nothing.
# shellcheck disable=SC2046
if ! cmake --preset tsan $(cache_options) -DSAT_TESTS=ON -DSAT_EXAMPLES=OFF "$@" ||
  ! cmake --build --preset tsan -j "$(build_jobs)" --target sat_thread_tests; then
  echo "the build failed"
  echo "0 passed, 1 failed"
  exit 1
fi
said=$(mktemp)
status=0
TSAN_OPTIONS=halt_on_error=1 build-tsan/tests/sat_thread_tests --no-intro > "$said" 2>&1 || status=$?
cat "$said"
counts=$(sed -n 's/^\[doctest\] test cases: *[0-9]* | *\([0-9]*\) passed | *\([0-9]*\) failed.*/\1 \2/p' "$said")
rm -f "$said"
passed=${counts% *} failed=${counts#* }
if [ -z "$counts" ]; then
  passed=0 failed=1
elif [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
  failed=1
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
