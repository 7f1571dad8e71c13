// One case from scan to masks, one call a step.
#include "sat/nn/run/session.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "sat/io/files/disk_room.h"
#include "sat/io/masks/restore.h"
#include "sat/io/scans/scan_checks.h"
#include "sat/io/words/modality.h"
#include "sat/nn/run/dry_run.h"
#include "sat/nn/run/segment_volume.h"
#include "sat/nn/run/verify.h"
#include "sat/nn/sat/model_file.h"
#include "sat/nn/text/embedding_bank.h"
#include "sat/nn/text/text_file.h"
#include "sat/tensor/memory/block_allocator.h"
#include "sat/tensor/memory/memory.h"
#include "sat/tensor/profile.h"

namespace sat {

namespace {

constexpr size_t kPromptsAtOnce = 16;  // encoded together: enough rows for the matrix products, and progress between

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

/// The planned memory of a run on a device, asked for at once: while this lives, nothing more is.
class DeviceRoom {
 public:
  DeviceRoom(const Context& context, int64_t bytes) : memory_(context.planned_memory()) {
    if (!memory_) return;
    memory_->trim();
    memory_->reserve(bytes);
    memory_->seal(true);
  }
  ~DeviceRoom() {
    if (!memory_) return;
    memory_->seal(false);
    memory_->trim();
  }
  DeviceRoom(const DeviceRoom&) = delete;
  DeviceRoom& operator=(const DeviceRoom&) = delete;

 private:
  std::shared_ptr<BlockAllocator> memory_;
};

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

/// What a plan depends on beside the session.
using PlanKey = std::tuple<std::array<int64_t, 3>, decltype(Affine::m), std::array<int64_t, 3>, std::string,
                           std::string, Space, bool, bool, bool, int64_t>;

ContextOptions context_options(const Model& model, const SessionOptions& chosen) {
  ContextOptions options = model.context_options();
  options.threads = chosen.threads;
  if (chosen.max_ram > 0) {
    const int64_t taken = kProgramBytes + model.bytes().on_host;
    if (chosen.max_ram <= taken) {
      fail_as<MemoryError>("the memory limit of ", in_bytes(chosen.max_ram),
                           " is less than the program and the model need, ", in_bytes(taken));
    }
    options.max_bytes = chosen.max_ram - taken;
  }
  options.cancelled = chosen.cancelled;
  return options;
}

}  // namespace

struct Session::State {
  std::shared_ptr<const Model> model;
  SessionOptions options;
  Context context;
  std::optional<std::pair<PlanKey, SegmentationPlan>> planned;    // the last one, which is asked for more than once
  std::map<std::pair<std::string, std::string>, Tensor> queries;  // by modality and prompt: [text_dim]

  State(std::shared_ptr<const Model> of, const SessionOptions& chosen)
      : model(std::move(of)), options(chosen), context(context_options(*model, chosen)) {}

  const SegmentationPlan& plan(const ModelGrid& grid, const RunOptions& run, int64_t prompts) {
    PlanKey key(grid.scan.size, grid.scan.voxel_to_world_mm.m, grid.model.size, run.modality, run.orientation,
                run.space, run.model_masks, run.probabilities_on_disk, !run.probabilities_on_disk && run.probabilities,
                prompts);
    if (!planned || planned->first != key) {
      const PlanLimits limits{options.max_ram, options.spill_above, !options.scratch.empty(), model->text_bytes()};
      SegmentationPlan made = plan_segmentation(model->network(), model->bytes(), grid, run, prompts, limits);
      planned.emplace(std::move(key), std::move(made));
    }
    return planned->second;
  }

  /// What precision and device cost on the middle window of a prepared scan.
  Verification verify(const Tensor& voxels, const ModalityConfig& modality, const Tensor& asked) {
    ContextOptions of_exact;
    of_exact.threads = options.threads;
    of_exact.cpu = context.cpu();
    of_exact.cancelled = context.on_cancelled();
    const int64_t live = context.memory()->live_bytes();
    if (context.memory()->max_bytes() > 0) of_exact.max_bytes = context.memory()->max_bytes() - live;
    Context exact(of_exact);
    const WindowGrid windows({voxels.shape[0], voxels.shape[1], voxels.shape[2]}, modality.window);
    const Tensor window = cut_window(voxels, windows[windows.size() / 2], modality.window);
    UseContext use(exact);
    const ModelFile again = open_model_file(model->options().model, model->options().config);
    return verify_window(model->network(), context, SatModel(again.weights, again.config), exact, window, asked);
  }

