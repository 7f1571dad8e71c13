// sat segment: scans and words to masks, case by case.
#include <cstdio>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "examples/sat/case_folder.h"
#include "examples/sat/case_result.h"
#include "examples/sat/cases.h"
#include "examples/sat/command_line.h"
#include "examples/sat/interrupt.h"
#include "examples/sat/progress.h"
#include "examples/sat/prompt_vocabulary.h"
#include "examples/sat/shipped.h"
#include "sat/nn/embedding_bank.h"
#include "sat/nn/segmenter.h"
#include "sat/tensor/profile.h"

namespace sat::cli {

namespace {

/// The request with the shipped model and bank where it names none.
SegmentRequest completed(SegmentRequest request) {
  SegmenterOptions& options = request.segmenter;
  const bool shipped = options.model.empty();
  if (shipped) options.model = find_shipped(kDefaultModel);
  if (options.model.empty()) throw UsageError("no model lies beside the program; name one with --model");
  if (options.bank.empty() && options.text_model.empty()) {
    if (!shipped) throw UsageError("--model needs --bank, or --text-model with --vocab");
    options.bank = find_shipped(kDefaultBank);
    if (options.bank.empty()) throw UsageError("no bank of prompts lies beside the program; name one with --bank");
  }
  if (options.scratch.empty() && !request.no_scratch) options.scratch = request.output;
  return request;
}

/// Fills in what the request says for all cases; a JSON line's own words come first.
std::vector<Case> cases_of(const SegmentRequest& request) {
  const std::vector<std::string> prompts = prompts_of(request.prompts);
  std::vector<Case> cases = collect_cases(request.scans);
  for (Case& one : cases) {
    if (one.orientation.empty()) one.orientation = request.orientation;
    if (!one.line.empty()) continue;
    one.prompts = prompts;
    one.modality = request.modality;
    if (one.prompts.empty()) throw UsageError("--prompts or --prompts-file is missing");
    if (one.modality.empty()) throw UsageError("--modality is missing: ct, mri, pet or us");
  }
  return cases;
}

/// Checks on words that can be made before any scan is read. What is wrong with a JSON line is kept for its turn.
void check_words(const SegmentRequest& request, std::vector<Case>& cases, ProgressView& view) {
  std::optional<EmbeddingBank> bank;
  if (!request.segmenter.bank.empty()) bank = read_bank(request.segmenter.bank);
  std::vector<KnownPrompt> vocabulary;
  if (!find_shipped(kPromptVocabulary).empty()) vocabulary = read_prompt_vocabulary();
  std::set<std::string> said;
  for (Case& one : cases) {
    if (!one.error.empty()) continue;
    try {
      check_prompts(one.prompts);
      if (bank) bank_queries(*bank, one.prompts, one.modality);  // refuses, with suggestions
      if (vocabulary.empty()) continue;
      for (const std::string& prompt : one.prompts) {
        // A bank's phrases need no advice, even those that are in no training set's own words.
        const std::string warning = bank ? modality_warning(vocabulary, prompt, one.modality)
                                         : prompt_warning(vocabulary, prompt, one.modality);
        if (!warning.empty() && said.insert(warning).second) view.line("warning: " + warning);
      }
    } catch (const Error& error) {
      if (one.line.empty()) throw;
      one.error = one.line + ": " + error.what();
    }
  }
}

/// While it lives, reading and writing in the segmenter's context stop when the user interrupts.
class InterruptScope {
 public:
  explicit InterruptScope(Context& context) : context_(context) { context_.set_cancelled(interrupted); }
  ~InterruptScope() { context_.set_cancelled({}); }

