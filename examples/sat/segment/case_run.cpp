// Reading, computing and writing one case.
#include "examples/sat/segment/case_run.h"

#include <cstdio>
#include <optional>

#include "examples/sat/interrupt.h"
#include "examples/sat/memory_limits.h"
#include "examples/sat/output/failure.h"
#include "examples/sat/segment/case_folder.h"
#include "sat/io/files/disk_room.h"
#include "sat/io/files/mapped_scratch.h"
#include "sat/io/words/text.h"
#include "sat/tensor/profile.h"

namespace sat::cli {

namespace {

/// While it lives, all that is done in the session's context stops when the user interrupts.
class InterruptScope {
 public:
  explicit InterruptScope(Context& context) : context_(context) { context_.set_cancelled(interrupted); }
  ~InterruptScope() { context_.set_cancelled({}); }

 private:
  Context& context_;
};

Question question_of(const SegmentRequest& request, const Session& session, const Identity& identity, const Case& one,
                     const CasePlace& place) {
  Question question;
  question.scan = place.scan;
  question.model = identity.model;
  question.text = identity.text;
  question.settings = settings_json(one, request.result, session, request.device);
  question.prompts = one.prompts;
  question.mask_extension = request.result.mask_extension;
  question.probabilities = request.result.probabilities;
  question.preview = request.result.preview;
  question.verify = request.verify;
  question.overwrite = request.overwrite;
  question.hashes = request.check;
  question.strict = request.strict;
  return question;
}

/// Throws Error when the run, or putting its masks together with earlier ones, would not fit the memory limit.
void check_room(const SegmentRequest& request, const Session& session, const Geometry& grid, const RunOptions& run,
                const Resume& resume) {
  const auto prompts = int64_t(resume.prompts.size());
  const SegmentationPlan plan = session.plan(grid, run, prompts);
  check_memory(plan, request.session.max_ram);
  const int64_t joined = joining_bytes(grid, resume);
  const int64_t limit = request.session.max_ram;
  const int64_t needed = plan.process_bytes - plan.tensor_bytes + plan.weights_bytes +
                         grid.voxels() * int64_t(sizeof(float)) + BitMasks::bytes_needed(grid.size, prompts) + joined;
  if (joined == 0 || limit <= 0 || needed <= limit) return;
  fail_as<MemoryError>("joining ", resume.structures.size(), " masks needs ", needed, " bytes of memory, the limit is ",
                       limit);
}

void say_verified(const Verification& checked, const std::string& folder, ProgressView& view) {
  char text[160];
  std::snprintf(text, sizeof text,
                "verified: probabilities differ from f32 by up to %.2g, and %.2g %% of voxels change",
                checked.largest_difference, 100 * checked.changed);
  view.line(folder + ": " + text);
}

/// Computes what `resume` asks for and puts the folder in its place; returns the manifest.
Json compute(const SegmentRequest& request, const Session& session, const Case& one, const Question& question,
             const Resume& resume, const CasePlace& place, ProgressView& view) {
  profile::Stopwatch watch;
  view.stage("reading");
  RunOptions run;
  run.modality = one.modality;
  run.orientation = one.orientation;
  run.space = request.result.model_space ? Space::model : Space::scan;
  run.verify = request.verify;
  run.strict = request.strict;
  run.probabilities_on_disk = request.result.probabilities;
  const NiftiReadOptions options{request.result.geometry};
  // Before time is spent on reading.
  check_room(request, session, read_nifti_header(one.scan, options).geometry, run, resume);
  const NiftiScan scan = read_nifti(one.scan, options);
  run.scan_warnings = scan.header.warnings;
  if (!one.warning.empty()) run.scan_warnings.push_back(one.warning);
  check_unchanged(question.scan);
  const double reading = watch.lap();

  CaseFolder folder = failing_as(FailureKind::output, [&] { return CaseFolder(request.output, place.name); });
  std::optional<MappedScratch> scratch;
  run.on_progress = [&](const Progress& progress) { view.update(progress); };
  run.on_warning = [&](const std::string& warning) { view.line(place.name + ": warning: " + warning); };
  run.cancelled = interrupted;
  run.on_plan = [&](const SegmentationPlan& plan) {
    check_disk_room({{request.session.scratch, plan.scratch_bytes, "features of windows"},
                     {folder.path(), 2 * plan.probability_bytes, "probabilities, while they are made and as files,"}});
  };
  if (request.result.probabilities) {
    run.probabilities = [&](const Geometry& grid) {
      const int64_t bytes = grid.voxels() * int64_t(sizeof(float));
      scratch.emplace(folder.path(), bytes * int64_t(resume.prompts.size()));
      std::vector<float*> volumes;
      for (size_t i = 0; i < resume.prompts.size(); ++i) {
        volumes.push_back(reinterpret_cast<float*>(scratch->data() + int64_t(i) * bytes));
      }
      return volumes;
    };
  }
  const Segmentation result = session.run(scan.volume, resume.prompts, run);
  if (result.verification) say_verified(*result.verification, place.name, view);

  view.stage("writing");
  ResultOptions wanted = request.result;
  wanted.preview = wanted.preview || (place.record && place.record->files.count("preview.png") > 0);
  const CaseParts parts{one,    scan, question, resume, place.record, result, session, scratch ? &*scratch : nullptr,
                        reading};
  return failing_as(FailureKind::output, [&] {
    const Json manifest = write_case(folder.path(), parts, wanted);
    if (interrupted()) throw Cancelled("interrupted");
    folder.commit(resume.kept_files(), [&] { check_unchanged(request.output + "/" + place.name, place.record); });
    return manifest;
  });
}

}  // namespace

CaseOutcome run_case(const SegmentRequest& request, const Session& session, const Identity& identity, const Case& one,
                     const std::function<bool(const std::string&)>& made, ProgressView& view) {
  const UseContext use(session.context());
  const InterruptScope interruptible(session.context());
  const CasePlace place = find_place(request.output, one);
  const Question question = question_of(request, session, identity, one, place);
  const Resume resume = plan_resume(place.record, question);
  CaseOutcome outcome;
  outcome.folder = request.output + "/" + place.name;
  outcome.replaced = resume.replaced;
  outcome.changed = resume.changed;
  SAT_CHECK(resume.replaced.empty() || !made(place.name), "this run has already written ", outcome.folder,
            " for the same scan, but ", resume.replaced, "; give the two requests output folders of their own");
  for (const std::string& file : resume.changed) {
    view.line(outcome.folder + "/" + file + " was changed since sat wrote it and stays as it is");
  }
  outcome.skipped = resume.prompts.empty();
  if (!outcome.skipped) outcome.manifest = compute(request, session, one, question, resume, place, view);
  return outcome;
}

}  // namespace sat::cli