  /// Queries [N, text_dim] of prompts, from the bank or the text encoder; the encoder is loaded only for prompts that
  /// were not asked for before, and leaves memory before the network runs.
  Tensor encode(const std::vector<std::string>& prompts, const std::string& modality) {
    if (model->bank()) return bank_queries(*model->bank(), prompts, modality);
    const ModelOptions& files = model->options();
    SAT_CHECK(!files.text_model.empty(), "there is neither a bank of prompt embeddings nor a text encoder for '",
              prompts[0], "'");
    std::vector<std::string> fresh;
    for (const std::string& prompt : prompts) {
      if (!queries.count({modality, prompt})) fresh.push_back(prompt);
    }
    if (!fresh.empty()) {
      const TextEncoder encoder = open_text_encoder(files.text_model, files.vocabulary);
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
      copy_into(rows, int64_t(i), queries.at({modality, prompts[i]}).reshape({1, width}));
    }
    return rows;
  }
};

Session::Session(std::shared_ptr<const Model> model, const SessionOptions& options)
    : state_(std::make_unique<State>(std::move(model), options)) {}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;

const Model& Session::model() const { return *state_->model; }
Context& Session::context() const { return state_->context; }

SegmentationPlan Session::plan(const Geometry& scan, const RunOptions& run, int64_t prompts) const {
  State& state = *state_;
  UseContext use(state.context);
  const CancelScope cancel(state.context, run.cancelled);
  return state.plan(plan_grid(scan, preprocess_options(model().config(), run)), run, prompts);
}

Segmentation Session::run(const Volume& scan, const std::vector<std::string>& prompts, const RunOptions& run) const {
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
  result.peak_bytes = std::max(result.peak_bytes, model().bytes().on_host + encoding_peak);
  result.stages.insert(result.stages.begin(), {"encode prompts", seconds});
  result.pairing_checked = model().pairing_checked();
  if (!result.pairing_checked) {
    result.warnings.push_back("the model's file does not say which text encoder belongs to it: unchecked");
    if (run.on_warning) run.on_warning(result.warnings.back());
  }
  return result;
}

Segmentation Session::run(const Volume& scan, const std::vector<std::string>& prompts, const Tensor& queries,
                          const RunOptions& run) const {
  const SatConfig& config = model().config();
  const int64_t count = int64_t(prompts.size());
  SAT_CHECK(queries.shape == Shape({count, config.text_dim}) && count > 0, "queries have shape ", queries.shape,
            ", need [", count, ", ", config.text_dim, "]");
  State& state = *state_;
  plan(scan.geometry, run, count);  // refuses what does not fit before it is prepared
  UseContext use(state.context);
  const CancelScope cancel(state.context, run.cancelled);
  state.context.memory()->reset_peak();
  const ModalityConfig& modality = config.modality(run.modality);
  const auto progress = [&](const Progress& now) {
    if (run.on_progress) run.on_progress(now);
  };

  Segmentation result;
  result.prompts = prompts;
  profile::Stopwatch watch;

  progress({"preprocess", 0, 0, 0});
  result.doubts = doubts_of(scan, run, model().bank() ? model().bank()->card : ModelCard());
  result.warnings = result.doubts;
  Preprocessed prepared = preprocess(scan, preprocess_options(config, run));
  result.grid = prepared.grid;
  result.warnings.insert(result.warnings.end(), prepared.warnings.begin(), prepared.warnings.end());
  for (const std::string& warning : result.warnings) {
    if (run.on_warning) run.on_warning(warning);
  }
  result.stages.push_back({"preprocess", watch.lap()});

  result.plan = state.plan(prepared.grid, run, count);
  check_disk_room({{state.options.scratch, result.plan.scratch_bytes, "features of windows"}});
  if (run.on_plan) run.on_plan(result.plan);
  result.windows = result.plan.windows;
  result.stages.push_back({"plan", watch.lap()});
  const ModelGrid of_model = model_space(prepared.grid), target = run.space == Space::scan ? prepared.grid : of_model;
  std::vector<float*> probabilities;
  if (run.probabilities) probabilities = run.probabilities(target.scan);
  SAT_CHECK(probabilities.empty() || int64_t(probabilities.size()) == count, probabilities.size(),
            " probability volumes for ", count, " prompts");

  if (run.verify) {
    progress({"verify", 0, 0, 0});
    const DeviceRoom room(state.context, result.plan.device_run_bytes);
    result.verification = state.verify(prepared.voxels, modality, queries);
    result.stages.push_back({"verify", watch.lap()});
  }
  const BlendPlan blend{result.plan.slow_axis, result.plan.waiting, state.options.scratch};
  const RowSink sink = [&](const Tensor& scores, const std::array<int64_t, 3>& origin, int64_t first, int64_t last,
                           int64_t first_prompt) {
    if (result.masks.prompts == 0) result.masks = BitMasks(target.scan.size, count);
    restore_rows(result.masks, target, scores, origin, blend.axis, first, last, first_prompt,
                 probabilities.empty() ? nullptr : probabilities.data() + first_prompt);
    if (!run.model_masks) return;
    if (result.model_masks.prompts == 0) result.model_masks = BitMasks(of_model.scan.size, count);
    restore_rows(result.model_masks, of_model, scores, origin, blend.axis, first, last, first_prompt);
  };
  const DeviceRoom room(state.context, result.plan.device_run_bytes);
  const WindowLoop spent = segment_volume(model().network(), std::move(prepared.voxels), modality, queries, blend, sink,
                                          [&](int64_t done, int64_t windows, double fraction) {
                                            progress({"network", done, windows, fraction});
                                          });
  result.stages.push_back({"network", spent.network_seconds});
  result.stages.push_back({"blend", spent.blend_seconds});
  result.stages.push_back({"restore", spent.sink_seconds});
  result.peak_bytes = model().bytes().on_host + state.context.memory()->peak_bytes();
  if (const auto device = state.context.planned_memory()) {
    state.context.synchronize();
    result.device_peak_bytes = model().bytes().on_device + device->peak_bytes() + state.context.device_fixed_bytes();
  }
  return result;
}

}  // namespace sat
