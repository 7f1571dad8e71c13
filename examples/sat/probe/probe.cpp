// sat probe fit and sat probe predict: from files of features and labels to a probe, predictions, and what they are
// worth.
#include <unistd.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "examples/sat/command_line/command_line.h"
#include "examples/sat/interrupt.h"
#include "examples/sat/output/output.h"
#include "examples/sat/output/progress.h"
#include "examples/sat/probe/probe_report.h"
#include "sat/io/features/feature_set.h"
#include "sat/io/features/labels.h"
#include "sat/io/files/file.h"
#include "sat/io/pictures/png.h"
#include "sat/io/tables/csv.h"
#include "sat/io/words/text.h"
#include "sat/nn/probe/fit_probe.h"
#include "sat/nn/probe/probe_file.h"
#include "sat/nn/probe/split.h"

namespace sat::cli {

namespace {

constexpr int64_t kMostNames = int64_t(1) << 28;  // bytes of a list of images

/// Images with features and labels.
struct Rows {
  Tensor features;  // [N, C]
  Targets targets;
  std::vector<std::string> images, groups, splits;  // groups: the image where none are told; splits: perhaps none
  int64_t features_left = 0, labels_left = 0;

  int64_t size() const { return int64_t(images.size()); }
};

/// [N, C], whatever the file has.
Tensor as_rows(const FeatureSet& set, bool flatten) {
  const Shape& shape = set.features.shape;
  if (shape.rank() == 2) return set.features;
  SAT_CHECK(flatten, set.path, ": features of shape ", shape,
            " have several tokens an image; encode with cls or mean tokens, or give --flatten");
  return set.features.reshape({shape[0], shape[1] * shape[2]});
}

/// What is known of some images about the labels of a probe, which are matched by name.
Targets targets_of(const Labels& labels, const std::string& path, const std::vector<int64_t>& images,
                   const std::vector<std::string>& names, bool exclusive) {
  SAT_CHECK(labels.exclusive == exclusive, path, ": it has ", labels.exclusive ? "classes" : "labels", ", not ",
            exclusive ? "classes" : "labels");
  std::unordered_map<std::string_view, size_t> index;
  for (size_t k = 0; k < names.size(); ++k) index.emplace(names[k], k);
  std::vector<size_t> place;
  for (const std::string& name : labels.names) {
    const auto found = index.find(name);
    SAT_CHECK(found != index.end(), path, ": ", exclusive ? "class " : "label ", quoted(name), " is not among the ",
              names.size(), " of the probe");
    place.push_back(found->second);
  }
  Targets targets{int64_t(names.size()), exclusive, std::vector<int8_t>(images.size() * names.size(), -1)};
  for (size_t i = 0; i < images.size(); ++i) {
    int8_t* states = targets.states.data() + i * names.size();
    const bool known = labels.state(images[i], 0) != LabelState::unknown;
    if (exclusive && known) std::fill_n(states, names.size(), int8_t(0));
    for (size_t k = 0; k < place.size(); ++k) states[place[k]] = int8_t(labels.state(images[i], int64_t(k)));
  }
  return targets;
}

Rows rows_of(const FeatureSet& set, const ProbeRequest& request, const Labels& labels, const std::string& path,
             const std::vector<std::string>& names, bool exclusive) {
  const LabelledRows joined = join(set, labels, path);
  Rows rows;
  rows.features = sat::rows_of(as_rows(set, request.flatten), joined.rows);
  rows.targets = targets_of(labels, path, joined.labels, names, exclusive);
  for (size_t i = 0; i < joined.rows.size(); ++i) {
    const auto label = size_t(joined.labels[i]);
    rows.images.push_back(labels.images[label]);
    rows.groups.push_back(labels.groups.empty() || labels.groups[label].empty() ? "image " + labels.images[label]
                                                                                : "group " + labels.groups[label]);
    if (!labels.splits.empty()) rows.splits.push_back(labels.splits[label]);
  }
  rows.features_left = joined.features_left;
  rows.labels_left = joined.labels_left;
  return rows;
}

struct Parts {
  std::vector<int64_t> training, validation, test;
};

/// By the column of the labels.
Parts split_by_column(const Rows& rows, const std::string& path, const std::string& column) {
  Parts parts;
  for (int64_t i = 0; i < rows.size(); ++i) {
    const std::string& part = rows.splits[size_t(i)];
    if (part == "train") {
      parts.training.push_back(i);
    } else if (part == "val" || part == "valid" || part == "validation") {
      parts.validation.push_back(i);
    } else if (part == "test") {
      parts.test.push_back(i);
    } else {
      SAT_CHECK(part.empty(), path, ": column ", quoted(column), " holds ", quoted(part), " for image ",
                quoted(rows.images[size_t(i)]), ", it should be train, val, test or nothing");
    }
  }
  return parts;
}

/// Moves a share of all rows out of `from`, group by group.
void move_share(const Rows& rows, double share, uint64_t seed, std::vector<int64_t>& from, std::vector<int64_t>& to) {
  if (share == 0) return;
  std::vector<std::string> groups;
  for (const int64_t row : from) groups.push_back(rows.groups[size_t(row)]);
  const double part = std::min(share * double(rows.size()) / double(from.size()), 0.999);
  const std::vector<uint8_t> held = hold_out(groups, part, seed);
  std::vector<int64_t> kept;
  for (size_t i = 0; i < from.size(); ++i) (held[i] ? to : kept).push_back(from[i]);
  from = std::move(kept);
}

Parts split(const Rows& rows, const ProbeRequest& request, int64_t own_rows) {
  if (!rows.splits.empty()) return split_by_column(rows, request.labels, request.label_options.split);
  constexpr uint64_t kTest = 1;  // apart from the seed of the validation rows
  Parts parts;
  std::unordered_set<std::string> listed;
  if (!request.validation_list.empty()) {
    const std::string& path = request.validation_list;
    for (std::string& name : lines_of(read_file(path, kMostNames), path)) listed.insert(std::move(name));
  }
  for (int64_t i = 0; i < rows.size(); ++i) {
    (i >= own_rows || listed.count(rows.images[size_t(i)]) ? parts.validation : parts.training).push_back(i);
  }
  SAT_CHECK(listed.empty() || !parts.validation.empty(), request.validation_list, ": none of its ", listed.size(),
            " images is among the ", rows.size(), " with features and labels");
  SAT_CHECK(!parts.training.empty(), "no images are left to fit on");
  move_share(rows, request.test_share, request.seed + kTest, parts.training, parts.test);
  if (parts.validation.empty()) {
    move_share(rows, request.validation_share, request.seed, parts.training, parts.validation);
  }
  return parts;
}

/// Rows of two files under each other.
Rows stacked(const Rows& a, const Rows& b) {
  SAT_CHECK(a.features.shape[1] == b.features.shape[1], "validation features of ", b.features.shape[1],
            " channels, the others have ", a.features.shape[1]);
  Rows both = a;
  both.features = Tensor({a.size() + b.size(), a.features.shape[1]});
  std::copy_n(a.features.data<float>(), a.features.numel(), both.features.data<float>());
  std::copy_n(b.features.data<float>(), b.features.numel(), both.features.data<float>() + a.features.numel());
  const auto append = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
  append(both.targets.states, b.targets.states);
  append(both.images, b.images);
  append(both.groups, b.groups);
  return both;
}

Judged judge(const std::string& name, const LinearProbe& probe, const Rows& rows, const std::vector<int64_t>& which,
             const ProbeRequest& request) {
  Judged judged;
  judged.name = name;
  judged.labels = probe.labels;
  judged.targets = sat::rows_of(rows.targets, which);
  judged.probabilities = probe_probabilities(probe, sat::rows_of(rows.features, which));
  BootstrapOptions bootstrap;
  bootstrap.samples = request.samples;
  bootstrap.seed = request.seed;
  if (!request.label_options.group.empty()) {
    std::vector<std::string> groups;
    for (const int64_t row : which) groups.push_back(rows.groups[size_t(row)]);
    bootstrap.groups = number_groups(groups);
  }
  judged.evaluation = evaluate(judged.probabilities, judged.targets, probe.thresholds, bootstrap);
  return judged;
}

Json bootstrap_json(const ProbeRequest& request) {
  return Json::object({{"samples", request.samples},
                       {"seed", int64_t(request.seed)},
                       {"confidence", BootstrapOptions().confidence},
                       {"unit", request.label_options.group.empty() ? "image" : request.label_options.group}});
}

Json training_json(const FitOptions& options, const FittedProbe& fitted, const Parts& parts) {
  Json candidates = Json::array();
  for (const Candidate& one : fitted.candidates) {
    Json json = Json::object({{options.method == FitMethod::lbfgs ? "penalty" : "rate", one.value},
                              {"training_loss", one.training_loss},
                              {"validation", one.validation ? Json(*one.validation) : Json()},
                              {"iterations", one.iterations}});
    if (options.method == FitMethod::lbfgs) json.set("gradient", one.gradient).set("converged", one.converged);
    candidates.push(std::move(json));
  }
  return Json::object({{"method", name_of(options.method)},
                       {"standardised", options.standardise},
                       {"class_weights", options.balanced ? "balanced" : "equal"},
                       {"chosen_by", name_of(options.criterion)},
                       {"candidates", std::move(candidates)},
                       {"chosen", int64_t(fitted.chosen)},
                       {"thresholds", fitted.thresholds_chosen ? "best F1 on validation images" : "0.5"},
                       {"training_images", int64_t(parts.training.size())},
                       {"validation_images", int64_t(parts.validation.size())},
                       {"test_images", int64_t(parts.test.size())}});
}

/// The picture, and the report to where it was asked for.
void give(const ProbeRequest& request, const Json& report, const std::string& text, const Judged* drawn,
          const std::string& remark) {
  if (!request.chart.empty() && drawn) {
    failing_as(FailureKind::output, [&] { write_png(request.chart, draw(chart_of(*drawn, remark))); });
  }
  const std::string dumped = report.dump(2) + "\n";
  print(request.json == "-" ? dumped : text);
  if (request.json.empty() || request.json == "-") return;
  failing_as(FailureKind::output, [&] { write_file_atomically(request.json, dumped); });
}

std::string left_out(const Rows& rows, const ProbeRequest& request) {
  std::string text;
  if (rows.features_left > 0) {
    text += std::to_string(rows.features_left) + " images of " + request.features + " have no labels\n";
  }
  if (rows.labels_left > 0) {
    text += std::to_string(rows.labels_left) + " images of " + request.labels + " have no features\n";
  }
  return printable(text.substr(0, text.empty() ? 0 : text.size() - 1)) + (text.empty() ? "" : "\n");
}

int fit(const ProbeRequest& request, ProgressView& view) {
  view.start("probe");
  view.stage("reading");
  const FeatureSet set = read_features(request.features);
  const Labels labels = read_labels(request.labels, request.label_options);
  Rows rows = rows_of(set, request, labels, request.labels, labels.names, labels.exclusive);
  const int64_t own_rows = rows.size();
  if (!request.validation_features.empty()) {
    const FeatureSet other = read_features(request.validation_features);
    const std::string differs = difference(other.source, set.source);
    SAT_CHECK(differs.empty(), request.validation_features, " does not fit ", request.features, ": ", differs);
    const std::string& path = request.validation_labels.empty() ? request.labels : request.validation_labels;
    LabelOptions options = request.label_options;
    options.task = labels.exclusive ? LabelTask::classes : LabelTask::labels;
    rows = stacked(rows, rows_of(other, request, read_labels(path, options), path, labels.names, labels.exclusive));
  }
  const Parts parts = split(rows, request, own_rows);

  FitOptions options = request.fit;
  options.seed = request.seed;
  options.standardise = request.standardise.value_or(options.method == FitMethod::lbfgs);
  options.on_candidate = [&view](int64_t done, int64_t all) {
    view.stage("fitting, " + std::to_string(done) + " of " + std::to_string(all));
  };
  view.stage("fitting");
  const FittedProbe fitted =
      fit_probe(rows.features, rows.targets, labels.names, parts.training, parts.validation, options);
  view.stage("judging");
  std::vector<Judged> judged;
  if (!parts.test.empty()) judged.push_back(judge("test", fitted.probe, rows, parts.test, request));
  if (!parts.validation.empty()) judged.push_back(judge("validation", fitted.probe, rows, parts.validation, request));
  view.clear();
  watch_for_interrupts();  // files are written whole

  ProbeFile file{fitted.probe, set.source, training_json(options, fitted, parts)};
  failing_as(FailureKind::output, [&] {
    remove_temporary_files(folder_of(request.output));
    write_probe(request.output, file);
  });
  Json report = Json::object({{"features", request.features},
                              {"labels", request.labels},
                              {"probe", request.output},
                              {"version", SAT_VERSION},
                              {"source", to_json(set.source)},
                              {"task", labels.exclusive ? "classes" : "labels"},
                              {"without_labels", rows.features_left},
                              {"without_features", rows.labels_left},
                              {"training", file.training},
                              {"bootstrap", bootstrap_json(request)}});
  std::string text = left_out(rows, request);
  for (const Candidate& one : fitted.candidates) {
    if (!one.converged) {
      text += "the fit with " + significant(one.value, 3) + " stopped after " + std::to_string(one.iterations) +
              " iterations, before it converged\n";
    }
  }
  text += std::to_string(parts.training.size()) + " training images, " + name_of(options.method) + ", " +
          (options.method == FitMethod::lbfgs ? "penalty " : "rate ") +
          significant(fitted.candidates[fitted.chosen].value, 3) + "; " + printable(request.output) + "\n";
  for (const Judged& one : judged) {
    report.set(one.name, json_of(one));
    text += "\n" + table_of(one);
    if (one.name == "validation") text += "(candidate and thresholds were chosen on these images)\n";
  }
  if (!set.source.remark.empty()) text += "\nThe features: " + printable(set.source.remark) + "\n";
  give(request, report, text, judged.empty() ? nullptr : &judged.front(), set.source.remark);
  return kDone;
}

std::string predictions(const FeatureSet& set, const LinearProbe& probe, const Tensor& probabilities) {
  const int64_t K = int64_t(probe.labels.size());
  std::string text = "image";
  for (const std::string& label : probe.labels) {
    text += ',';
    append_csv_field(text, label);
  }
  text += probe.exclusive ? ",predicted class\n" : "\n";
  for (int64_t i = 0; i < set.size(); ++i) {
    append_csv_field(text, set.images[size_t(i)]);
    const float* row = probabilities.data<float>() + i * K;
    for (int64_t k = 0; k < K; ++k) text += "," + significant(double(row[k]), 6);
    if (probe.exclusive) {
      text += ',';
      append_csv_field(text, probe.labels[size_t(std::max_element(row, row + K) - row)]);
    }
    text += '\n';
  }
  return text;
}

int predict(const ProbeRequest& request, ProgressView& view) {
  if (request.labels.empty() && !request.chart.empty()) throw UsageError("--chart needs --labels");
  view.start("probe");
  view.stage("reading");
  const ProbeFile file = read_probe(request.probe);
  const FeatureSet set = read_features(request.features);
  const Tensor features = as_rows(set, request.flatten);
  check_fits(file, request.probe, set.source, features.shape[1], request.features);
  const Tensor probabilities = probe_probabilities(file.probe, features);

  std::vector<Judged> judged;
  std::string text;
  if (!request.labels.empty()) {
    LabelOptions options = request.label_options;
    options.task = file.probe.exclusive ? LabelTask::classes : LabelTask::labels;
    if (!file.probe.exclusive) options.among = file.probe.labels;
    const Labels labels = read_labels(request.labels, options);
    const Rows rows = rows_of(set, request, labels, request.labels, file.probe.labels, file.probe.exclusive);
    std::vector<int64_t> all;
    for (int64_t i = 0; i < rows.size(); ++i) all.push_back(i);
    view.stage("judging");
    judged.push_back(judge("labelled", file.probe, rows, all, request));
    text = left_out(rows, request) + "\n" + table_of(judged.front());
  }
  view.clear();
  watch_for_interrupts();
  failing_as(FailureKind::output, [&] {
    remove_temporary_files(folder_of(request.output));
    write_file_atomically(request.output, predictions(set, file.probe, probabilities));
  });
  Json report = Json::object({{"features", request.features},
                              {"probe", request.probe},
                              {"predictions", request.output},
                              {"version", SAT_VERSION},
                              {"source", to_json(set.source)},
                              {"images", set.size()}});
  if (!judged.empty()) report.set("bootstrap", bootstrap_json(request)).set("scores", json_of(judged.front()));
  text = std::to_string(set.size()) + " images; " + printable(request.output) + "\n" + text;
  if (!set.source.remark.empty()) text += "\nThe features: " + printable(set.source.remark) + "\n";
  give(request, report, text, judged.empty() ? nullptr : &judged.front(), set.source.remark);
  return kDone;
}

}  // namespace

int run(const ProbeRequest& request) {
  ContextOptions options;
  options.threads = request.threads;
  options.cpu = request.cpu;
  options.cancelled = interrupted;
  Context context(options);
  const UseContext use(context);
  ProgressView view(isatty(STDERR_FILENO) == 0);
  return request.action == ProbeRequest::Action::fit ? fit(request, view) : predict(request, view);
}

}  // namespace sat::cli
