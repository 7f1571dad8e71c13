// From a scan and words to masks: the whole path, one call a step.
// Reads no scans and writes no files (io/nifti.h does); the network is in sat_model.h.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sat/io/masks/bit_masks.h"
#include "sat/io/scans/preprocess.h"
#include "sat/io/scans/volume.h"
#include "sat/nn/run/blender.h"
#include "sat/nn/run/verify.h"
#include "sat/nn/sat/sat_config.h"
#include "sat/tensor/context.h"

namespace sat {

/// Where a folder is offered, features are spilled to it if the run would pass this many bytes otherwise, or max_ram
/// where that is set. Disk is slower than memory, but 497 prompts on a large scan keep tens of gigabytes.
inline constexpr int64_t kSpillAbove = int64_t(6) << 30;

struct SegmenterOptions {
  std::string model;                  // .safetensors, .pth, .pt or .bin
  std::string config;                 // JSON description for a model that carries none; overrides one that it carries
  std::string bank;                   // prompt embeddings made before; or
  std::string text_model;             // the text encoder, with
  std::string vocabulary;             // its word pieces (vocab.txt)
  int threads = 0;                    // 0: as many processors as this process may use
  int64_t max_ram = 0;                // bytes the whole process may hold; 0: no limit
  std::string scratch;                // folder where large intermediate results may wait on disk; empty: nothing does
  int64_t machine_bytes = 0;          // that the process can have at all; 0: unknown. Without max_ram it bounds loading
  int64_t spill_above = kSpillAbove;  // bytes; with max_ram that is what counts
  CpuLevel cpu = best_cpu_level();
  Precision precision = Precision::exact;
  std::shared_ptr<Accelerator> accelerator;  // cuda::open_device(); none: everything on the CPU
  std::function<bool()> cancelled;           // as RunOptions::cancelled, for loading and for runs that have none
};

struct SegmentationPlan;  // below

enum class Space : uint8_t { scan, model };  // the scan's own grid, or the network's (resampled and cropped)

/// How far a run is. `fraction` grows from 0 to 1 over the whole case.
struct Progress {
  const char* stage;  // "preprocess", perhaps "verify", then "network"
  int64_t window = 0, windows = 0;
  double fraction = 0;
};

struct RunOptions {
  std::string modality;     // "ct", "mri", "pet", "us", or another word that means one of them (modality.h)
  std::string orientation;  // three letters; empty: the model's
  Space space = Space::scan;
  /// Before the run, its middle window is also computed in f32 on the CPU, and what differs is said. Needs the memory
  /// and the time of that beside the run's.
  bool verify = false;
  /// What the scan's reader found odd (NiftiHeader::warnings), to be passed on with what is found in its voxels, its
  /// size against the bank's card, and in the run.
  std::vector<std::string> scan_warnings;
  /// Whatever looks wrong with the scan throws Error with all of it, before the network runs.
  bool strict = false;
  /// If set, called once before the network with the result's grid; returns one f32 pointer a prompt, each with room
  /// for every voxel [H, W, D] of that grid, where the probabilities are written.
  std::function<std::vector<float*>(const Geometry&)> probabilities;
  bool probabilities_on_disk = false;  // those pointers lie in a file (MappedScratch), and are planned as such
  /// If set, called once before the network with the plan of the cropped scan; what it throws ends the run.
  std::function<void(const SegmentationPlan&)> on_plan;
  std::function<void(const Progress&)> on_progress;    // on the calling thread
  std::function<bool()> cancelled;                     // asked often, from the calling thread; true: throws Cancelled
  std::function<void(const std::string&)> on_warning;  // something odd that did not stop the run
};

/// What a run will take, known before anything is loaded.
struct SegmentationPlan {
  int64_t windows = 0;              // of the uncropped scan: an upper bound
  std::array<int64_t, 3> window{};  // voxels
  std::array<int64_t, 3> grid{};    // voxels after resampling, before cropping
  int64_t weights_bytes = 0;        // of the segmentation model, as it lies in memory
  int64_t tensor_bytes = 0;         // peak of all tensors, weights included
  int64_t process_bytes = 0;  // what max_ram is compared with: tensors, the program itself, and probabilities in memory
  int64_t scratch_bytes = 0;  // on disk, only where features are spilled
  int64_t probability_bytes = 0;       // on disk, only where probabilities lie there; once more when they are written
  int64_t device_bytes = 0;            // with an accelerator: all that is held there, weights included
  std::vector<int64_t> device_chunks;  // of its arena: the model's, the run's
  int slow_axis = 0;                   // the axis along which finished rows leave
  Waiting waiting = Waiting::scores;
};

/// Whether a run has a folder for what waits on disk.
enum class Scratch : uint8_t { none, offered };

/// Plans a run of `prompts` prompts with the current context's threads, CPU level, precision and accelerator; computes
/// nothing and needs no weights. Throws MemoryError with the figure needed when no way of running fits the
/// accelerator's memory, or with max_ram > 0 the CPU's. `text_bytes` is what encoding prompts holds beside the model
/// (encoding_bytes() of text_file.h), 0 for a bank.
SegmentationPlan plan_segmentation(const SatConfig& config, const Geometry& scan, const RunOptions& run,
                                   int64_t prompts, int64_t max_ram = 0, int64_t text_bytes = 0,
                                   Scratch scratch = Scratch::none, int64_t spill_above = kSpillAbove);

/// One bit a voxel a prompt, and every decision that led there.
struct Segmentation {
  std::vector<std::string> prompts;
  BitMasks masks;         // on `grid.scan`, or on `grid.model` for Space::model
  ModelGrid grid;         // how the network's voxels lie in the scan, with the crop
  SegmentationPlan plan;  // for the grid after cropping
  int64_t windows = 0;
  struct Stage {
    std::string name;
    double seconds;
  };
  std::vector<Stage> stages;      // encode prompts (where words were given), preprocess, plan, network, blend, restore
  int64_t peak_bytes = 0;         // of all tensors on the CPU's side, measured
  int64_t device_peak_bytes = 0;  // held on the accelerator, measured; 0 without one
  bool pairing_checked = false;   // the text side is known to belong to the model
  std::optional<Verification> verification;  // where it was asked for
  std::vector<std::string> doubts;           // about the scan: what a strict run refuses
  std::vector<std::string> warnings;         // the doubts, and what else is odd
};

/// A loaded model, ready for any number of scans. Not for use from several threads at once; make one for each.
class Segmenter {
 public:
  explicit Segmenter(const SegmenterOptions& options);
  ~Segmenter();
  Segmenter(Segmenter&&) noexcept;

  const SatConfig& config() const;
  const std::string& model_identity() const;  // sha256
  const std::string& text_identity() const;   // sha256
  std::string device() const;                 // "cpu", or the accelerator's name
  /// Its threads and memory. Read scans inside UseContext(segmenter.context()), so that they count and read fast.
  Context& context() const;

  SegmentationPlan plan(const Geometry& scan, const RunOptions& run, int64_t prompts) const;

  /// Masks for `prompts` in `scan`. Tensors it returns stay valid after the Segmenter is gone.
  Segmentation run(const Volume& scan, const std::vector<std::string>& prompts, const RunOptions& run) const;

  /// The same from ready queries [N, text_dim] in place of words; `prompts` only names the result.
  Segmentation run(const Volume& scan, const std::vector<std::string>& prompts, const Tensor& queries,
                   const RunOptions& run) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sat
