#!/bin/sh
# Usage: tests/house/symbols.sh LIBSAT.A
# Three claims about the compiled library: it calls nothing that prints, exits, reads the environment or the locale, or
# opens a socket; all its own symbols are hidden; and no function compiled for AVX or AMX can be picked by the linker in place
# of the portable one of the same name.
set -eu
export LC_ALL=C
library=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

nm -A --undefined-only "$library" > "$scratch/calls"
forbidden='printf|fprintf|vprintf|vfprintf|puts|putchar|fputs|fputc|perror|__printf_chk|__fprintf_chk|__vfprintf_chk'
forbidden="$forbidden|_ZSt4cout|_ZSt4cerr|_ZSt4clog|stdout|stderr|exit|_exit|_Exit|quick_exit|abort|system|popen"
forbidden="$forbidden|getenv|secure_getenv|setenv|putenv|setlocale|strtod|strtof|strtold|atof|socket|connect"
if grep -E " ($forbidden)\$" "$scratch/calls"; then
  echo "the library must not call the functions above"
  failed=1
fi

readelf -sW "$library" | awk '$5 == "GLOBAL" && $6 == "DEFAULT" && $7 != "UND" { print $8 }' > "$scratch/visible"
if grep . "$scratch/visible"; then
  echo "the symbols above are visible outside a shared library that links sat"
  failed=1
fi

# Weak text symbols (inline functions and templates) are merged by name across members.
nm -A --defined-only "$library" | awk '$2 == "W" { split($1, part, ":"); print part[2], $3 }' > "$scratch/weak"
grep -E '^[^ ]*_(avx[0-9]*|amx)\.cpp\.o ' "$scratch/weak" | cut -d' ' -f2 | sort -u > "$scratch/avx" || true
grep -vE '^[^ ]*_(avx[0-9]*|amx)\.cpp\.o ' "$scratch/weak" | cut -d' ' -f2 | sort -u > "$scratch/portable" || true
if comm -12 "$scratch/avx" "$scratch/portable" | c++filt | grep .; then
  echo "the functions above exist in an AVX or AMX form and a portable form under one name"
  failed=1
fi
if [ ! -s "$scratch/calls" ] || [ ! -s "$scratch/weak" ]; then
  echo "$library: nothing was read"
  failed=1
fi
exit $failed
