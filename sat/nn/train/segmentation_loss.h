// Private. The loss that SAT's segmentation training minimises (spec k.3): Dice and cross-entropy of every prompt, at
// every supervised scale. Knows a batch, not where it comes from (train/data/) and not what is done with the gradients.
#pragma once

#include <vector>

#include "sat/nn/sat/sat_model.h"

namespace sat {

struct SegmentationBatch {
  Tensor images;      // [B, H, W, D, 1]
  Tensor queries;     // [B, N, text_dim]; a history, where what they are made of learns
  MaskTargets masks;  // of the N prompts, at full resolution
};

struct SegmentationLoss {
  Tensor total;                  // [1]
  std::vector<MaskLoss> scales;  // full resolution first
};

/// sum over scales s of w_s * (Dice_s + BCE_s), w = (1, 1/2, 1/4, ..) / their sum, over as many scales as the model has
/// mask heads; targets of a coarser scale are every 2^s-th voxel. Work: one forward pass. The batch's first axis may
/// hold any number of images; each has its own prompts.
SegmentationLoss segmentation_loss(const SatModel& model, const SegmentationBatch& batch, const Dropout& dropped = {});

/// Nearest-neighbour masks at 1 / step of each axis: voxel i is voxel step * i. Sizes divide by step.
Tensor coarser_masks(const Tensor& bits, int64_t step);

}  // namespace sat