 private:
  Context& context_;
};

/// One case from scan to its finished folder; returns the manifest.
Json run_case(const SegmentRequest& request, const Segmenter& segmenter, const Case& one, const Identity& identity,
              ProgressView& view) {
  const UseContext use(segmenter.context());
  profile::Stopwatch watch;
  std::optional<InterruptScope> interruptible(std::in_place, segmenter.context());
  view.stage("reading");
  RunOptions run;
  run.modality = one.modality;
  run.orientation = one.orientation;
  run.space = request.result.model_space ? Space::model : Space::scan;
  run.verify = request.verify;
  // Throws when memory will not suffice, before time is spent on reading.
  segmenter.plan(read_nifti_header(one.scan).geometry, run, int64_t(one.prompts.size()));
  const NiftiScan scan = read_nifti(one.scan);
  const Json fingerprint = scan_fingerprint(one.scan);
  const double reading = watch.lap();

  CaseFolder folder(request.output, one.folder);
  std::optional<MappedScratch> scratch;
  run.on_progress = [&](const Progress& progress) { view.update(progress); };
  run.on_warning = [&](const std::string& warning) { view.line(one.folder + ": warning: " + warning); };
  run.cancelled = interrupted;
  if (request.result.probabilities) {
    run.probabilities = [&](const Geometry& grid) {
      const int64_t bytes = grid.voxels() * int64_t(sizeof(float));
      scratch.emplace(folder.path(), bytes * int64_t(one.prompts.size()));
      std::vector<float*> volumes;
      for (size_t i = 0; i < one.prompts.size(); ++i) {
        volumes.push_back(reinterpret_cast<float*>(scratch->data() + int64_t(i) * bytes));
      }
      return volumes;
    };
  }
  const Segmentation result = segmenter.run(scan.volume, one.prompts, run);

  if (result.verification) {
    char text[160];
    std::snprintf(text, sizeof text,
                  "verified: probabilities differ from f32 by up to %.2g, and %.2g %% of voxels change",
                  result.verification->largest_difference, 100 * result.verification->changed);
    view.line(one.folder + ": " + text);
  }
  interruptible.emplace(segmenter.context());  // the run had its own
  view.stage("writing");
  const Json manifest = write_case(folder.path(), one, scan, result, segmenter, identity, fingerprint, request.result,
                                   scratch ? &*scratch : nullptr, reading);
  if (interrupted()) throw Cancelled("interrupted");
  folder.commit();
  return manifest;
}

struct Counts {
  int done = 0, skipped = 0, failed = 0;
};

/// What the devices share while each works on a case of its own.
struct Shared {
  std::mutex mutex;  // of all below
  size_t next = 0;   // case
  Counts counts;
  std::exception_ptr stopped;  // by whom the others are stopped too
};

void report(const SegmentRequest& request, Json line) {
  if (!request.as_json) return;
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
}

void process(const SegmentRequest& request, const Segmenter& segmenter, Identity identity, Case one,
             const std::string& title, ProgressView& view, Shared& shared) {
  if (!one.error.empty()) fail(one.error);
  profile::Stopwatch watch;
  identity.request = request_json(one, request.result);
  Finished finished = finished_case(request.output + "/" + one.folder, identity, one.scan);
  if (finished == Finished::other_scan) {
    one.folder = distinct_folder(one);
    finished = finished_case(request.output + "/" + one.folder, identity, one.scan);
  }
  const std::string folder = request.output + "/" + one.folder;
  Json line = Json::object().set("case", one.folder).set("scan", one.scan).set("folder", folder);
  if (finished == Finished::yes && !request.redo) {
    const std::lock_guard<std::mutex> lock(shared.mutex);
    ++shared.counts.skipped;
    view.line(title + ": finished before, skipped");
    report(request, line.set("status", "skipped"));
    return;
  }
  check_replaceable(folder);
  const Json manifest = run_case(request, segmenter, one, identity, view);
  const double seconds = watch.lap();
  const std::lock_guard<std::mutex> lock(shared.mutex);
  ++shared.counts.done;
  view.line(title + ": " + clock_time(seconds) + ", " + folder);
  Json structures = Json::array();
  for (const Json& each : manifest["structures"].items()) {
    structures.push(
        Json::object().set("name", each["name"]).set("voxels", each["voxels"]).set("volume_mm3", each["volume_mm3"]));
  }
  line.set("status", "done").set("seconds", seconds).set("structures", std::move(structures));
  report(request, line.set("warnings", manifest["warnings"]));
}

/// Takes cases until none is left.
void work(const SegmentRequest& request, const Segmenter& segmenter, const Identity& identity,
          const std::vector<Case>& cases, ProgressView& view, Shared& shared) {
  for (;;) {
    size_t i = 0;
    {
      const std::lock_guard<std::mutex> lock(shared.mutex);
      if (shared.stopped || shared.next == cases.size()) return;
      i = shared.next++;
    }
    const Case& one = cases[i];
    std::string title = one.folder;
    if (cases.size() > 1)
      title.append(" (").append(std::to_string(i + 1) + " of " + std::to_string(cases.size()) + ")");
    if (interrupted()) throw Cancelled("interrupted");
    view.start(title);
    try {
      process(request, segmenter, identity, one, title, view, shared);
    } catch (const Cancelled&) {
      throw;
    } catch (const std::exception& error) {
      const bool memory = dynamic_cast<const std::bad_alloc*>(&error) != nullptr;
      const std::string reason = memory ? "out of memory" : error.what();
      const std::lock_guard<std::mutex> lock(shared.mutex);
      ++shared.counts.failed;
      view.clear();
      std::fprintf(stderr, "sat: %s: %s\n", one.folder.c_str(), reason.c_str());
      report(request,
             Json::object().set("case", one.folder).set("scan", one.scan).set("status", "failed").set("error", reason));
    }
  }
}

/// Each device takes the next case when it is done with one: what a case gives does not depend on the others.
void work_on_all(const SegmentRequest& request, const std::vector<std::unique_ptr<Segmenter>>& segmenters,
                 const Identity& identity, const std::vector<Case>& cases, ProgressView& view, Shared& shared) {
  std::vector<std::thread> others;
  const auto guarded = [&](const Segmenter& segmenter) {
    try {
      work(request, segmenter, identity, cases, view, shared);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(shared.mutex);
      if (!shared.stopped) shared.stopped = std::current_exception();
    }
  };
  for (size_t i = 1; i < segmenters.size(); ++i) others.emplace_back([&, i] { guarded(*segmenters[i]); });
  guarded(*segmenters[0]);
  for (std::thread& other : others) other.join();
  if (shared.stopped) std::rethrow_exception(shared.stopped);
}

}  // namespace

int run(const SegmentRequest& asked) {
  const SegmentRequest request = completed(asked);
  std::vector<Case> cases = cases_of(request);
  watch_for_interrupts();
  const std::vector<std::shared_ptr<Accelerator>> devices = open_devices(request.device);
  ProgressView view(request.quiet, devices.size() > 1 ? ProgressView::Form::lines : ProgressView::Form::bar);
  for (const std::string& remark : remarks_on(request.device)) view.line(remark);
  check_words(request, cases, view);
  make_output_folder(request.output);
  remove_leftovers(request.output);
  view.start("model");
  view.stage("loading");
  std::vector<std::unique_ptr<Segmenter>> segmenters;
  for (const auto& device : devices) {
    SegmenterOptions options = request.segmenter;
    options.accelerator = device;
    segmenters.push_back(std::make_unique<Segmenter>(options));
  }
  const Identity identity = identity_of(*segmenters[0], request.segmenter);

  Shared shared;
  work_on_all(request, segmenters, identity, cases, view, shared);
  view.clear();
  const Counts& counts = shared.counts;
  if (cases.size() > 1) {
    view.line(std::to_string(counts.done) + " done, " + std::to_string(counts.skipped) + " skipped, " +
              std::to_string(counts.failed) + " failed");
  }
  return counts.failed > 0 ? 1 : 0;
}

}  // namespace sat::cli
