// Scores in words, numbers and curves.
#include "examples/sat/probe/probe_report.h"

#include <algorithm>

#include "sat/io/pictures/bitmap_font.h"
#include "sat/io/words/text.h"
#include "sat/nn/evaluation/metrics.h"

namespace sat::cli {

namespace {

constexpr size_t kLongestLabel = 28;

Json json_of(const Score& score, const char* why) {
  Json json = Json::object({{"value", score.value ? Json(*score.value) : Json()}});
  if (!score.value) return json.set("why", why);
  json.set("low", score.interval ? Json(score.interval->low) : Json());
  return json.set("high", score.interval ? Json(score.interval->high) : Json());
}

Json scores_of(const LabelScores& scores, Json json) {
  json.set("auc", json_of(scores.auc, "only one answer is there"));
  json.set("auprc", json_of(scores.auprc, "no row has the label"));
  json.set("accuracy", json_of(scores.accuracy, "no answer is known"));
  return json.set("f1", json_of(scores.f1, "no row has the label"));
}

std::string padded(const std::string& text, size_t width, bool left = false) {
  const auto length = size_t(text_length(text));
  const std::string space(width > length ? width - length : 0, ' ');
  return left ? text + space : space + text;
}

std::string cell(const Score& score) {
  if (!score.value) return padded("-", 24);
  const std::string value = fixed(*score.value, 3);
  if (!score.interval) return padded(value, 8) + padded("", 16);
  return padded(value, 8) +
         padded("[" + fixed(score.interval->low, 3) + ", " + fixed(score.interval->high, 3) + "]", 16);
}

std::string line_of(const std::string& name, const std::string& rows, const LabelScores& scores) {
  return padded(shortened(printable(name), kLongestLabel), kLongestLabel, true) + padded(rows, 14) + cell(scores.auc) +
         cell(scores.auprc) + cell(scores.accuracy) + cell(scores.f1) + "\n";
}

std::string legend_value(const Score& score) {
  if (!score.value) return "not defined";
  if (!score.interval) return fixed(*score.value, 3);
  return fixed(*score.value, 3) + " [" + fixed(score.interval->low, 3) + ", " + fixed(score.interval->high, 3) + "]";
}

}  // namespace

Json json_of(const Judged& judged) {
  Json labels = Json::array();
  for (size_t k = 0; k < judged.labels.size(); ++k) {
    const LabelScores& scores = judged.evaluation.labels[k];
    Json json = Json::object({{judged.targets.exclusive ? "class" : "label", judged.labels[k]},
                              {"present", scores.present},
                              {"absent", scores.absent},
                              {"unknown", scores.unknown}});
    if (!judged.targets.exclusive) json.set("threshold", scores.threshold);
    labels.push(scores_of(scores, std::move(json)));
  }
  return Json::object({{"rows", judged.targets.rows()},
                       {"labels", std::move(labels)},
                       {"mean", scores_of(judged.evaluation.mean, Json::object())}});
}

std::string table_of(const Judged& judged) {
  const std::string rows = std::to_string(judged.targets.rows());
  std::string table =
      padded(judged.name + " (" + rows + " images)", kLongestLabel, true) + padded("with / without", 14);
  for (const char* name : {"AUC", "AUPRC", "accuracy", "F1"}) table += padded(name, 9) + padded("95 % interval", 15);
  table += "\n";
  for (size_t k = 0; k < judged.labels.size(); ++k) {
    const LabelScores& scores = judged.evaluation.labels[k];
    table += line_of(judged.labels[k], std::to_string(scores.present) + " / " + std::to_string(scores.absent), scores);
  }
  if (judged.labels.size() > 1) table += line_of("mean", "", judged.evaluation.mean);
  return table;
}

CurveChart chart_of(const Judged& judged, const std::string& remark) {
  CurvePanel roc{"ROC and its area", "1 - specificity", "sensitivity", {}, true};
  CurvePanel recall{"precision, and its average", "recall", "precision", {}, false};
  const int64_t K = judged.targets.labels, rows = judged.targets.rows();
  for (int64_t k = 0; k < K; ++k) {
    const RankedRows ranked(judged.probabilities.data<float>() + k, K, judged.targets.states.data() + k, K, rows);
    const LabelScores& scores = judged.evaluation.labels[size_t(k)];
    Curve of_rates{judged.labels[size_t(k)], legend_value(scores.auc), {}};
    Curve of_recall{judged.labels[size_t(k)], legend_value(scores.auprc), {}};
    const auto present = double(ranked.present()), absent = double(ranked.absent());
    for (const RankedRows::Corner& corner : ranked.corners()) {
      const auto hits = double(corner.hits), alarms = double(corner.false_alarms);
      if (present > 0 && absent > 0) of_rates.points.emplace_back(alarms / absent, hits / present);
      if (present == 0 || corner.hits + corner.false_alarms == 0) continue;
      const double precision = hits / (hits + alarms), reached = hits / present;
      // A step, as average precision counts it: the precision holds back to the recall before.
      of_recall.points.emplace_back(of_recall.points.empty() ? 0 : of_recall.points.back().first, precision);
      of_recall.points.emplace_back(reached, precision);
    }
    roc.curves.push_back(std::move(of_rates));
    recall.curves.push_back(std::move(of_recall));
  }
  const std::string title = "Linear probe, " + std::to_string(rows) + " " + judged.name + " images";
  return {title, remark, {std::move(roc), std::move(recall)}};
}

}  // namespace sat::cli
