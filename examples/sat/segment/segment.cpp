// sat segment: scans and words to masks, case by case.
#include <condition_variable>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "examples/sat/cases.h"
#include "examples/sat/command_line/command_line.h"
#include "examples/sat/interrupt.h"
#include "examples/sat/memory_limits.h"
#include "examples/sat/output/output.h"
#include "examples/sat/output/progress.h"
#include "examples/sat/segment/case_folder.h"
#include "examples/sat/segment/case_run.h"
#include "examples/sat/shipped.h"
#include "examples/sat/tools/prompt_vocabulary.h"
#include "sat/io/words/modality.h"
#include "sat/io/words/text.h"
#include "sat/nn/run/session.h"
#include "sat/nn/text/embedding_bank.h"
#include "sat/tensor/memory/machine.h"
#include "sat/tensor/profile.h"

namespace sat::cli {

namespace {

/// The request with the shipped model and bank where it names none.
SegmentRequest completed(SegmentRequest request) {
  ModelOptions& options = request.model;
  complete_with_shipped(options);
  options.machine_bytes = memory_limit().bytes;
  options.threads = request.session.threads;
  options.max_ram = request.session.max_ram;
  options.cancelled = request.session.cancelled = interrupted;  // loading, reading and writing too
  if (request.session.scratch.empty() && !request.no_scratch) request.session.scratch = request.output;
  request.session.spill_above = spill_above();
  // What a manifest or a line of JSON names must be UTF-8; better said now than after the work.
  for (const std::string& path : {request.output, options.model, options.bank, options.text_model}) {
    if (!path.empty() && !is_utf8(absolute_path(path))) {
      throw UsageError("the path " + sat::quoted(absolute_path(path)) +
                       " is not UTF-8, so that no manifest could name it");
    }
  }
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
    if (one.modality.empty()) throw UsageError(std::string("--modality is missing: ") + kModalityWords);
  }
  return cases;
}

/// Checks on words that can be made before any scan is read. What is wrong with a JSON line is kept for its turn.
void check_words(const SegmentRequest& request, std::vector<Case>& cases, ProgressView& view) {
  std::optional<EmbeddingBank> bank;
  if (!request.model.bank.empty()) bank = read_bank(request.model.bank);
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

std::string name_of_folder(const std::string& folder) { return std::filesystem::path(folder).filename().string(); }

struct Counts {
  int done = 0, skipped = 0, failed = 0;
};

/// What the devices share while each works on a case of its own.
struct Shared {
  std::mutex mutex;  // of all below
  size_t next = 0;   // case
  Counts counts;
  std::set<std::string> busy;    // plain names of cases under way: two of one name could be of one folder
  std::condition_variable turn;  // a name is free again
  std::set<std::string> made;    // folders that were written
  std::exception_ptr stopped;    // by whom the others are stopped too
};

/// A case's turn among those of its name.
class Turn {
 public:
  Turn(Shared& shared, const std::string& name) : shared_(shared), name_(name) {
    std::unique_lock<std::mutex> lock(shared_.mutex);
    shared_.turn.wait(lock, [&] { return shared_.busy.count(name_) == 0; });
    shared_.busy.insert(name_);
  }
  ~Turn() {
    const std::lock_guard<std::mutex> lock(shared_.mutex);
    shared_.busy.erase(name_);
    shared_.turn.notify_all();
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  Shared& shared_;
  std::string name_;
};

/// Masks are worth more than their line: what cannot be printed stops nothing, and is said at the end.
void report(const SegmentRequest& request, const Json& line) {
  if (request.as_json) print_now(line.dump() + "\n");
}

Json list(const std::vector<std::string>& texts) {
  Json items = Json::array();
  for (const std::string& text : texts) items.push(text);
  return items;
}

void process(const SegmentRequest& request, const Session& session, const Identity& identity, const Case& one,
             const std::string& title, ProgressView& view, Shared& shared) {
  if (!one.error.empty()) fail(one.error);
  const Turn turn(shared, one.folder);
  profile::Stopwatch watch;
  const auto made = [&](const std::string& folder) {
    const std::lock_guard<std::mutex> lock(shared.mutex);
    return shared.made.count(folder) > 0;
  };
  const CaseOutcome outcome = run_case(request, session, identity, one, made, view);
  const double seconds = watch.lap();
  Json line = Json::object().set("case", name_of_folder(outcome.folder)).set("scan", one.scan);
  line.set("folder", outcome.folder);
  if (!outcome.changed.empty()) line.set("changed", list(outcome.changed));
  if (!outcome.replaced.empty()) line.set("replaced", outcome.replaced);
  const std::lock_guard<std::mutex> lock(shared.mutex);
  if (outcome.skipped) {
    ++shared.counts.skipped;
    view.line(title + ": finished before, skipped");
    report(request, line.set("status", "skipped"));
    return;
  }
  ++shared.counts.done;
  shared.made.insert(name_of_folder(outcome.folder));
  const std::string why = outcome.replaced.empty() ? "" : " (done again: " + outcome.replaced + ")";
  view.line(title + ": " + clock_time(seconds) + ", " + outcome.folder + why);
  Json structures = Json::array();
  for (const Json& each : outcome.manifest["structures"].items()) {
    structures.push(
        Json::object().set("name", each["name"]).set("voxels", each["voxels"]).set("volume_mm3", each["volume_mm3"]));
  }
  line.set("status", "done").set("seconds", seconds).set("structures", std::move(structures));
  report(request, line.set("warnings", outcome.manifest["warnings"]));
}

/// Takes cases until none is left.
void work(const SegmentRequest& request, const Session& session, const Identity& identity,
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
      process(request, session, identity, one, title, view, shared);
    } catch (const Cancelled&) {
      throw;
    } catch (const std::exception& error) {
      const std::string reason = message_of(error);
      const std::lock_guard<std::mutex> lock(shared.mutex);
      ++shared.counts.failed;
      view.clear();
      say("sat: " + one.folder + ": " + reason);
      const Json what = failure_json(kind_of(error), reason, {one.scan});
      report(request,
             Json::object().set("case", one.folder).set("scan", one.scan).set("status", "failed").set("error", what));
    }
  }
}

/// Each device takes the next case when it is done with one: what a case gives does not depend on the others.
void work_on_all(const SegmentRequest& request, const std::vector<Session>& sessions, const Identity& identity,
                 const std::vector<Case>& cases, ProgressView& view, Shared& shared) {
  std::vector<std::thread> others;
  others.reserve(sessions.size());
  const auto guarded = [&](const Session& session) {
    try {
      work(request, session, identity, cases, view, shared);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(shared.mutex);
      if (!shared.stopped) shared.stopped = std::current_exception();
    }
  };
  for (size_t i = 1; i < sessions.size(); ++i) {
    try {
      others.emplace_back([&, i] { guarded(sessions[i]); });
    } catch (...) {  // no thread, or no memory for one: those that work are told to stop, and waited for
      const std::lock_guard<std::mutex> lock(shared.mutex);
      if (!shared.stopped) shared.stopped = std::current_exception();
    }
  }
  guarded(sessions[0]);
  for (std::thread& other : others) other.join();
  if (shared.stopped) std::rethrow_exception(shared.stopped);
}

}  // namespace

