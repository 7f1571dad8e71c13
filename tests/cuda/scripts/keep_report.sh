#!/bin/sh
# Usage: keep_report.sh COMPILER ARGUMENT...
# A launcher of the CUDA compiler that keeps what it says beside the object it makes: OBJECT.ptxas. Fails where ptxas
# says, as a mere information, that it changed how products run: C7510 to C7519, a product of a warpgroup that waits for
# the one before it, a fence or a wait that was put in. Results stay right then, and the speed is gone.
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
grep -v -e '^ptxas info *: [^(]' -e '^ptxas info *: *$' -e ' bytes stack frame, ' -e '^ *$' "$said" >&2
if grep -q '(C751[0-9])' "$said"; then
  echo "ptxas changed how products run, see above: the kernel has to be written so that it need not" >&2
  [ $status -ne 0 ] || status=1
fi
exit $status
