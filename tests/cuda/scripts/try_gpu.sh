#!/bin/sh
# Usage: sh tests/cuda/scripts/try_gpu.sh BUILD_FOLDER EMULATOR
# Tries tests/gpu.sh itself under the emulator: it comes to its end, its report says what there was, and a step that
# fails is named in the report and in the exit status without ending the run. Ends with "N passed, N failed".
set -u
build=$1 emulator=$2
cd "$(dirname "$0")/../../.." || exit 1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
passed=0 failed=0

claim() {  # WHAT COMMAND...: the command succeeds
  what=$1
  shift
  if "$@"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "not so: $what"
  fi
}
says() { grep -q -- "$2" "$scratch/$1"/REPORT-*.md; }
ended_well() { tail -n 1 "$scratch/said" | grep -q '^[0-9]* passed, 0 failed$' && [ "$status" -eq 0 ]; }
try() {  # NAME OPTION...: a run whose report goes to a folder of that name
  name=$1
  shift
  status=0
  sh tests/gpu.sh --no-build --quick --runs 2 --out "$scratch/$name" "$@" > "$scratch/said" 2>&1 || status=$?
}

# Launchers that run little, as what is tried is the script: two cases of each list, and one benchmark; of the others it
# is asked what they would measure, since their roofs are large for an emulator. The second one breaks a step.
cat > "$scratch/works" << END
#!/bin/sh
case "\$*" in
  *--list-test-cases*--test-suite="whole model"*) printf '%s\n' "a dry run" ;;
  *--list-test-cases*) "$emulator" "\$@" | head -n 4 ;;
  *"--test-case=a dry run"*) exit 0 ;;
  *" bench "*"--variant mma"*) exec "$emulator" "\$@" ;;
  *" bench "*) exec "$emulator" "\$@" --list ;;
  *) exec "$emulator" "\$@" ;;
esac
END
cat > "$scratch/breaks" << END
#!/bin/sh
case "\$*" in
  *" bits") echo "broken on purpose"; exit 3 ;;
  *" bench "*) exec "$emulator" "\$@" --list ;;
  *) exec "$scratch/works" "\$@" ;;
esac
END
chmod +x "$scratch/works" "$scratch/breaks"

try first --build "$build" --with "$scratch/works"
cat "$scratch/said"
claim "it ends with its counts and status 0" ended_well
claim "the report has a row for the suite, a case a process" says first '^| device suite | passed | 2 |'
claim "the report has a row for wgmma, apart" says first '^| device suite, wgmma | passed | 2 |'
claim "the report says what the probe found" says first '^wgmma, bricks 288 bytes apart, from 112 bytes behind a 128-byte line: right$'
claim "and that its clocks mean nothing here" says first 'clocks a row of 16 bytes (under an emulator: means nothing)'
claim "the report has a row for equal bits" says first '^| equal bits in 2 runs | passed | 2 |'
command -v compute-sanitizer > /dev/null 2>&1 ||
  claim "a missing compute-sanitizer is a line, no failure" says first '^| compute-sanitizer | absent |'
claim "the report says that it ran under an emulator" says first 'not on a GPU'
claim "the report names the device" says first '^- device: .*sm_'

try second --build "$build" --with "$scratch/breaks"
claim "a failed step shows in the exit status" [ "$status" -ne 0 ]
claim "the failed step is in the table" says second '^| equal bits in 2 runs | failed |'
claim "the report quotes the failed step" says second 'broken on purpose'
claim "the steps behind it are taken" says second '^| memory caps | passed |'

try third --build "$scratch/empty"
claim "without programs it fails" [ "$status" -ne 0 ]
claim "and still writes a report" says third '^| finds a device | failed |'
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
