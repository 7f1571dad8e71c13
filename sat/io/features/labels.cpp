// Labels from a table, and their meeting with features.
#include "sat/io/features/labels.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "sat/io/tables/csv.h"
#include "sat/io/words/text.h"

namespace sat {

namespace {

constexpr int64_t kMostLabels = 1000;

std::optional<double> number_of(std::string_view text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return number;
}

std::optional<int64_t> whole_of(const std::string& text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return number;
}

/// Is the field an answer: nothing, 0, 1 or -1, perhaps with decimals (1.0)?
bool is_answer(std::string_view field) {
  if (field.empty()) return true;
  const std::optional<double> number = number_of(field);
  return number && (*number == 0 || *number == 1 || *number == -1);
}

std::vector<int64_t> label_columns(const CsvTable& table, const LabelOptions& options) {
  std::vector<int64_t> columns;
  for (const std::string& name : options.columns) {
    const int64_t column = table.column(name);
    SAT_CHECK(column > 0, table.source(), ": ", quoted(name), " is the column of images");
    SAT_CHECK(std::find(columns.begin(), columns.end(), column) == columns.end(), table.source(), ": the label ",
              quoted(name), " is asked for twice");
    columns.push_back(column);
  }
  for (int64_t column = 1; options.columns.empty() && column < table.columns(); ++column) {
    const std::string& name = table.names()[size_t(column)];
    const bool wanted =
        options.among.empty() || std::find(options.among.begin(), options.among.end(), name) != options.among.end();
    if (wanted && name != options.group && name != options.split) columns.push_back(column);
  }
  SAT_CHECK(!columns.empty() && int64_t(columns.size()) <= kMostLabels, table.source(), ": ", columns.size(),
            " columns of labels, from 1 to ", kMostLabels, " are taken");
  return columns;
}

LabelState read_answer(const CsvTable& table, int64_t row, int64_t column, Uncertain uncertain) {
  const std::string_view field = table.field(row, column);
  const auto where = [&] {
    return table.source() + ", line " + std::to_string(table.line(row)) + ", column " +
           quoted(table.names()[size_t(column)]);
  };
  SAT_CHECK(is_answer(field), where(), ": ", quoted(field), " is not 1, 0 or nothing (unknown)");
  if (field.empty()) return LabelState::unknown;
  const double number = *number_of(field);
  if (number >= 0) return number == 1 ? LabelState::present : LabelState::absent;
  switch (uncertain) {
    case Uncertain::unknown: return LabelState::unknown;
    case Uncertain::absent: return LabelState::absent;
    case Uncertain::present: return LabelState::present;
    case Uncertain::refuse: break;
  }
  fail(where(), ": -1 (uncertain) must be said to be unknown, absent or present");
}

/// Names of classes in order.
std::vector<std::string> classes_of(const CsvTable& table, int64_t column) {
  std::unordered_set<std::string> seen;
  for (int64_t row = 0; row < table.rows(); ++row) {
    const std::string_view field = table.field(row, column);
    if (!field.empty()) seen.emplace(field);
    SAT_CHECK(int64_t(seen.size()) <= kMostLabels, table.source(), ": column ", quoted(table.names()[size_t(column)]),
              " has more than ", kMostLabels, " classes");
  }
  std::vector<std::string> classes(seen.begin(), seen.end());
  const bool numbers =
      std::all_of(classes.begin(), classes.end(), [](const std::string& one) { return whole_of(one); });
  std::sort(classes.begin(), classes.end(), [&](const std::string& a, const std::string& b) {
    return numbers && *whole_of(a) != *whole_of(b) ? *whole_of(a) < *whole_of(b) : a < b;
  });
  SAT_CHECK(!classes.empty(), table.source(), ": column ", quoted(table.names()[size_t(column)]), " is empty");
  return classes;
}

void read_classes(const CsvTable& table, int64_t column, Labels& labels) {
  labels.exclusive = true;
  labels.names = classes_of(table, column);
  std::map<std::string_view, size_t> index;
  for (size_t i = 0; i < labels.names.size(); ++i) index[labels.names[i]] = i;
  labels.states.assign(size_t(table.rows()) * labels.names.size(), LabelState::unknown);
  for (int64_t row = 0; row < table.rows(); ++row) {
    const std::string_view field = table.field(row, column);
    if (field.empty()) continue;
    LabelState* states = labels.states.data() + size_t(row) * labels.names.size();
    std::fill_n(states, labels.names.size(), LabelState::absent);
    states[index.at(field)] = LabelState::present;
  }
}

}  // namespace

Uncertain parse_uncertain(const std::string& name) {
  if (name == "refuse") return Uncertain::refuse;
  if (name == "unknown") return Uncertain::unknown;
  if (name == "absent") return Uncertain::absent;
  if (name == "present") return Uncertain::present;
  fail(quoted(name), " is not refuse, unknown, absent or present");
}

LabelTask parse_label_task(const std::string& name) {
  if (name == "automatic") return LabelTask::automatic;
  if (name == "labels") return LabelTask::labels;
  if (name == "classes") return LabelTask::classes;
  fail(quoted(name), " is not automatic, labels or classes");
}

Labels read_labels(const std::string& path, const LabelOptions& options) {
  const CsvTable table = read_csv(path);
  SAT_CHECK(table.rows() > 0, path, ": no line after the header");
  Labels labels;
  std::unordered_set<std::string> seen;
  const auto texts = [&](const std::string& name) {
    std::vector<std::string> fields;
    if (name.empty()) return fields;
    const int64_t column = table.column(name);
    for (int64_t row = 0; row < table.rows(); ++row) fields.emplace_back(table.field(row, column));
    return fields;
  };
  for (int64_t row = 0; row < table.rows(); ++row) {
    labels.images.emplace_back(table.field(row, 0));
    SAT_CHECK(!labels.images.back().empty(), path, ", line ", table.line(row), ": no name of an image");
    SAT_CHECK(seen.insert(labels.images.back()).second, path, ", line ", table.line(row), ": image ",
              quoted(labels.images.back()), " stands there twice");
  }
  labels.groups = texts(options.group);
  labels.splits = texts(options.split);

  const std::vector<int64_t> columns = label_columns(table, options);
  SAT_CHECK(options.task != LabelTask::classes || columns.size() == 1, path, ": ", columns.size(),
            " columns for classes, which have one; name it");
  bool answers = options.task != LabelTask::classes;
  if (options.task == LabelTask::automatic && columns.size() == 1) {
    for (int64_t row = 0; row < table.rows() && answers; ++row) answers = is_answer(table.field(row, columns[0]));
  }
  if (!answers) {
    read_classes(table, columns[0], labels);
    return labels;
  }
  for (const int64_t column : columns) labels.names.push_back(table.names()[size_t(column)]);
  for (int64_t row = 0; row < table.rows(); ++row) {
    for (const int64_t column : columns) {
      labels.states.push_back(read_answer(table, row, column, options.uncertain));
    }
  }
  return labels;
}

LabelledRows join(const FeatureSet& features, const Labels& labels, const std::string& labels_path) {
  std::unordered_map<std::string_view, int64_t> index;
  for (int64_t i = 0; i < labels.size(); ++i) index.emplace(labels.images[size_t(i)], i);
  LabelledRows joined;
  for (int64_t row = 0; row < features.size(); ++row) {
    const auto found = index.find(features.images[size_t(row)]);
    if (found == index.end()) continue;
    joined.rows.push_back(row);
    joined.labels.push_back(found->second);
  }
  SAT_CHECK(!joined.rows.empty(), "no image of ", features.path, " (such as ", quoted(features.images.front()),
            ") is in ", labels_path, " (such as ", quoted(labels.images.front()), ")");
  joined.features_left = features.size() - int64_t(joined.rows.size());
  joined.labels_left = labels.size() - int64_t(joined.rows.size());
  return joined;
}

}  // namespace sat
