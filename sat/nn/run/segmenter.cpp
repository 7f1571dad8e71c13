// One case from scan to masks, one call a step; and the plan of it.
#include "sat/nn/run/segmenter.h"

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

#include "sat/io/files/disk_room.h"
#include "sat/io/masks/restore.h"
#include "sat/io/scans/scan_checks.h"
#include "sat/io/words/modality.h"
#include "sat/nn/run/segment_volume.h"
#include "sat/nn/sat/model_file.h"
#include "sat/nn/text/embedding_bank.h"
#include "sat/nn/text/text_file.h"
#include "sat/tensor/accelerator.h"
#include "sat/tensor/memory/memory.h"
#include "sat/tensor/profile.h"

namespace sat {

namespace {

/// What a process holds beside its tensors: code, stacks, and the buffers of readers and writers.
constexpr int64_t kProgramBytes = int64_t(96) << 20;

/// "204015744 bytes (195 MiB)", rounded up, so that the MiB given as a limit are enough.
std::string in_bytes(int64_t bytes) {
  return std::to_string(bytes) + " bytes (" + std::to_string((bytes >> 20) + (bytes % (1 << 20) != 0)) + " MiB)";
}

/// A context that can be cancelled by `cancelled`, where that is set, while this lives.
class CancelScope {
 public:
  CancelScope(Context& context, const std::function<bool()>& cancelled)
      : context_(context), before_(context.on_cancelled()) {
    if (cancelled) context_.set_cancelled(cancelled);
  }
  ~CancelScope() { context_.set_cancelled(std::move(before_)); }
  CancelScope(const CancelScope&) = delete;
  CancelScope& operator=(const CancelScope&) = delete;

 private:
  Context& context_;
  std::function<bool()> before_;
};

/// The planned memory of a run on an accelerator, asked for at once: while this lives, nothing more is.
class DeviceRoom {
 public:
  DeviceRoom(const std::shared_ptr<Accelerator>& accelerator, const std::vector<int64_t>& chunks) {
    if (!accelerator) return;
    arena_ = accelerator->memory();
    arena_->trim();
    arena_->reserve(chunks.size() > 1 ? chunks[1] : 0);
    arena_->seal(true);
  }
  ~DeviceRoom() {
    if (!arena_) return;
    arena_->seal(false);
    arena_->trim();
  }
  DeviceRoom(const DeviceRoom&) = delete;
  DeviceRoom& operator=(const DeviceRoom&) = delete;

