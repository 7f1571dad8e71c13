// From a scan and words to masks: the whole path, one call a step.
// Reads no scans and writes no files (io/scans/nifti.h does); the network is in sat/sat_model.h.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sat/io/masks/bit_masks.h"
#include "sat/io/scans/preprocess.h"
#include "sat/nn/run/model.h"
#include "sat/nn/run/plan.h"

namespace sat {

struct SessionOptions {
  int threads = 0;                    // 0: as many processors as this process may use
  int64_t max_ram = 0;                // bytes the whole process may hold, the model's weights included; 0: no limit
  std::string scratch;                // folder where large intermediate results may wait on disk; empty: nothing does
  int64_t spill_above = kSpillAbove;  // bytes; with max_ram that is what counts
  std::function<bool()> cancelled;    // as RunOptions::cancelled, for runs that have none
};

/// How far precision and device are off in one window: over all its voxels and all prompts.
struct Verification {
  double largest_difference = 0;  // of a probability
  double changed = 0;             // share of voxels whose probability lies on another side of one half
  double seconds = 0;
};

/// One bit a voxel a prompt, and every decision that led there.
struct Segmentation {
  std::vector<std::string> prompts;
  BitMasks masks;         // on `grid.scan`, or on `grid.model` for Space::model
  BitMasks model_masks;   // on `grid.model`, where they were asked for beside
  ModelGrid grid;         // how the network's voxels lie in the scan, with the crop
  SegmentationPlan plan;  // for the grid after cropping
  int64_t windows = 0;
  struct Stage {
    std::string name;
    double seconds;
  };
  std::vector<Stage> stages;      // encode prompts (where words were given), preprocess, plan, network, blend, restore
  int64_t peak_bytes = 0;         // of all tensors on the CPU's side, measured, the model's included
  int64_t device_peak_bytes = 0;  // held on the device, measured, the model's included; 0 without one
  bool pairing_checked = false;   // the text side is known to belong to the model
  std::optional<Verification> verification;  // where it was asked for
  std::vector<std::string> doubts;           // about the scan: what a strict run refuses
  std::vector<std::string> warnings;         // the doubts, and what else is odd
};

/// One caller of a model: its threads, its memory and the prompts that it has encoded. Not for use from several threads
/// at once; any number of sessions may run one model, with the same bits.
class Session {
 public:
  explicit Session(std::shared_ptr<const Model> model, const SessionOptions& options = {});
  ~Session();
  Session(Session&&) noexcept;

  const Model& model() const;
  /// Its threads and memory. Read scans inside UseContext(session.context()), so that they count and read fast.
  Context& context() const;

  /// What a run on this scan will take, before its voxels are known. Throws MemoryError where it does not fit.
  SegmentationPlan plan(const Geometry& scan, const RunOptions& run, int64_t prompts) const;

  /// Masks for `prompts` in `scan`. Tensors it returns stay valid after the session is gone.
  Segmentation run(const Volume& scan, const std::vector<std::string>& prompts, const RunOptions& run) const;

  /// The same from ready queries [N, text_dim] in place of words; `prompts` only names the result.
  Segmentation run(const Volume& scan, const std::vector<std::string>& prompts, const Tensor& queries,
                   const RunOptions& run) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sat
