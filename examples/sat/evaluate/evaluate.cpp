// sat evaluate: predicted masks against labelled ones, case by case, and what that comes to.
#include "examples/sat/evaluate/evaluate_request.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <set>

#include "examples/sat/command_line/command_line.h"
#include "examples/sat/evaluate/compare.h"
#include "examples/sat/evaluate/masks/model_masks.h"
#include "examples/sat/evaluate/masks/predictions.h"
#include "examples/sat/evaluate/regions.h"
#include "examples/sat/evaluate/score_case.h"
#include "examples/sat/evaluate/score_report.h"
#include "examples/sat/interrupt.h"
#include "examples/sat/output/output.h"
#include "examples/sat/output/progress.h"
#include "examples/sat/segment/case_folder.h"
#include "sat/io/datasets/labelled_case.h"
#include "sat/io/files/file.h"
#include "sat/io/pictures/png.h"
#include "sat/io/scans/scan_checks.h"
#include "sat/io/words/text.h"

namespace sat::cli {

namespace {

constexpr double kSecondsBetweenTables = 30;

/// What was scored, and what could not be.
struct Found {
  std::vector<ScoreRow> rows;
  std::vector<CaseProblem> problems;
  int64_t cases = 0;         // that were scored
  int64_t not_labelled = 0;  // pairs of a case and a structure that its labels say nothing of
};

std::vector<LabelledCase> cases_of(const EvaluateRequest& request, const std::string& labels,
                                   const OnCaseProblem& on_problem) {
  DatasetOptions options;
  options.on_problem = on_problem;
  LabelledData data = read_dataset(labels, options);
  std::vector<LabelledCase> cases;
  if (request.part != EvaluateRequest::Part::validation) cases = std::move(data.train);
  if (request.part != EvaluateRequest::Part::training) {
    cases.insert(cases.end(), data.validation.begin(), data.validation.end());
  }
  return cases;
}

/// The structures that are asked for, of those that a case has labels of.
std::vector<StructureSource> structures_of(const EvaluateRequest& request, const LabelledCase& one) {
  std::vector<StructureSource> chosen;
  for (const StructureSource& structure : one.structures) {
    const auto& names = request.structures;
    if (names.empty() || std::find(names.begin(), names.end(), structure.name) != names.end()) {
      chosen.push_back(structure);
    }
  }
  return chosen;
}

void check_structures(const EvaluateRequest& request, const std::vector<LabelledCase>& cases) {
  for (const std::string& name : request.structures) {
    const bool known = std::any_of(cases.begin(), cases.end(), [&](const LabelledCase& one) {
      const auto named = [&](const StructureSource& structure) { return structure.name == name; };
      return std::any_of(one.structures.begin(), one.structures.end(), named);
    });
    SAT_CHECK(known, "no case has labels of ", quoted(name));
  }
}

class Evaluator {
 public:
  Evaluator(const EvaluateRequest& request, ProgressView& view) : request_(request), view_(view) {
    if (!request.regions.empty()) regions_ = Regions(request.regions);
    if (request.by_model()) {
      model_.emplace(request, view);
    } else {
      folder_.emplace(request.paths[0]);
      ContextOptions options;
      options.threads = request.threads;
      options.cpu = request.cpu;
      options.cancelled = interrupted;
      context_.emplace(options);
    }
  }

  std::string model_path() const { return model_->model().options().model; }
  Context& context() { return model_ ? model_->context() : *context_; }

  /// The rows of one case.
  std::vector<ScoreRow> score(const LabelledCase& one, std::vector<StructureSource> structures) {
    SAT_CHECK(!one.converted, one.image, ": converted records have no scan to be scored on");
    MaskFiles truth(std::move(structures));
    const bool no_file = truth.path().empty();
    const std::string name = no_file ? one.image : truth.path();
    const Geometry scan = no_file ? read_nifti_header(one.image).geometry : truth.geometry();
    if (no_file) truth.lie_on(scan);
    std::vector<ScoreRow> rows = model_ ? of_model(one, truth, scan, name) : of_files(one, truth, scan, name);
    for (ScoreRow& row : rows) row.region = regions_.of(row.modality, row.structure);
    return rows;
  }

