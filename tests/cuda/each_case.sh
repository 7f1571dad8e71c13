#!/bin/sh
# Usage: sh tests/cuda/each_case.sh TEST_PROGRAM SUITE [LAUNCHER...]
# Runs the cases of a suite one a process: an emulator that remembers what was freed then has little to confuse with
# the host's memory, and a case's memory goes when it ends.
set -u
program=$1 suite=$2
shift 2
passed=0 failed=0
cases=$(mktemp)
trap 'rm -f "$cases"' EXIT
"$@" "$program" --no-intro --list-test-cases "--test-suite=$suite" | grep -v '^\[doctest\]\|^=====' > "$cases"
while IFS= read -r name; do
  # A comma separates names of a filter, so that one in a name stands as any character.
  if "$@" "$program" --no-intro "--test-suite=$suite" "--test-case=$(echo "$name" | tr ',' '?')" < /dev/null; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "failed: $name"
  fi
done < "$cases"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
