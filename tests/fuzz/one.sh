#!/bin/sh
# Usage: sh tests/fuzz/one.sh NAME SECONDS BUILD : runs one fuzzer for tests/fuzz.sh, which reads its log and result.
set -u
[ ! -d /dev/shm ] || export TMPDIR=/dev/shm  # inputs are files, and need no disk
name=$1 seconds=$2 build=$3
mkdir -p "$build/corpus/$name" "$build/seeds/$name" "$build/finds/$name"
found=tests/fuzz/found/$name
[ -d "$found" ] || found=
# A folder or nothing.
# shellcheck disable=SC2086
UBSAN_OPTIONS=print_stacktrace=1 "$build/tests/fuzz/fuzz_$name" -max_total_time="$seconds" -timeout=20 \
  -rss_limit_mb=2048 -max_len=65536 -dict=tests/fuzz/words.dict -artifact_prefix="$build/finds/$name/" \
  "$build/corpus/$name" "$build/seeds/$name" $found > "$build/logs/$name" 2>&1 && touch "$build/logs/$name.passed"
exit 0
