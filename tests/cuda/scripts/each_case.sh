#!/bin/sh
# Usage: sh tests/cuda/scripts/each_case.sh TEST_PROGRAM SECONDS FILTER... -- [LAUNCHER...]
# Runs the cases that doctest's filters leave, one a process and each no longer than that: a case that hangs or breaks
# the device's context takes no other along, an emulator that remembers what was freed has little to confuse with the
# host's memory, and a case's memory goes when it ends. Gives up after three cases in a row that ran into the limit.
set -u
program=$1 limit=$2
shift 2
cases=$(mktemp) filters=$(mktemp)
child=
trap 'rm -f "$cases" "$filters"' EXIT
# A case has a process group of its own, which whoever ends this script does not reach.
trap '[ -z "$child" ] || kill "$child"; exit 143' TERM INT
# The filters are kept as a list of one a line, since what is behind them is the launcher.
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  printf '%s\n' "$1" >> "$filters"
  shift
done
[ $# -eq 0 ] || shift
with_filters() {  # COMMAND...: becomes it, with the filters behind it
  while IFS= read -r filter; do set -- "$@" "$filter"; done < "$filters"
  exec "$@" < /dev/null
}
passed=0 failed=0 hung=0
with_filters "$@" "$program" --no-intro --list-test-cases | grep -v '^\[doctest\]\|^=====' > "$cases"
while IFS= read -r name; do
  # A comma separates names of a filter, so that one in a name stands as any character.
  status=0
  with_filters timeout -k 5 "$limit" "$@" "$program" --no-intro "--test-case=$(echo "$name" | tr ',' '?')" &
  child=$!
  wait "$child" || status=$?
  child=
  case $status in
    0)
      passed=$((passed + 1)) hung=0
      continue
      ;;
    124 | 137) hung=$((hung + 1)) why="ran into its limit of $limit s" ;;
    *) hung=0 why="exit status $status" ;;
  esac
  failed=$((failed + 1))
  echo "failed: $name ($why)"
  if [ "$hung" -ge 3 ]; then
    echo "given up: three cases in a row ran into the limit"
    break
  fi
done < "$cases"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
