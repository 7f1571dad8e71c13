#!/bin/sh
# Usage: keep_report.sh COMPILER ARGUMENT...
# A launcher of the CUDA compiler that keeps what it says beside the object it makes: OBJECT.ptxas.
object=
previous=
for argument; do
  [ "$previous" != -o ] || object=$argument
  previous=$argument
done
[ -n "$object" ] || exec "$@"
said=$object.ptxas
"$@" 2> "$said"
status=$?
# ptxas' figures are for budgets.sh; everything else is for who builds.
grep -v -e '^ptxas info' -e ' bytes stack frame, ' -e '^ *$' "$said" >&2
exit $status
