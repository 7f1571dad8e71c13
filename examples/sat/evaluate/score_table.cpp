// The columns of results.csv by name.
#include "examples/sat/evaluate/score_table.h"

#include <charconv>
#include <cmath>
#include <set>
#include <tuple>

#include "sat/io/tables/csv.h"
#include "sat/io/words/text.h"
#include "sat/tensor/error.h"

namespace sat::cli {

namespace {

constexpr std::array<std::string ScoreRow::*, 6> kTexts{&ScoreRow::dataset,  &ScoreRow::case_id,   &ScoreRow::patient,
                                                        &ScoreRow::modality, &ScoreRow::structure, &ScoreRow::region};
constexpr std::array<const char*, 6> kTextNames{"dataset", "case", "patient", "modality", "structure", "region"};

std::optional<double> number_of(std::string_view field, const CsvTable& table, int64_t row, const char* column) {
  if (field.empty()) return {};
  double number = 0;
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), number);
  SAT_CHECK(error == std::errc() && end == field.data() + field.size() && std::isfinite(number), table.source(),
            ", line ", table.line(row), ": ", column, " is ", quoted(field), ", needs a number or nothing");
  return number;
}

}  // namespace

Score parse_score(const std::string& name) {
  std::string known;
  for (size_t i = 0; i < kScores; ++i) {
    if (name == kScoreColumns[i].name) return Score(i);
    known += (known.empty() ? "" : ", ") + std::string(kScoreColumns[i].name);
  }
  fail("there is no score ", quoted(name), "; known are ", known);
}

std::string csv_of(const std::vector<ScoreRow>& rows) {
  std::string text;
  for (const char* name : kTextNames) text += (text.empty() ? "" : ",") + std::string(name);
  for (const ScoreColumn& column : kScoreColumns) text += "," + std::string(column.name);
  text += '\n';
  for (const ScoreRow& row : rows) {
    for (size_t i = 0; i < kTexts.size(); ++i) {
      if (i > 0) text += ',';
      append_csv_field(text, row.*kTexts[i]);
    }
    for (const std::optional<double>& score : row.scores) text += "," + (score ? significant(*score, 9) : "");
    text += '\n';
  }
  return text;
}

std::vector<ScoreRow> read_scores(const std::string& path, const std::vector<Score>& needed) {
  const CsvTable table = read_csv(path);
  std::array<std::optional<int64_t>, 6> texts;
  std::array<std::optional<int64_t>, kScores> numbers;
  for (size_t i = 0; i < texts.size(); ++i) {
    const bool key = std::string_view(kTextNames[i]) != "patient" && std::string_view(kTextNames[i]) != "region";
    texts[i] = key ? table.column(kTextNames[i]) : table.find_column(kTextNames[i]);
  }
  for (size_t i = 0; i < kScores; ++i) numbers[i] = table.find_column(kScoreColumns[i].name);
  for (const Score score : needed) table.column(kScoreColumns[size_t(score)].name);  // throws where there is none
  std::set<std::tuple<std::string, std::string, std::string, std::string>> seen;
  std::vector<ScoreRow> rows;
  for (int64_t line = 0; line < table.rows(); ++line) {
    ScoreRow row;
    for (size_t i = 0; i < texts.size(); ++i) {
      if (texts[i]) row.*kTexts[i] = std::string(table.field(line, *texts[i]));
    }
    for (size_t i = 0; i < kScores; ++i) {
      if (numbers[i]) row.scores[i] = number_of(table.field(line, *numbers[i]), table, line, kScoreColumns[i].name);
    }
    SAT_CHECK(seen.emplace(row.dataset, row.case_id, row.modality, row.structure).second, path, ", line ",
              table.line(line), ": case ", quoted(row.case_id), " has ", quoted(row.structure), " a second time");
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace sat::cli
