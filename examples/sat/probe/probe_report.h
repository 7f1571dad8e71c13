// What is known of a probe's answers: as a table, as JSON, and as a picture of its curves.
// Knows numbers; what is fitted or predicted is probe.cpp's.
#pragma once

#include <string>
#include <vector>

#include "examples/sat/output/curve_chart.h"
#include "sat/io/words/json.h"
#include "sat/nn/evaluation/evaluation.h"

namespace sat::cli {

/// Rows on which answers were judged.
struct Judged {
  std::string name;  // "test", "validation"
  std::vector<std::string> labels;
  Tensor probabilities;
  Targets targets;
  Evaluation evaluation;
};

/// Where a value is not defined, null and why.
Json json_of(const Judged& judged);
/// One line a label, and one of the means.
std::string table_of(const Judged& judged);
/// ROC and precision-recall curves of every label. `remark`: what whoever looks at it must know; may be empty.
CurveChart chart_of(const Judged& judged, const std::string& remark);

}  // namespace sat::cli
