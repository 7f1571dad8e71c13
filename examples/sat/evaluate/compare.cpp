// Differences by patient, a structure at a time and over all, and Wilcoxon's signed-rank test of each.
#include "examples/sat/evaluate/compare.h"

#include <map>
#include <tuple>
#include <utility>

#include "examples/sat/command_line/command_line.h"
#include "examples/sat/evaluate/score_report.h"
#include "examples/sat/evaluate/score_table.h"
#include "examples/sat/output/output.h"
#include "sat/io/files/file.h"
#include "sat/io/pictures/bitmap_font.h"
#include "sat/io/words/text.h"
#include "sat/nn/evaluation/paired_test.h"

namespace sat::cli {

namespace {

constexpr size_t kLongestName = 40;

/// A mean that is being summed up.
struct Mean {
  double sum = 0;
  int64_t count = 0;
  void add(double value) {
    sum += value;
    ++count;
  }
  double value() const { return sum / double(count); }
};

/// What is said of one structure, or of all.
struct Comparison {
  std::string name;
  int64_t pairs = 0;
  double a = 0, b = 0;  // means over patients
  PairedTest test;
  double holm = 1;
};

/// A patient's scores in both tables.
struct Patient {
  Mean a, b;
};
using Patients = std::map<std::pair<std::string, std::string>, Patient>;

Comparison compared(const std::string& name, const Patients& patients, const EvaluateRequest& request) {
  Comparison one;
  one.name = name;
  std::vector<double> differences;
  Mean a, b;
  for (const auto& [who, scores] : patients) {
    one.pairs += scores.a.count;
    a.add(scores.a.value());
    b.add(scores.b.value());
    differences.push_back(scores.b.value() - scores.a.value());
  }
  if (a.count > 0) one.a = a.value(), one.b = b.value();
  one.test = paired_test(differences, {request.samples, PairedOptions().confidence, request.seed});
  return one;
}

/// The rows of both tables that are about one structure of one case.
struct Pairs {
  std::vector<std::pair<ScoreRow, ScoreRow>> rows;
  int64_t only_a = 0, only_b = 0;
};

Pairs paired(const std::vector<ScoreRow>& a, const std::vector<ScoreRow>& b) {
  const auto key = [](const ScoreRow& row) {
    return std::tuple(row.dataset, row.case_id, row.modality, row.structure);
  };
  std::map<decltype(key(a.front())), const ScoreRow*> of_b;
  for (const ScoreRow& row : b) of_b.emplace(key(row), &row);
  Pairs pairs;
  for (const ScoreRow& row : a) {
    const auto found = of_b.find(key(row));
    if (found == of_b.end()) {
      ++pairs.only_a;
    } else {
      pairs.rows.emplace_back(row, *found->second);
    }
  }
  pairs.only_b = int64_t(b.size() - pairs.rows.size());
  return pairs;
}

struct ScoreComparison {
  Score score{};
  int64_t without = 0;  // pairs of which one has no value
  std::vector<Comparison> structures;
  Comparison overall;
};

ScoreComparison compare_score(const Pairs& pairs, Score score, const EvaluateRequest& request) {
  std::map<std::string, Patients> structures;
  Patients everything;
  ScoreComparison all;
  all.score = score;
  for (const auto& [a, b] : pairs.rows) {
    if (!a[score] || !b[score]) {
      ++all.without;
      continue;
    }
    const std::pair who{a.dataset, a.patient.empty() ? a.case_id : a.patient};
    for (Patients* of : {&structures[a.modality + "_" + a.structure], &everything}) {
      (*of)[who].a.add(*a[score]);
      (*of)[who].b.add(*b[score]);
    }
  }
  std::vector<double> ps;
  std::vector<size_t> with_p;
  for (const auto& [name, patients] : structures) {
    all.structures.push_back(compared(name, patients, request));
    if (!all.structures.back().test.p) continue;
    ps.push_back(*all.structures.back().test.p);
    with_p.push_back(all.structures.size() - 1);
  }
  const std::vector<double> corrected = holm(ps);
  for (size_t i = 0; i < with_p.size(); ++i) all.structures[with_p[i]].holm = corrected[i];
  all.overall = compared("all, patients' means over structures", everything, request);
  return all;
}

Json json_of(const Comparison& one, bool corrected) {
  const PairedTest& test = one.test;
  Json json = Json::object().set("name", one.name).set("pairs", one.pairs).set("patients", test.pairs);
  json.set("equal", test.equal);
  json.set("mean_a", one.pairs > 0 ? Json(one.a) : Json());
  json.set("mean_b", one.pairs > 0 ? Json(one.b) : Json());
  json.set("difference", test.mean);
  json.set("low", test.interval ? Json(test.interval->low) : Json());
  json.set("high", test.interval ? Json(test.interval->high) : Json());
  json.set("rank_sum", test.rank_sum).set("p", test.p ? Json(*test.p) : Json()).set("exact", test.exact);
  if (corrected) json.set("p_holm", test.p ? Json(one.holm) : Json());
  return json;
}

std::string line_of(const Comparison& one, bool corrected) {
  const PairedTest& test = one.test;
  std::string line =
      padded(shortened(printable(one.name), kLongestName), kLongestName, true) + padded(std::to_string(test.pairs), 6);
  if (one.pairs == 0) return line + "  no pair has a value\n";
  line += padded(fixed(one.a, 4), 9) + padded(fixed(one.b, 4), 9) + padded(fixed(test.mean, 4), 10);
  line +=
      padded(test.interval ? "[" + fixed(test.interval->low, 4) + ", " + fixed(test.interval->high, 4) + "]" : "", 20);
  line += padded(test.p ? significant(*test.p, 3) : "-", 12);
  return line + padded(test.p && corrected ? significant(one.holm, 3) : "", 12) + "\n";
}

std::string table_of(const ScoreComparison& all) {
  const ScoreColumn& column = kScoreColumns[size_t(all.score)];
  std::string table = padded(std::string(column.name) + (column.better > 0   ? " (more is better)"
                                                         : column.better < 0 ? " (less is better)"
                                                                             : ""),
                             kLongestName, true);
  table += padded("n", 6) + padded("A", 9) + padded("B", 9) + padded("B - A", 10) + padded("95 % interval", 20) +
           padded("p", 12) + padded("p (Holm)", 12) + "\n";
  for (const Comparison& one : all.structures) table += line_of(one, true);
  table += line_of(all.overall, false);
  if (all.without > 0) table += std::to_string(all.without) + " pairs have no value in one of the tables\n";
  return table;
}

}  // namespace

int compare(const EvaluateRequest& request) {
  if (request.paths.size() != 2) throw UsageError("--compare needs two tables of results");
  std::vector<Score> scores;
  for (const std::string& name : request.scores) scores.push_back(parse_score(name));
  if (scores.empty()) scores = {Score::sat_dice, Score::sat_nsd, Score::dice, Score::nsd};
  const std::vector<ScoreRow> a = read_scores(request.paths[0], scores), b = read_scores(request.paths[1], scores);
  const Pairs pairs = paired(a, b);
  SAT_CHECK(!pairs.rows.empty(), request.paths[0], " and ", request.paths[1], " have no structure of a case in common");
  Json list = Json::array();
  std::string text;
  for (const Score score : scores) {
    const ScoreComparison all = compare_score(pairs, score, request);
    Json structures = Json::array();
    for (const Comparison& one : all.structures) structures.push(json_of(one, true));
    list.push(Json::object()
                  .set("score", kScoreColumns[size_t(score)].name)
                  .set("without", all.without)
                  .set("overall", json_of(all.overall, false))
                  .set("structures", std::move(structures)));
    text += table_of(all) + "\n";
  }
  text += std::to_string(pairs.rows.size()) + " pairs; " + std::to_string(pairs.only_a) + " rows are in A alone, " +
          std::to_string(pairs.only_b) + " in B alone\n" +
          "p: Wilcoxon's signed-rank test on patients' means, two-sided, exact up to 100 that differ\n";
  Json json = Json::object().set("format", "sat-comparison-1").set("version", SAT_VERSION);
  json.set("a", request.paths[0]).set("b", request.paths[1]);
  json.set("pairs", int64_t(pairs.rows.size())).set("only_in_a", pairs.only_a).set("only_in_b", pairs.only_b);
  json.set("samples", request.samples).set("seed", int64_t(request.seed)).set("scores", std::move(list));
  const std::string dumped = json.dump(2) + "\n";
  print(request.json == "-" ? dumped : text);
  if (!request.json.empty() && request.json != "-") {
    failing_as(FailureKind::output, [&] { write_file_atomically(request.json, dumped); });
  }
  return kDone;
}

}  // namespace sat::cli
