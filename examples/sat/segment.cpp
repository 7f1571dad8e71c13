// sat segment: scans and words to masks, case by case.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <set>

#include "examples/sat/case_folder.h"
#include "examples/sat/case_result.h"
#include "examples/sat/cases.h"
#include "examples/sat/command.h"
#include "examples/sat/interrupt.h"
#include "examples/sat/progress.h"
#include "examples/sat/prompt_vocabulary.h"
#include "examples/sat/shipped.h"
#include "sat/nn/embedding_bank.h"
#include "sat/nn/segmenter.h"

namespace sat::cli {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

struct Request {
  SegmenterOptions segmenter;
  ResultOptions result;
  std::string output;
  bool quiet = false, as_json = false, redo = false;
};

Request request_of(const Arguments& arguments) {
  Request request;
  request.output = arguments.needed("--output");
  request.quiet = arguments.has("--quiet");
  request.as_json = arguments.has("--json");
  request.redo = arguments.has("--overwrite");
  request.result.model_space = arguments.has("--model-space");
  request.result.probabilities = arguments.has("--save-probabilities");
  request.result.preview = !arguments.has("--no-preview");
  const std::string format = arguments.value("--format", "nii.gz");
  if (format != "nii.gz" && format != "nii") throw UsageError("--format is '" + format + "', needs nii.gz or nii");
  request.result.mask_extension = "." + format;

  arguments.at_most_one_of({"--bank", "--text-model"});
  SegmenterOptions& options = request.segmenter;
  options.model = arguments.value("--model");
  options.config = arguments.value("--config");
  options.bank = arguments.value("--bank");
  options.text_model = arguments.value("--text-model");
  options.vocabulary = arguments.value("--vocab");
  options.threads = int(arguments.integer("--threads", 0, 0, 1024));
  options.max_ram = arguments.bytes("--max-ram");
  if (!options.text_model.empty() && options.vocabulary.empty()) throw UsageError("--text-model needs --vocab");
  if (arguments.has("--cpu")) {
    try {
      options.cpu = parse_cpu_level(arguments.value("--cpu"));
    } catch (const Error& error) {
      throw UsageError(error.what());
    }
  }
  const bool shipped = options.model.empty();
  if (shipped) options.model = find_shipped(kDefaultModel);
  if (options.model.empty()) throw UsageError("no model lies beside the program; name one with --model");
  if (options.bank.empty() && options.text_model.empty()) {
    if (!shipped) throw UsageError("--model needs --bank, or --text-model with --vocab");
    options.bank = find_shipped(kDefaultBank);
    if (options.bank.empty()) throw UsageError("no bank of prompts lies beside the program; name one with --bank");
  }
  return request;
}

/// Fills in what the arguments say for all cases; a JSON line's own words come first.
std::vector<Case> cases_of(const Arguments& arguments) {
  if (arguments.words().empty()) throw UsageError("segment needs a scan, a folder of scans, or a .jsonl file");
  const std::vector<std::string> prompts = prompts_of(arguments);
  const std::string modality = arguments.value("--modality"), orientation = arguments.value("--orientation");
  std::vector<Case> cases = collect_cases(arguments.words());
  for (Case& one : cases) {
    if (one.prompts.empty()) one.prompts = prompts;
    if (one.modality.empty()) one.modality = modality;
    if (one.orientation.empty()) one.orientation = orientation;
    if (one.prompts.empty()) throw UsageError("--prompts or --prompts-file is missing");
    if (one.modality.empty()) throw UsageError("--modality is missing: ct, mri, pet or us");
    check_prompts(one.prompts);
  }
  return cases;
}

/// Checks on words that can be made before any scan is read.
void check_words(const Request& request, const std::vector<Case>& cases, ProgressView& view) {
  if (!request.segmenter.bank.empty()) {
    const EmbeddingBank bank = read_bank(request.segmenter.bank);
    for (const Case& one : cases) bank_queries(bank, one.prompts, one.modality);  // refuses, with suggestions
    return;
  }
  if (find_shipped(kPromptVocabulary).empty()) return;
  const std::vector<KnownPrompt> vocabulary = read_prompt_vocabulary();
  std::set<std::string> said;
  for (const Case& one : cases) {
    for (const std::string& prompt : one.prompts) {
      const std::string warning = prompt_warning(vocabulary, prompt, one.modality);
      if (!warning.empty() && said.insert(warning).second) view.line("warning: " + warning);
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
Json run_case(const Request& request, const Segmenter& segmenter, const Case& one, const Identity& identity,
              ProgressView& view) {
  const UseContext use(segmenter.context());
  Clock::time_point start = Clock::now();
  std::optional<InterruptScope> interruptible(std::in_place, segmenter.context());
  view.stage("reading");
  const NiftiScan scan = read_nifti(one.scan);
  const Json fingerprint = scan_fingerprint(one.scan);
  const double reading = seconds_since(start);

  CaseFolder folder(request.output, one.folder);
  std::optional<MappedScratch> scratch;
  RunOptions run;
  run.modality = one.modality;
  run.orientation = one.orientation;
  run.space = request.result.model_space ? Space::model : Space::scan;
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

void report(const Request& request, Json line) {
  if (!request.as_json) return;
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
}

void process(const Request& request, const Segmenter& segmenter, Identity identity, Case one, const std::string& title,
             ProgressView& view, Counts& counts) {
  const Clock::time_point start = Clock::now();
  identity.request = request_json(one, request.result);
  Finished finished = finished_case(request.output + "/" + one.folder, identity, one.scan);
  if (finished == Finished::other_scan) {
    one.folder = distinct_folder(one);
    finished = finished_case(request.output + "/" + one.folder, identity, one.scan);
  }
  const std::string folder = request.output + "/" + one.folder;
  Json line = Json::object().set("case", one.folder).set("scan", one.scan).set("folder", folder);
  if (finished == Finished::yes && !request.redo) {
    ++counts.skipped;
    view.line(title + ": finished before, skipped");
    report(request, line.set("status", "skipped"));
    return;
  }
  check_replaceable(folder);
  const Json manifest = run_case(request, segmenter, one, identity, view);
  ++counts.done;
  view.line(title + ": " + clock_time(seconds_since(start)) + ", " + folder);
  Json structures = Json::array();
  for (const Json& each : manifest["structures"].items()) {
    structures.push(
        Json::object().set("name", each["name"]).set("voxels", each["voxels"]).set("volume_mm3", each["volume_mm3"]));
  }
  line.set("status", "done").set("seconds", seconds_since(start)).set("structures", std::move(structures));
  report(request, line.set("warnings", manifest["warnings"]));
}

int run(const Arguments& arguments) {
  const Request request = request_of(arguments);
  const std::vector<Case> cases = cases_of(arguments);
  watch_for_interrupts();
  ProgressView view(request.quiet);
  check_words(request, cases, view);
  make_output_folder(request.output);
  remove_leftovers(request.output);
  view.start("model");
  view.stage("loading");
  const Segmenter segmenter(request.segmenter);
  const Identity identity = identity_of(segmenter, request.segmenter);

  Counts counts;
  for (size_t i = 0; i < cases.size(); ++i) {
    const Case& one = cases[i];
    std::string title = one.folder;
    if (cases.size() > 1)
      title.append(" (").append(std::to_string(i + 1) + " of " + std::to_string(cases.size()) + ")");
    if (interrupted()) throw Cancelled("interrupted");
    view.start(title);
    try {
      process(request, segmenter, identity, one, title, view, counts);
    } catch (const Cancelled&) {
      throw;
    } catch (const std::exception& error) {
      const bool memory = dynamic_cast<const std::bad_alloc*>(&error) != nullptr;
      const std::string reason = memory ? "out of memory" : error.what();
      ++counts.failed;
      view.clear();
      std::fprintf(stderr, "sat: %s: %s\n", one.folder.c_str(), reason.c_str());
      report(request,
             Json::object().set("case", one.folder).set("scan", one.scan).set("status", "failed").set("error", reason));
    }
  }
  view.clear();
  if (cases.size() > 1) {
    view.line(std::to_string(counts.done) + " done, " + std::to_string(counts.skipped) + " skipped, " +
              std::to_string(counts.failed) + " failed");
  }
  return counts.failed > 0 ? 1 : 0;
}

}  // namespace

Command segment_command() {
  return {
      "segment",
      "find structures in scans by name",
      "SCAN... --prompts a,\"b c\" --modality ct|mri|pet|us -o DIR [--model M (--bank B | --text-model T --vocab V)]",
      "SCAN is a NIfTI file, a folder of them, or a .jsonl file with one request a line (image, label, modality, "
      "dataset, and perhaps orientation_code). Each case gets a folder DIR/NAME with masks/, a label map "
      "(labels.nii.gz) and its legends, statistics.json, preview.png and manifest.json, all on the scan's own grid. "
      "Finished cases are skipped when the same command is given again; an interrupted run leaves no partial case. "
      "Without --model the shipped model and its bank of prompts are used.",
      {{"--prompts", "LIST", "names of structures, separated by commas; a name with a comma in double quotes"},
       {"--prompts-file", "FILE", "names of structures, one a line"},
       {"--modality", "M", "what made the scan: ct, mri, pet or us"},
       {"-o, --output", "DIR", "where the cases' folders go"},
       {"--model", "FILE", "segmentation model (.safetensors, .pth)"},
       {"--config", "FILE", "JSON description of a model that has none of its own"},
       {"--bank", "FILE", "prompts encoded before (sat bank)"},
       {"--text-model", "FILE", "text encoder, to encode prompts now"},
       {"--vocab", "FILE", "its word pieces (vocab.txt)"},
       {"--orientation", "CODE", "axes that the network sees, three letters such as ASR; default: the model's"},
       {"--model-space", "", "write masks on the network's own grid (resampled and cropped), and the image there"},
       {"--save-probabilities", "", "also write each structure's probabilities (f32, .nii)"},
       {"--format", "F", "of masks: nii.gz (default) or nii"},
       {"--no-preview", "", "no preview.png"},
       {"--overwrite", "", "redo finished cases"},
       {"--threads", "N", "0: as many as the machine has (default)"},
       {"--max-ram", "BYTES", "refuse what would need more memory, for example 6G"},
       {"--cpu", "LEVEL", "plain, avx2 or avx512; default: the best this processor has"},
       {"--quiet", "", "nothing on stderr but errors"},
       {"--json", "", "one line of JSON a case on stdout"}},
      "  sat segment ct.nii.gz --prompts \"spinal cord,brainstem\" --modality ct -o results\n"
      "  sat segment scans/ --prompts-file organs.txt --modality mri -o results --max-ram 6G --json\n"
      "  sat segment ct.nii.gz --prompts liver --modality ct --model nano.safetensors \\\n"
      "      --text-model nano-text.safetensors --vocab vocab.txt -o results\n",
      run};
}

}  // namespace sat::cli