 private:
  std::shared_ptr<Arena> arena_;
};

PreprocessOptions preprocess_options(const SatConfig& config, const RunOptions& run) {
  const ModalityConfig& modality = config.modality(run.modality);
  return {run.orientation.empty() ? config.orientation : run.orientation, modality.spacing_mm, modality.normalisation};
}

SegmentationPlan plan_grids(const SatConfig& config, const ModelGrid& grid, const RunOptions& run, int64_t prompts,
                            int64_t max_ram, int64_t text_bytes, Scratch scratch, int64_t spill_above) {
  SAT_CHECK(prompts > 0, "there are no prompts");
  const ModalityConfig& modality = config.modality(run.modality);
  const ModelGrid target = run.space == Space::scan ? grid : model_space(grid);
  const int64_t kept_queries = text_bytes > 0 ? prompts * config.text_dim * int64_t(sizeof(float)) : 0;
  const int64_t most = (max_ram > 0 ? max_ram : spill_above) - kProgramBytes - kept_queries;
  const Rehearsal rehearsal =
      rehearse(config, modality, prompts, grid, target, scratch == Scratch::offered ? most : INT64_MAX);
  SegmentationPlan plan;
  plan.windows = rehearsal.windows;
  plan.window = modality.window;
  plan.grid = grid.resampled.size;
  plan.weights_bytes = rehearsal.weights_bytes;
  // Prompts are encoded while the scan and the model are there and nothing else is.
  const int64_t scan_bytes = grid.scan.voxels() * int64_t(sizeof(float));
  plan.tensor_bytes = std::max(rehearsal.peak_bytes, rehearsal.weights_bytes + scan_bytes + text_bytes) + kept_queries;
  plan.process_bytes = plan.tensor_bytes + kProgramBytes;
  const int64_t probability_bytes = target.scan.voxels() * prompts * int64_t(sizeof(float));
  if (run.probabilities_on_disk) {
    plan.probability_bytes = probability_bytes;
  } else if (run.probabilities) {
    plan.process_bytes += probability_bytes;
  }
  plan.slow_axis = rehearsal.plan.axis;
  plan.waiting = rehearsal.plan.waiting;
  plan.scratch_bytes = rehearsal.scratch_bytes;
  if (const auto& accelerator = Context::current().accelerator()) {
    plan.device_chunks = rehearsal.device_chunks;
    plan.device_bytes = rehearsal.device_bytes() + accelerator->fixed_bytes();
    const int64_t room = accelerator->memory()->max_bytes();
    if (room != 0 && rehearsal.device_bytes() > room) {
      fail_as<MemoryError>("this run needs ", in_bytes(plan.device_bytes), " of ", accelerator->name(),
                           ", the limit is ", in_bytes(room + accelerator->fixed_bytes()));
    }
  }
  if (max_ram > 0 && plan.process_bytes > max_ram) {
    fail_as<MemoryError>("this run needs ", in_bytes(plan.process_bytes), " of memory, the limit is ",
                         in_bytes(max_ram));
  }
  return plan;
}

/// Do two words stand for one modality? A model may know others than text encoders do.
bool same_modality(const std::string& a, const std::string& b) {
  const std::optional<Modality> of_a = find_modality(a), of_b = find_modality(b);
  return of_a && of_b ? *of_a == *of_b : a == b;
}

/// Everything that looks wrong with a scan before the network has seen it.
std::vector<std::string> doubts_of(const Volume& scan, const RunOptions& run, const ModelCard& card) {
  std::vector<std::string> doubts = run.scan_warnings;
  for (const std::string& doubt : content_warnings(scan, run.modality)) doubts.push_back(doubt);
  for (const ModelCard::Entry& entry : card.entries) {
    if (!same_modality(entry.modality, run.modality)) continue;
    const std::string doubt = region_warning(entry, scan.geometry);
    if (!doubt.empty()) doubts.push_back(doubt);
  }
  if (run.strict && !doubts.empty()) {
    std::string all;
    for (const std::string& doubt : doubts) all += (all.empty() ? "" : "; ") + doubt;
    fail("refused, as the run is strict: ", all);
  }
  return doubts;
}

}  // namespace

SegmentationPlan plan_segmentation(const SatConfig& config, const Geometry& scan, const RunOptions& run,
                                   int64_t prompts, int64_t max_ram, int64_t text_bytes, Scratch scratch,
                                   int64_t spill_above) {
  const ModelGrid grid = plan_grid(scan, preprocess_options(config, run));
  return plan_grids(config, grid, run, prompts, max_ram, text_bytes, scratch, spill_above);
}

namespace {

/// What a plan depends on beside the segmenter.
using PlanKey =
    std::tuple<std::array<int64_t, 3>, decltype(Affine::m), std::string, std::string, Space, bool, bool, int64_t>;

}  // namespace

struct Segmenter::State {
  SegmenterOptions options;
  Context context;
  ModelFile file;
  std::optional<SatModel> model;
  std::optional<EmbeddingBank> bank;
  std::string text_identity;
  int64_t text_bytes = 0;
  bool pairing_checked = false;
  std::optional<std::pair<PlanKey, SegmentationPlan>> planned;    // the last scan's, which is asked for more than once
  std::map<std::pair<std::string, std::string>, Tensor> queries;  // by modality and prompt: [text_dim]

  explicit State(const SegmenterOptions& chosen) : options(chosen), context(context_options(chosen)) {}

