// What the scores of many cases come to: as JSON, as a table, and as box plots.
// Knows rows and means; how they were scored is evaluate.cpp's.
#pragma once

#include <string>
#include <vector>

#include "examples/sat/evaluate/score_table.h"
#include "examples/sat/output/box_chart.h"
#include "sat/io/words/json.h"
#include "sat/nn/evaluation/segmentation/score_summary.h"

namespace sat::cli {

/// The scores that are averaged, in the order of summary_of()'s kinds: volume errors signed and by size.
std::vector<std::string> averaged_scores();
ScoreSummary summary_of(const std::vector<ScoreRow>& rows, const SummaryOptions& options);

/// {"overall", "regions", "datasets", "classes"}; each mean as {"mean", "low", "high", "counted"}.
Json json_of(const ScoreSummary& summary);
/// One line a class, then regions, data sets and all.
std::string table_of(const ScoreSummary& summary);
/// Dice and NSD of every class, in the scan's own space where all rows have them, else in SAT's protocol.
BoxChart chart_of(const std::vector<ScoreRow>& rows, double tolerance_mm);

/// The text in a column this wide, at its left or right end.
std::string padded(const std::string& text, size_t width, bool left = false);

}  // namespace sat::cli
