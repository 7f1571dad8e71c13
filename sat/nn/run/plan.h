// What a run is asked for, and what it will take: learnt by a dry run before anything is loaded.
#pragma once

#include <array>
#include <functional>
#include <string>
#include <vector>

#include "sat/io/scans/volume.h"
#include "sat/nn/sat/sat_config.h"

namespace sat {

/// What a process holds beside its tensors: code, stacks, and the buffers of readers and writers.
inline constexpr int64_t kProgramBytes = int64_t(96) << 20;

/// Where a folder is offered, features are spilled to it if the run would pass this many bytes otherwise, or max_ram
/// where that is set. Disk is slower than memory, but 497 prompts on a large scan keep tens of gigabytes.
inline constexpr int64_t kSpillAbove = int64_t(6) << 30;

enum class Space : uint8_t { scan, model };  // the scan's own grid, or the network's (resampled and cropped)

/// How far a run is. `fraction` grows from 0 to 1 over the whole case.
struct Progress {
  const char* stage;  // "preprocess", perhaps "verify", then "network"
  int64_t window = 0, windows = 0;
  double fraction = 0;
};

/// How pending windows wait for their neighbours. All ways give the same bits.
enum class Waiting : uint8_t {
  scores,    // 4 bytes a prompt and voxel of the rows that are not final
  features,  // 2 or 4 bytes a channel, voxel and window of those rows, however many prompts there are; on the CPU's
             // side where a device computes, which is handed a few rows at a time
  spilled    // the features of all windows go to a scratch file, and rows leave after the last window, so that what
             // the network holds and what the masks hold are never in memory together
};
const char* name_of(Waiting waiting);

/// What a run will take.
struct SegmentationPlan {
  int64_t windows = 0;              // of the uncropped scan: an upper bound
  std::array<int64_t, 3> window{};  // voxels
  std::array<int64_t, 3> grid{};    // voxels after resampling, before cropping
  int64_t weights_bytes = 0;        // of the segmentation model, as it lies in memory
  int64_t tensor_bytes = 0;         // peak of all tensors, weights included
  int64_t process_bytes = 0;  // what max_ram is compared with: tensors, the program itself, and probabilities in memory
  int64_t scratch_bytes = 0;  // on disk, only where features are spilled
  int64_t probability_bytes = 0;  // on disk, only where probabilities lie there; once more when they are written
  int64_t device_bytes = 0;       // where a device computes: all that is held there, weights included
  int64_t device_run_bytes = 0;   // of these, what a run asks for at once
  int slow_axis = 0;              // the axis along which finished rows leave
  Waiting waiting = Waiting::scores;
};

struct RunOptions {
  std::string modality;     // "ct", "mri", "pet", "us", or another word that means one of them (modality.h)
  std::string orientation;  // three letters; empty: the model's
  Space space = Space::scan;
  /// Beside masks on the scan's grid, those on the network's own, as Space::model gives them
  /// (Segmentation::model_masks).
  bool model_masks = false;
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

/// What a run may hold.
struct PlanLimits {
  int64_t max_ram = 0;                // bytes of the whole process; 0: no limit
  int64_t spill_above = kSpillAbove;  // bytes; with max_ram that is what counts
  bool may_spill = false;             // there is a folder for what waits on disk
  /// What encoding prompts holds beside the model (TextEncoder::planned_bytes), 0 for a bank.
  int64_t text_bytes = 0;
};

/// Plans a run of `prompts` prompts with the current context's threads, CPU level, precision and device; computes
/// nothing and needs no weights. Throws MemoryError with the figure needed when no way of running fits the device's
/// memory, or with max_ram > 0 the CPU's.
SegmentationPlan plan_segmentation(const SatConfig& config, const Geometry& scan, const RunOptions& run,
                                   int64_t prompts, const PlanLimits& limits = {});

}  // namespace sat
