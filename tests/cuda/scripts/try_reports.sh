#!/bin/sh
# Usage: sh tests/cuda/scripts/try_reports.sh
# Tries keep_report.sh and budgets.sh on a compiler that is made up and on what ptxas might say: figures are kept and
# not shown, warnings are shown, and a product that was serialised fails the build and the check. Then sanitize_wgmma.sh
# on what compute-sanitizer might say, and each_case.sh on cases that hang. One check a claim.
set -u
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
passed=0 failed=0
claim() {
  what=$1
  shift
  if "$@"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "not so: $what"
  fi
}

cat > "$scratch/figures" << 'END'
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'some_kernel' for 'sm_90a'
ptxas info    : Function properties for some_kernel
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 100 registers, used 3 barriers
END
cat > "$scratch/serialised" << 'END'
ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to insufficient register resources for the wgmma pipeline in the function 'some_kernel'
END
cat > "$scratch/fenced" << 'END'
ptxas info    : (C7519) Potential Performance Loss: wgmma.mma_async instructions have a wait injected in the function 'some_kernel'
END
echo 'ptxas warning : Registers are spilled to local memory' > "$scratch/warned"
# A compiler: fake SAYS... -o OBJECT says what the files hold.
cat > "$scratch/fake" << 'END'
#!/bin/sh
while [ "$1" != -o ]; do cat "$1" >&2; shift; done
touch "$2"
END
chmod +x "$scratch/fake"
printf 'some_kernel  sm_90a  128  0\n' > "$scratch/budgets"

# compiled NAME FILE...: the status of a build of NAME.o, what was shown in $scratch/shown.
compiled() {
  name=$1
  shift
  mkdir -p "$scratch/built/$name"
  (cd "$scratch" && sh "$here/keep_report.sh" ./fake "$@" -o "built/$name/kernel.o") 2> "$scratch/shown"
}
shows() { grep -q "$1" "$scratch/shown"; }
shows_nothing() { [ ! -s "$scratch/shown" ]; }
within() { sh "$here/budgets.sh" "$scratch/built/$1" "$scratch/budgets" > "$scratch/table" 2>&1; }
says() { grep -q "$1" "$scratch/table"; }
fails() { ! "$@"; }

claim "figures alone pass" compiled plain figures
claim "and are not shown" shows_nothing
claim "figures within a budget pass its check" within plain
claim "that is two checks" says '^2 passed, 0 failed$'
claim "a warning passes" compiled warned figures warned
claim "and is shown" shows 'Registers are spilled'
for kind in serialised fenced; do
  claim "a product that was $kind fails the build" fails compiled "$kind" figures "$kind"
  claim "what ptxas said of it is shown" shows '(C751[0-9]) Potential Performance Loss'
  claim "it fails the check too" fails within "$kind"
  claim "which quotes it" says 'wgmma.mma_async'
  claim "beside the kernel's own check, which passes" says '^1 passed, 1 failed$'
done
# A sanitizer: it says what the file named by its tool holds, and that two cases passed.
cat > "$scratch/sanitizer" << 'END'
#!/bin/sh
echo "========= COMPUTE-SANITIZER"
cat "$(dirname "$0")/$2" 2> /dev/null
echo "[doctest] test cases: 2 | 2 passed | 0 failed | 0 skipped"
echo "========= ERROR SUMMARY: some errors"
exit 99
END
chmod +x "$scratch/sanitizer"
cat > "$scratch/memcheck" << 'END'
========= Invalid __shared__ ? of size 2048 bytes
=========     at conv3d_wgmma_kernel+0x2570
=========     Address 0x1bc20 is out of bounds
=========
END
cat > "$scratch/racecheck" << 'END'
========= Error: Race reported between Read access at conv3d_wgmma_kernel+0x10
=========     and Write access at conv3d_wgmma_kernel+0x20 [8 hazards]
END
sanitized() {
  status=0
  sh "$here/sanitize_wgmma.sh" "$1" program "$scratch/sanitizer" > "$scratch/table" 2>&1 || status=$?
  [ "$status" -eq 0 ]
}
claim "a report that is known to be none passes" sanitized memcheck
claim "and is counted" says '^1 times known and no fault: '
cp "$scratch/memcheck" "$scratch/synccheck"
claim "the same report of another tool fails" fails sanitized synccheck
claim "a race fails" fails sanitized racecheck
claim "and is quoted in full" says 'Write access at conv3d_wgmma_kernel+0x20'
cat "$scratch/racecheck" >> "$scratch/memcheck"
claim "a fault behind one that is none fails" fails sanitized memcheck
claim "with both told apart" says '^1 other report'
claim "cases that do not come to their end fail" fails sh "$here/sanitize_wgmma.sh" initcheck program false

# A test program of five cases; those named so hang.
cat > "$scratch/cases" << 'END'
#!/bin/sh
case "$*" in
  *--list-test-cases*) printf '[doctest] listing\n=====\nfine, and quick\nhangs a\nhangs b\nhangs c\nnever reached\n=====\n' ;;
  *--test-case=hangs*--some=filter*) exec sleep 20.125 ;;
  *"--test-case=fine? and quick"*"--some=filter of two words"*) exit 0 ;;
  *) exit 1 ;;
esac
END
chmod +x "$scratch/cases"
claim "cases that hang fail" fails sh "$here/each_case.sh" "$scratch/cases" 1 "--some=filter of two words" -- env > "$scratch/table"
claim "a case that does not hang passes beside them, and after three in a row no other is tried" says '^1 passed, 3 failed$'
claim "which is said" says '^given up: '
timeout 1 sh "$here/each_case.sh" "$scratch/cases" 15 "--some=filter of two words" -- env > /dev/null
nothing_hangs() { ! ps -eo args | grep -v grep | grep -q 'sleep 20.125'; }
sleep 0.2
claim "who ends the run ends its case too" nothing_hangs
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
