#!/bin/sh
# Usage: sh tests/cuda/scripts/sanitize_wgmma.sh TOOL TEST_PROGRAM [SANITIZER]
# compute-sanitizer's TOOL on conv3d_wgmma alone. The tool reports things of such kernels that are none; those are
# counted and shown apart (known_reports.txt), and anything else fails. One check: that nothing else was said and the
# cases came to their end. "N passed, N failed".
set -u
export LC_ALL=C
tool=$1 program=$2 sanitizer=${3:-compute-sanitizer}
said=$(mktemp)
trap 'rm -f "$said"' EXIT
"$sanitizer" --tool "$tool" --kernel-name kns=conv3d_wgmma --error-exitcode 99 --print-limit 1000000 "$program" \
  --no-intro '--source-file=*test_conv3d_wgmma.cpp' > "$said" 2>&1 < /dev/null
status=$?
awk -v tool="$tool" -v status="$status" -v known="$(dirname "$0")/known_reports.txt" '
  BEGIN {
    while ((getline line < known) > 0) {
      if (line ~ /^#/ || line ~ /^[ \t]*$/) continue
      split(line, part, " \\| ")
      if (part[1] == tool || part[1] == "any") { pattern[++patterns] = part[2]; why[patterns] = part[3] }
    }
  }
  # The end of a report: which kind was it?
  function close_report(   i) {
    if (report == "") return
    for (i = 1; i <= patterns; ++i) {
      if (report ~ pattern[i]) { ++seen[i]; report = ""; return }
    }
    if (++others <= 20) printf "%s", report
    report = ""
  }
  /^========= [^ ]/ {
    close_report()
    if ($0 !~ /^========= (COMPUTE-SANITIZER|ERROR SUMMARY|RACECHECK SUMMARY|LEAK SUMMARY|Target application returned)/) report = $0 "\n"
    next
  }
  /^=========/ { if (report != "") report = report $0 "\n"; next }
  { close_report(); print }
  /^\[doctest\] test cases: / { ended = 1; cases_failed += $9 }
  END {
    close_report()
    for (i = 1; i <= patterns; ++i) if (seen[i]) printf "%d times known and no fault: %s\n", seen[i], why[i]
    if (others) printf "%d other report(s)\n", others
    if (!ended) print "the cases did not come to their end"
    if (cases_failed) print cases_failed " case(s) failed"
    bad = others || !ended || cases_failed || (status != 0 && status != 99)
    printf "%d passed, %d failed\n", !bad, bad
    exit bad
  }' "$said"