 private:
  std::vector<ScoreRow> of_files(const LabelledCase& one, MaskFiles& truth, const Geometry& scan,
                                 const std::string& name) {
    view_.stage("reading");
    const PredictedCase predicted = folder_->find(one, truth.structures());
    MaskFiles files(predicted.structures);
    return score_case({one, truth, scan, predicted.grid, masks_of_files(files, predicted, scan, name),
                       request_.tolerance_mm, progress()});
  }

  std::vector<ScoreRow> of_model(const LabelledCase& one, MaskFiles& truth, const Geometry& scan,
                                 const std::string& name) {
    check_same_grid(read_nifti_header(one.image).geometry, one.image, scan, name);
    model_->segment(one, truth.structures());
    const auto masks = [&](size_t first, size_t last) { return model_->masks(first, last); };
    return score_case({one, truth, scan, model_->grid(one), masks, request_.tolerance_mm, progress()});
  }

  std::function<void(size_t, size_t)> progress() {
    return [&](size_t done, size_t all) { view_.count("scoring", "structures", int64_t(done), int64_t(all)); };
  }

  const EvaluateRequest& request_;
  ProgressView& view_;
  Regions regions_;
  std::optional<ModelMasks> model_;
  std::optional<PredictionFolder> folder_;
  std::optional<Context> context_;
};

std::string counted(int64_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

Json rules_json(const EvaluateRequest& request) {
  return Json::object()
      .set("dice", "2 |A and B| / (|A| + |B|)")
      .set("nsd", "share of both surfaces' area that lies within the tolerance of the other surface")
      .set("tolerance_mm", request.tolerance_mm)
      .set("sat_protocol", "nearest voxels at 1 x 1 x 3 mm, NSD at 1 mm as if voxels were 1 x 1 x 3 mm")
      .set("both_empty", "Dice 1, NSD 1, no distance, no relative volume error")
      .set("one_empty", "Dice 0, NSD 0, no distance")
      .set("class", "mean over data sets of its mean over cases")
      .set("region", "mean over its classes")
      .set("dataset", "mean over its classes' means there")
      .set("overall", "mean over classes");
}

Json summary_json(const EvaluateRequest& request, const Evaluator& evaluator, const Found& found,
                  const ScoreSummary& summary) {
  Json problems = Json::array();
  for (const CaseProblem& problem : found.problems) {
    problems.push(Json::object().set("dataset", problem.dataset).set("case", problem.id).set("reason", problem.reason));
  }
  Json json = Json::object().set("format", "sat-evaluation-1").set("version", SAT_VERSION);
  json.set("predictions", request.by_model() ? Json() : Json(request.paths[0]));
  json.set("model", request.by_model() ? Json(evaluator.model_path()) : Json());
  json.set("labels", request.paths.back()).set("cases", found.cases).set("rows", int64_t(found.rows.size()));
  json.set("not_labelled", found.not_labelled).set("problems", std::move(problems));
  json.set("rules", rules_json(request));
  json.set("bootstrap", Json::object()
                            .set("samples", request.samples)
                            .set("seed", int64_t(request.seed))
                            .set("confidence", SummaryOptions().confidence)
                            .set("unit", "patient, within its data set"));
  const Json means = json_of(summary);
  for (const auto& [key, value] : means.members()) json.set(key, value);
  return json;
}

void write_table(const EvaluateRequest& request, const Found& found) {
  failing_as(FailureKind::output, [&] { write_file_atomically(request.output + "/results.csv", csv_of(found.rows)); });
}

void score_all(const EvaluateRequest& request, Evaluator& evaluator, const std::vector<LabelledCase>& cases,
               const OnCaseProblem& on_problem, Found& found, ProgressView& view) {
  using Clock = std::chrono::steady_clock;
  auto written = Clock::now();
  for (size_t i = 0; i < cases.size(); ++i) {
    if (interrupted()) throw Cancelled("interrupted");
    const LabelledCase& one = cases[i];
    view.start(one.id + " (" + std::to_string(i + 1) + " of " + std::to_string(cases.size()) + ")");
    try_case(one.dataset, one.id, on_problem, [&] {
      std::vector<StructureSource> structures = structures_of(request, one);
      const auto asked =
          int64_t(request.structures.empty() ? structures.size() + one.unlabelled.size() : request.structures.size());
      std::vector<ScoreRow> rows;
      try {
        if (!structures.empty()) rows = evaluator.score(one, std::move(structures));
      } catch (const MemoryError& error) {
        fail(error.what());  // other cases may be smaller
      }
      found.not_labelled += asked - int64_t(rows.size());
      found.cases += !rows.empty();
      found.rows.insert(found.rows.end(), rows.begin(), rows.end());
    });
    if (std::chrono::duration<double>(Clock::now() - written).count() < kSecondsBetweenTables) continue;
    write_table(request, found);
    written = Clock::now();
  }
}

int evaluate(const EvaluateRequest& request) {
  ProgressView view(request.quiet);
  Found found;
  const OnCaseProblem on_problem = [&](const CaseProblem& problem) {
    view.clear();
    found.problems.push_back(problem);
    if (request.on_error == EvaluateRequest::OnError::stop) fail(problem.reason);
    say("sat: " + problem.reason);
  };
  const std::vector<LabelledCase> cases = cases_of(request, request.paths.back(), on_problem);
  check_structures(request, cases);
  failing_as(FailureKind::output, [&] { make_output_folder(request.output); });
  Evaluator evaluator(request, view);
  const UseContext use(evaluator.context());
  watch_for_interrupts();
  try {
    score_all(request, evaluator, cases, on_problem, found, view);
  } catch (const Error&) {
    if (!found.rows.empty()) write_table(request, found);
    throw;
  }
  view.start("scores");
  view.stage("averaging");
  const ScoreSummary summary = summary_of(found.rows, {request.samples, SummaryOptions().confidence, request.seed});
  view.clear();
  write_table(request, found);
  failing_as(FailureKind::output, [&] {
    const std::string text = summary_json(request, evaluator, found, summary).dump(2) + "\n";
    write_file_atomically(request.output + "/summary.json", text);
    if (request.chart && !found.rows.empty()) {
      write_png(request.output + "/scores.png", draw(chart_of(found.rows, request.tolerance_mm)));
    }
  });
  if (!found.rows.empty()) print(table_of(summary));
  std::string tail = counted(int64_t(found.rows.size()), "structure") + " of " + counted(found.cases, "case") + "; " +
                     printable(request.output) + "/results.csv";
  if (found.not_labelled > 0) tail += "; " + std::to_string(found.not_labelled) + " more are not labelled";
  if (!found.problems.empty()) tail += "; not scored: " + counted(int64_t(found.problems.size()), "case");
  print_line(tail);
  if (found.problems.empty()) return kDone;
  return found.rows.empty() ? kFailed : kSomeFailed;
}

}  // namespace

int run(const EvaluateRequest& request) {
  if (request.compare) return compare(request);
  const bool alone = request.paths.size() == 1;
  if (request.paths.size() > 2) throw UsageError("sat evaluate takes PREDICTIONS and LABELS, or LABELS with --model");
  if (alone && !request.by_model()) {
    throw UsageError("PREDICTIONS or LABELS are missing; masks are made now with --model or --shipped-model");
  }
  if (!alone && request.by_model()) throw UsageError("with a model there are no PREDICTIONS to name");
  if (request.output.empty()) throw UsageError("-o is missing");
  return evaluate(request);
}

}  // namespace sat::cli