int run(const SegmentRequest& asked) {
  const SegmentRequest request = completed(asked);
  std::vector<Case> cases = cases_of(request);
  const std::vector<DeviceHandle> devices =
      failing_as(FailureKind::device, [&] { return open_devices(request.device); });
  ProgressView view(request.quiet, devices.size() > 1 ? ProgressView::Form::lines : ProgressView::Form::bar);
  for (const std::string& remark : remarks_on(request.device)) view.line(remark);
  check_words(request, cases, view);
  failing_as(FailureKind::output, [&] { make_output_folder(request.output); });
  if (!failing_as(FailureKind::output, [&] { return clean_output_folder(request.output); })) {
    view.line("warning: the file system of " + request.output +
              " has no locks: let no other run write there at the same time");
  }
  view.start("model");
  view.stage("loading");
  std::vector<Session> sessions;
  for (const DeviceHandle& device : devices) {
    ModelOptions options = request.model;
    options.device = device;
    sessions.emplace_back(Model::open(options), request.session);
  }
  const Identity identity = identity_of(sessions[0].model());

  watch_for_interrupts();  // from here on something could be left behind
  Shared shared;
  work_on_all(request, sessions, identity, cases, view, shared);
  view.clear();
  const Counts& counts = shared.counts;
  if (cases.size() > 1) {
    view.line(std::to_string(counts.done) + " done, " + std::to_string(counts.skipped) + " skipped, " +
              std::to_string(counts.failed) + " failed");
  }
  return counts.failed == 0 ? kDone : cases.size() > 1 ? kSomeFailed : kFailed;
}

}  // namespace sat::cli
