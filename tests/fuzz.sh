#!/bin/sh
# Usage: sh tests/fuzz.sh [SECONDS]
# Builds the fuzzers with clang, writes their seeds, and runs each: first over the seeds, what was found before
# (tests/fuzz/found) and the corpus that earlier runs have grown in the build folder, then over new inputs for so many
# seconds (default 20), two fuzzers at a time. What breaks one is left in build-fuzz/finds. Ends with
# "N passed, N failed", a fuzzer counting as one.
set -u
export LC_ALL=C
cd "$(dirname "$0")/.." || exit 1
. cmake/packages.sh
seconds=${1:-20}

need_packages clang libclang-rt-14-dev cmake libcli11-dev libdcmtk-dev \
  libeigen3-dev libjpeg-dev libpng-dev libtiff-dev ninja-build pkg-config zlib1g-dev \
  > /dev/null 2>&1
probe=$(mktemp -d)
echo 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }' > "$probe/probe.cpp"
if ! clang++ -fsanitize=fuzzer,address,undefined "$probe/probe.cpp" -o "$probe/probe" > /dev/null 2>&1; then
  rm -rf "$probe"
  echo "the fuzzers are not run: there is no clang with libFuzzer"
  echo "0 passed, 0 failed"
  exit 0
fi
rm -rf "$probe"

build=build-fuzz
# The option is a word or nothing.
# shellcheck disable=SC2046
if ! cmake --preset fuzz $(cache_options) || ! cmake --build --preset fuzz -j "$(build_jobs)"; then
  echo "the build failed"
  echo "0 passed, 1 failed"
  exit 1
fi
rm -rf "$build/seeds" "$build/finds" "$build/logs"
mkdir -p "$build/finds" "$build/logs"
if ! "$build/tests/fuzz/seeds" "$build/seeds"; then
  echo "the seeds could not be written"
  echo "0 passed, 1 failed"
  exit 1
fi

names=$(for source in tests/fuzz/fuzzers/fuzz_*.cpp tests/fuzz/fuzzers/*/fuzz_*.cpp; do basename "$source" .cpp | sed 's/^fuzz_//'; done)
echo "$names" | xargs -P 2 -I NAME sh tests/fuzz/one.sh NAME "$seconds" "$build"

passed=0 failed=0
for name in $names; do
  runs=$(sed -n 's/^Done \([0-9]*\) runs.*/\1/p' "$build/logs/$name")
  if [ -f "$build/logs/$name.passed" ]; then
    passed=$((passed + 1))
    echo "fuzz_$name: ${runs:-no} inputs, nothing found"
  else
    failed=$((failed + 1))
    tail -n 60 "$build/logs/$name"
    echo "fuzz_$name: FAILED, see $build/finds/$name"
  fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