  Scratch scratch() const { return options.scratch.empty() ? Scratch::none : Scratch::offered; }

  static ContextOptions context_options(const SegmenterOptions& chosen) {
    if (chosen.max_ram > 0 && chosen.max_ram <= kProgramBytes) {
      fail_as<MemoryError>("the memory limit of ", in_bytes(chosen.max_ram), " is less than the program itself needs, ",
                           in_bytes(kProgramBytes));
    }
    ContextOptions options;
    options.threads = chosen.threads;
    options.max_bytes = chosen.max_ram > 0 ? chosen.max_ram - kProgramBytes : 0;
    options.cpu = chosen.cpu;
    options.precision = chosen.precision;
    options.accelerator = chosen.accelerator;
    options.cancelled = chosen.cancelled;
    return options;
  }

  /// What precision and device cost on the middle window of a prepared scan.
  Verification verify(const Tensor& voxels, const ModalityConfig& modality, const Tensor& asked) {
    ContextOptions of_exact = context_options(options);
    of_exact.accelerator = nullptr;
    of_exact.precision = Precision::exact;
    of_exact.cancelled = context.on_cancelled();
    if (of_exact.max_bytes > 0) of_exact.max_bytes -= context.memory()->live_bytes();
    Context exact(of_exact);
    const WindowGrid windows({voxels.shape[0], voxels.shape[1], voxels.shape[2]}, modality.window);
    const Tensor window = cut_window(voxels, windows[windows.size() / 2], modality.window);
    UseContext use(exact);
    const ModelFile again = open_model_file(options.model, options.config);
    return verify_window(*model, context, SatModel(again.weights, again.config), exact, window, asked);
  }

