#!/bin/sh
# Usage: tests/headers.sh COMPILER HEADER...   Run from the repository root.
# Each header is compiled by itself as C++17, so users need neither C++20 nor a certain order of includes.
set -u
compiler=$1
shift
failed=0
for header in "$@"; do
  printf '#include "%s"\n' "$header" |
    "$compiler" -x c++ -std=c++17 -Wall -Wextra -Wpedantic -Wshadow -Werror -fsyntax-only -I. - || {
      echo "$header does not compile alone as C++17 with $compiler"
      failed=1
    }
done
[ $# -gt 0 ] || { echo "no header was given"; failed=1; }
echo "$# headers"
exit $failed
