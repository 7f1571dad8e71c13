// Private: how conv3d_mma cuts a convolution into items of work: a function of the shape and of whether the device has
// a large shared memory (sm_80, sm_90; not sm_86, sm_89), so that such devices add in the same order.
#pragma once

#include <cstdint>

#include "sat/cuda/kernels.h"

namespace sat::cuda {

/// The kernel's forms: pixels and output channels of an item, input channels of a load.
enum class MmaForm : uint8_t {
  rows64,    // 16 x 16 pixels, 64 outputs, loads of 64 channels
  rows128,   // 16 x 16 pixels, 128 outputs, loads of 64 channels
  rows32,    // 16 x 16 pixels, 64 outputs, loads of 32 channels: for a small shared memory
  boxes,     // up to 256 voxels in a box of any sides, 128 outputs, loads of 32 channels
  halves64,  // stride 2: up to 128 voxels, 64 outputs
  halves128  // stride 2: up to 128 voxels, 128 outputs
};

constexpr int kMmaThreads = 256;
constexpr int kMmaSide = 18;              // of the box of 16 x 16 pixels
constexpr int kMmaSlots = 3;              // loads that are held: in use, being normalised, arriving
constexpr int kMmaStages = 3;             // stages of weights that are held
constexpr int kMmaStageBytes = 3 * 4096;  // of three taps, 2,048 weights each

struct MmaPlan {
  MmaForm form = MmaForm::rows64;
  int chunk = 64;        // input channels of a load
  int voxels = 256;      // rows of the product, of which tile_h * tile_w * tile_d are used
  int block_out = 64;    // output channels of an item
  bool partial = false;  // whole planes, sums over a part of the input channels each, added up by a second kernel
  int tile_h = 1, tile_w = 16, tile_d = 16;  // output voxels of an item; tile_h == 1 unless `partial`
  int box_h = 1, box_w = 18, box_d = 18;     // input voxels of a load as they lie in shared memory
  int columns_w = 1, columns_d = 1;          // items that cover a plane
  int blocks_out = 1, splits = 1;
  int slot_bytes = 0;                // of shared memory a load
  int first_chunks = 1, chunks = 1;  // loads that cover the channels of the first input, of both

  int64_t columns() const { return int64_t(columns_w) * columns_d; }
};

/// Whether a block has room for 64 channels of 18 x 18 pixels three times.
bool has_large_shared(const DeviceLimits& limits);
MmaPlan plan_mma(const Conv& conv, bool large_shared);
/// A plane's, the same for all devices: what a plan does not need holds a count of 0.
int64_t mma_partials(const Conv& conv);

}  // namespace sat::cuda
