#!/bin/sh
# Usage: sh tests/cuda/scripts/budgets.sh BUILD_FOLDER [BUDGETS]
# Holds ptxas' reports (OBJECT.ptxas, see keep_report.sh) against tests/cuda/scripts/budgets.txt: registers, static shared
# memory, and no spills. Prints a Markdown table of the named kernels; one check a line of the budgets, and one that
# ptxas changed nothing in how products of warpgroups run (C7510 to C7519, which it calls information).
set -eu
export LC_ALL=C
build=$1
budgets=${2:-$(dirname "$0")/budgets.txt}
reports=$(mktemp)
trap 'rm -f "$reports"' EXIT
find "$build" -name '*.ptxas' -exec cat {} + > "$reports"
c++filt < "$reports" | awk -v budgets="$budgets" '
  # The number two words before each one that begins so: "40 bytes spill", "256 bytes smem".
  function bytes_of(word,   i, sum) {
    for (i = 3; i <= NF; ++i) if (index($i, word) == 1) sum += $(i - 2)
    return sum + 0
  }
  BEGIN {
    while ((getline line < budgets) > 0) {
      if (line ~ /^#/ || line ~ /^[ \t]*$/) continue
      if (split(line, word, " ") != 4) { print "not a budget: " line; exit }
      kernel[++count] = word[1]; target[count] = word[2]; most[count] = word[3]; most_shared[count] = word[4]
    }
  }
  /Compiling entry function/ { split($0, part, "\047"); name = part[2]; compiled_for = part[4]; next }
  /\(C751[0-9]\)/ { changed[++changes] = $0; next }
  / bytes stack frame/ { spills = bytes_of("spill"); next }
  /Used [0-9]+ registers/ {
    used = $5
    for (k = 1; k <= count; ++k) {
      if (compiled_for != target[k] || !index(name, kernel[k])) continue
      ++forms[k]
      if (used > registers[k]) registers[k] = used
      if (bytes_of("smem") > shared[k]) shared[k] = bytes_of("smem")
      spilled[k] += spills
    }
  }
  END {
    if (!count) { print "no budgets in " budgets; print "0 passed, 1 failed"; exit 1 }
    print "| kernel | target | forms | registers | at most | spills, bytes | static shared, bytes | at most |"
    print "|---|---|---:|---:|---:|---:|---:|---:|"
    for (k = 1; k <= count; ++k) {
      printf "| %s | %s | %d | %d | %d | %d | %d | %d |\n", kernel[k], target[k], forms[k], registers[k], most[k], spilled[k], shared[k], most_shared[k]
      why = ""
      if (!forms[k]) why = "is not in the report"
      else if (spilled[k]) why = "spills " spilled[k] " bytes"
      else if (registers[k] > most[k]) why = "takes " registers[k] " registers, at most " most[k]
      else if (shared[k] > most_shared[k]) why = "takes " shared[k] " bytes of shared memory, at most " most_shared[k]
      if (why == "") ++passed
      else complaint[++failed] = kernel[k] " for " target[k] " " why
    }
    if (!changes) ++passed
    else complaint[++failed] = changes " remark(s) of ptxas that it changed how products run, the first: " changed[1]
    for (i = 1; i <= failed; ++i) print complaint[i]
    printf "%d passed, %d failed\n", passed, failed
    exit failed > 0
  }'
