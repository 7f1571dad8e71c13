// Scores in words, numbers and boxes.
#include "examples/sat/evaluate/score_report.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "sat/io/pictures/bitmap_font.h"
#include "sat/io/words/text.h"

namespace sat::cli {

namespace {

constexpr size_t kLongestName = 40;

/// A score that is averaged; of those by size the absolute value.
struct Averaged {
  Score score;
  bool by_size;
};
constexpr Averaged kAveraged[] = {{Score::sat_dice, false},
                                  {Score::sat_nsd, false},
                                  {Score::dice, false},
                                  {Score::nsd, false},
                                  {Score::hd95_mm, false},
                                  {Score::hd_mm, false},
                                  {Score::truth_to_prediction_mm, false},
                                  {Score::prediction_to_truth_mm, false},
                                  {Score::volume_error_ml, false},
                                  {Score::volume_error_ml, true},
                                  {Score::volume_error, false},
                                  {Score::volume_error, true}};
constexpr size_t kShown = 5;  // of these, in tables

Json json_of(const ScoredGroup& group, Json json) {
  json.set("cases_or_patients", group.units).set("classes", group.classes);
  Json scores = Json::object();
  const std::vector<std::string> names = averaged_scores();
  for (size_t kind = 0; kind < group.scores.size(); ++kind) {
    const MeanScore& score = group.scores[kind];
    Json one = Json::object().set("mean", score.mean ? Json(*score.mean) : Json());
    one.set("low", score.interval ? Json(score.interval->low) : Json());
    one.set("high", score.interval ? Json(score.interval->high) : Json());
    scores.set(names[kind], one.set("counted", score.counted));
  }
  return json.set("scores", std::move(scores));
}

Json json_of(const std::vector<ScoredGroup>& groups) {
  Json list = Json::array();
  for (const ScoredGroup& group : groups) list.push(json_of(group, Json::object().set("name", group.name)));
  return list;
}

std::string cell(const MeanScore& score, int digits) {
  if (!score.mean) return padded("-", 24);
  const std::string interval =
      score.interval ? "[" + fixed(score.interval->low, digits) + ", " + fixed(score.interval->high, digits) + "]" : "";
  return padded(fixed(*score.mean, digits), 8) + padded(interval, 16);
}

std::string line_of(const ScoredGroup& group) {
  std::string line = padded(shortened(printable(group.name), kLongestName), kLongestName, true) +
                     padded(std::to_string(group.units), 6);
  for (size_t kind = 0; kind < kShown; ++kind) {
    line += cell(group.scores[kind], kAveraged[kind].score == Score::hd95_mm ? 2 : 3);
  }
  return line + "\n";
}

}  // namespace

std::string padded(const std::string& text, size_t width, bool left) {
  const auto length = size_t(text_length(text));
  const std::string space(width > length ? width - length : 0, ' ');
  return left ? text + space : space + text;
}

std::vector<std::string> averaged_scores() {
  std::vector<std::string> names;
  for (const Averaged& one : kAveraged) {
    names.push_back((one.by_size ? "absolute_" : "") + std::string(kScoreColumns[size_t(one.score)].name));
  }
  return names;
}

ScoreSummary summary_of(const std::vector<ScoreRow>& rows, const SummaryOptions& options) {
  std::vector<ScoredStructure> structures;
  for (const ScoreRow& row : rows) {
    ScoredStructure one{row.dataset, row.modality, row.patient, row.structure, row.region, {}};
    for (const Averaged& averaged : kAveraged) {
      std::optional<double> score = row[averaged.score];
      if (score && averaged.by_size) score = std::fabs(*score);
      one.scores.push_back(score);
    }
    structures.push_back(std::move(one));
  }
  return summarise(structures, std::size(kAveraged), options);
}

Json json_of(const ScoreSummary& summary) {
  Json classes = Json::array();
  for (const ScoredClass& one : summary.classes) {
    Json json = Json::object().set("name", one.all.name).set("structure", one.structure).set("modality", one.modality);
    json.set("region", one.region.empty() ? Json() : Json(one.region));
    classes.push(json_of(one.all, std::move(json)).set("datasets", json_of(one.datasets)));
  }
  return Json::object()
      .set("overall", json_of(summary.overall, Json::object()))
      .set("regions", json_of(summary.regions))
      .set("datasets", json_of(summary.datasets))
      .set("classes", std::move(classes));
}

std::string table_of(const ScoreSummary& summary) {
  std::string table = padded("", kLongestName) + padded("n", 6);
  for (const char* name : {"SAT Dice", "SAT NSD", "Dice", "NSD", "HD95 mm"}) {
    table += padded(name, 9) + padded("95 % interval", 15);
  }
  table += "\n";
  for (const ScoredClass& one : summary.classes) table += line_of(one.all);
  const auto add = [&](const char* title, const std::vector<ScoredGroup>& groups) {
    if (groups.empty()) return;
    table += std::string(title) + "\n";
    for (const ScoredGroup& group : groups) table += line_of(group);
  };
  add("regions", summary.regions);
  add("data sets", summary.datasets);
  add("overall, every class the same", {summary.overall});
  return table;
}

BoxChart chart_of(const std::vector<ScoreRow>& rows, double tolerance_mm) {
  const bool own = std::all_of(rows.begin(), rows.end(), [](const ScoreRow& row) { return row[Score::dice]; });
  const Score dice = own ? Score::dice : Score::sat_dice, nsd = own ? Score::nsd : Score::sat_nsd;
  std::map<std::string, BoxRow> by_class;
  for (const ScoreRow& row : rows) {
    BoxRow& box = by_class[row.modality + " " + row.structure];
    box.values.resize(2);
    if (row[dice]) box.values[0].push_back(*row[dice]);
    if (row[nsd]) box.values[1].push_back(*row[nsd]);
  }
  BoxChart chart;
  chart.title = own ? "Segmentation scores in the scans' own space" : "Segmentation scores in SAT's protocol";
  chart.remark = "boxes: quartiles; whiskers: within 1.5 boxes; dots: beyond; to the left the number of cases";
  chart.panels = {"Dice", "NSD at " + significant(own ? tolerance_mm : 1, 3) + " mm"};
  for (auto& [name, box] : by_class) {
    box.name = name;
    box.detail = std::to_string(box.values[0].size());
    chart.rows.push_back(std::move(box));
  }
  return chart;
}

}  // namespace sat::cli