  /// Queries [N, text_dim] of prompts, from the bank or the text encoder; the encoder is loaded only for prompts that
  /// were not asked for before, and leaves memory before the network runs.
  Tensor encode(const std::vector<std::string>& prompts, const std::string& modality) {
    if (bank) return bank_queries(*bank, prompts, modality);
    SAT_CHECK(!options.text_model.empty(), "there is neither a bank of prompt embeddings nor a text encoder for '",
              prompts[0], "'");
    std::vector<std::string> fresh;
    for (const std::string& prompt : prompts) {
      if (!queries.count({modality, prompt})) fresh.push_back(prompt);
    }
    if (!fresh.empty()) {
      const TextEncoder encoder = open_text_encoder(options.text_model, options.vocabulary);
      for (size_t first = 0; first < fresh.size(); first += kPromptsAtOnce) {
        const auto end = std::min(first + kPromptsAtOnce, fresh.size());
        const std::vector<std::string> some(fresh.begin() + int64_t(first), fresh.begin() + int64_t(end));
        const Tensor encoded = encoder.encode(some, modality);
        for (size_t i = 0; i < some.size(); ++i) queries[{modality, some[i]}] = encoded.select(int64_t(i));
      }
    }
    const int64_t width = model->config().text_dim;
    Tensor rows({int64_t(prompts.size()), width});
    for (size_t i = 0; i < prompts.size(); ++i) {
      const Tensor& row = queries.at({modality, prompts[i]});
      std::copy_n(row.data<float>(), width, rows.data<float>() + int64_t(i) * width);
    }
    return rows;
  }
};

Segmenter::Segmenter(const SegmenterOptions& options) : state_(std::make_unique<State>(options)) {
  SAT_CHECK(!options.model.empty(), "no model was named");
  SAT_CHECK(options.bank.empty() || options.text_model.empty(),
            "both a bank and a text encoder were named; one is used");
  State& state = *state_;
  if (!options.bank.empty()) state.bank = read_bank(options.bank);  // small; among what the program itself holds
  UseContext use(state.context);
  state.file = open_model_file(options.model, options.config);
  const int64_t needed = loading_bytes(state.file.config) + kProgramBytes;
  const int64_t most = options.max_ram > 0 ? options.max_ram : options.machine_bytes;
  if (most > 0 && needed > most) {
    fail_as<MemoryError>(options.model, ": loading this model needs ", in_bytes(needed), " of memory, the limit is ",
                         in_bytes(most));
  }
  if (state.bank) {
    state.text_identity = state.bank->text_identity;
    const std::string& made_for = state.bank->model_identity;
    SAT_CHECK(made_for.empty() || made_for == state.file.identity, options.bank, ": this bank was made for the model ",
              made_for.substr(0, 12), "..., not for ", options.model, " (", state.file.identity.substr(0, 12), "...)");
    state.pairing_checked = !made_for.empty();
  } else if (!options.text_model.empty()) {
    const TextFile text = open_text_file({options.text_model});
    state.text_identity = text.identity;
    state.text_bytes = encoding_bytes(text);
  }
  if (!state.text_identity.empty()) {
    const std::string& path = options.bank.empty() ? options.text_model : options.bank;
    if (check_pairing(state.file, path, state.text_identity)) state.pairing_checked = true;
  }
  if (const auto& accelerator = state.context.accelerator()) {
    accelerator->memory()->reserve(device_weights_bytes(state.file.config));
  }
  state.model.emplace(state.file.weights, state.file.config);
  state.file.weights = Weights();  // the file can go; the packed layers stay
}

Segmenter::~Segmenter() = default;
Segmenter::Segmenter(Segmenter&&) noexcept = default;

const SatConfig& Segmenter::config() const { return state_->model->config(); }
const std::string& Segmenter::model_identity() const { return state_->file.identity; }
const std::string& Segmenter::text_identity() const { return state_->text_identity; }
std::string Segmenter::device() const {
  const auto& accelerator = state_->context.accelerator();
  return accelerator ? accelerator->name() : "cpu";
}
Context& Segmenter::context() const { return state_->context; }

SegmentationPlan Segmenter::plan(const Geometry& scan, const RunOptions& run, int64_t prompts) const {
  State& state = *state_;
  PlanKey key(scan.size, scan.voxel_to_world_mm.m, run.modality, run.orientation, run.space, run.probabilities_on_disk,
              !run.probabilities_on_disk && run.probabilities, prompts);
  if (!state.planned || state.planned->first != key) {
    UseContext use(state.context);
    const CancelScope cancel(state.context, run.cancelled);
    SegmentationPlan made = plan_segmentation(config(), scan, run, prompts, state.options.max_ram, state.text_bytes,
                                              state.scratch(), state.options.spill_above);
    state.planned.emplace(std::move(key), std::move(made));
  }
  return state.planned->second;
}

Segmentation Segmenter::run(const Volume& scan, const std::vector<std::string>& prompts, const RunOptions& run) const {
  SAT_CHECK(!prompts.empty(), "there are no prompts");
  plan(scan.geometry, run, int64_t(prompts.size()));  // refuses what does not fit, or a modality that is not known
  UseContext use(state_->context);
  const CancelScope cancel(state_->context, run.cancelled);
  state_->context.memory()->reset_peak();
  profile::Stopwatch watch;
  const Tensor queries = state_->encode(prompts, run.modality);
  const double seconds = watch.lap();
  const int64_t encoding_peak = state_->context.memory()->peak_bytes();
  Segmentation result = this->run(scan, prompts, queries, run);
  result.peak_bytes = std::max(result.peak_bytes, encoding_peak);
  result.stages.insert(result.stages.begin(), {"encode prompts", seconds});
  result.pairing_checked = state_->pairing_checked;
  if (!result.pairing_checked) {
    result.warnings.push_back("the model's file does not say which text encoder belongs to it: unchecked");
    if (run.on_warning) run.on_warning(result.warnings.back());
  }
  return result;
}

Segmentation Segmenter::run(const Volume& scan, const std::vector<std::string>& prompts, const Tensor& queries,
                            const RunOptions& run) const {
  SAT_CHECK(queries.shape == Shape({int64_t(prompts.size()), config().text_dim}) && !prompts.empty(),
            "queries have shape ", queries.shape, ", need [", prompts.size(), ", ", config().text_dim, "]");
  State& state = *state_;
  const SegmentationPlan of_whole_scan = plan(scan.geometry, run, int64_t(prompts.size()));
  UseContext use(state.context);
  const CancelScope cancel(state.context, run.cancelled);
  state.context.memory()->reset_peak();
  const ModalityConfig& modality = config().modality(run.modality);
  const auto progress = [&](const Progress& now) {
    if (run.on_progress) run.on_progress(now);
  };

  Segmentation result;
  result.prompts = prompts;
  profile::Stopwatch watch;

  progress({"preprocess", 0, 0, 0});
  result.doubts = doubts_of(scan, run, state.bank ? state.bank->card : ModelCard());
  result.warnings = result.doubts;
  Preprocessed prepared = preprocess(scan, preprocess_options(config(), run));
  result.grid = prepared.grid;
  result.warnings.insert(result.warnings.end(), prepared.warnings.begin(), prepared.warnings.end());
  for (const std::string& warning : result.warnings) {
    if (run.on_warning) run.on_warning(warning);
  }
  result.stages.push_back({"preprocess", watch.lap()});

  const bool cropped = prepared.grid.model.size != prepared.grid.resampled.size;
  result.plan = cropped ? plan_grids(config(), prepared.grid, run, int64_t(prompts.size()), state.options.max_ram,
                                     state.text_bytes, state.scratch(), state.options.spill_above)
                        : of_whole_scan;
  check_disk_room({{state.options.scratch, result.plan.scratch_bytes, "features of windows"}});
  if (run.on_plan) run.on_plan(result.plan);
  result.windows = result.plan.windows;
  result.stages.push_back({"plan", watch.lap()});
  const ModelGrid target = run.space == Space::scan ? prepared.grid : model_space(prepared.grid);
  std::vector<float*> probabilities;
  if (run.probabilities) probabilities = run.probabilities(target.scan);
  SAT_CHECK(probabilities.empty() || probabilities.size() == prompts.size(), probabilities.size(),
            " probability volumes for ", prompts.size(), " prompts");

  if (run.verify) {
    progress({"verify", 0, 0, 0});
    const DeviceRoom room(state.context.accelerator(), result.plan.device_chunks);
    result.verification = state.verify(prepared.voxels, modality, queries);
    result.stages.push_back({"verify", watch.lap()});
  }
  const BlendPlan blend{result.plan.slow_axis, result.plan.waiting, state.options.scratch};
  const RowSink sink = [&](const Tensor& scores, const std::array<int64_t, 3>& origin, int64_t first, int64_t last,
                           int64_t first_prompt) {
    if (result.masks.prompts == 0) result.masks = BitMasks(target.scan.size, int64_t(prompts.size()));
    restore_rows(result.masks, target, scores, origin, blend.axis, first, last, first_prompt,
                 probabilities.empty() ? nullptr : probabilities.data() + first_prompt);
  };
  const DeviceRoom room(state.context.accelerator(), result.plan.device_chunks);
  const WindowLoop spent = segment_volume(*state.model, std::move(prepared.voxels), modality, queries, blend, sink,
                                          [&](int64_t done, int64_t windows, double fraction) {
                                            progress({"network", done, windows, fraction});
                                          });
  result.stages.push_back({"network", spent.network_seconds});
  result.stages.push_back({"blend", spent.blend_seconds});
  result.stages.push_back({"restore", spent.sink_seconds});
  result.peak_bytes = state.context.memory()->peak_bytes();
  if (state.context.accelerator()) {
    state.context.accelerator()->finish();
    result.device_peak_bytes =
        state.context.accelerator()->memory()->peak_bytes() + state.context.accelerator()->fixed_bytes();
  }
  return result;
}

}  // namespace sat
