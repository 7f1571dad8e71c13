# Sourced by tests/cuda.sh and tests/gpu.sh: steps that are run, timed, counted and written down.
# A step's log is FOLDER/NAME.log, the table of all steps FOLDER/steps.tsv: name, result, seconds, passed, failed, note.

# open_steps FOLDER
open_steps() {
  steps=$1
  rm -rf "$steps"
  mkdir -p "$steps" || exit 1
  : > "$steps/steps.tsv"
  passed=0 failed=0
}

log_of() { echo "$steps/$(echo "$1" | tr -c 'A-Za-z0-9\n' '_').log"; }

# counts_of LOG STATUS: "passed failed" of a finished command. Test cases where it is a run of a test program or a
# script that counts; otherwise one. A failure without a failed case (a crash, a report, a time limit) counts one more.
counts_of() {
  awk -v status="$2" '
    /^\[doctest\] test cases: / { seen = 1; passed += $6; failed += $9 }
    { last = $0 }
    END {
      if (!seen && last ~ /^[0-9]+ passed, [0-9]+ failed$/) { seen = 1; split(last, word, " "); passed = word[1]; failed = word[3] }
      if (!seen) passed = status == 0
      if (status != 0 && !failed) failed = 1
      if (seen && passed + failed == 0) failed = 1
      print passed + 0, failed + 0
    }' "$1"
}

# record NAME RESULT SECONDS PASSED FAILED NOTE: one line on the screen, one in the table.
record() {
  passed=$((passed + $4)) failed=$((failed + $5))
  printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" "$5" "$6" >> "$steps/steps.tsv"
  case $2 in
    passed) printf 'ok    %s (%s, %s s)\n' "$1" "$4" "$3" ;;
    failed) printf 'FAIL  %s (%s of %s failed, %s s)%s\n' "$1" "$5" "$(($4 + $5))" "$3" "${6:+: $6}" ;;
    *) printf '%-5s %s: %s\n' - "$1" "$6" ;;
  esac
}

# step NAME SECONDS COMMAND...: runs it for no longer than that; returns 1 where it failed.
step() {
  step_name=$1 step_limit=$2
  shift 2
  step_log=$(log_of "$step_name")
  step_begin=$(date +%s)
  step_status=0
  timeout -k 10 "$step_limit" "$@" > "$step_log" 2>&1 < /dev/null || step_status=$?
  step_seconds=$(($(date +%s) - step_begin))
  step_counts=$(counts_of "$step_log" "$step_status")
  if [ "${step_counts#* }" = 0 ]; then
    record "$step_name" passed "$step_seconds" "${step_counts% *}" 0 ""
    return 0
  fi
  case $step_status in
    0) step_note="a case failed, or none ran" ;;
    99) step_note="problems were reported" ;;
    124 | 137) step_note="ended after $step_limit s" ;;
    *) step_note="exit status $step_status" ;;
  esac
  record "$step_name" failed "$step_seconds" "${step_counts% *}" "${step_counts#* }" "$step_note"
  tail -n "${STEP_LINES:-25}" "$step_log" | sed 's/^/      /'
  return 1
}

# absent NAME WHY: a step that cannot be taken here; neither passed nor failed.
absent() { record "$1" absent 0 0 0 "$2"; }

# failed_steps: their names.
failed_steps() { awk -F '\t' '$2 == "failed" { print $1 }' "$steps/steps.tsv"; }

# steps_table: all steps as Markdown.
steps_table() {
  echo "| step | result | passed | failed | seconds | note |"
  echo "|---|---|---:|---:|---:|---|"
  awk -F '\t' '{ printf "| %s | %s | %s | %s | %s | %s |\n", $1, $2, $4, $5, $3, $6 }' "$steps/steps.tsv"
}

# close_steps: the last line, and the exit status.
close_steps() {
  echo "$passed passed, $failed failed"
  [ "$failed" -eq 0 ]
}
