// Private. How ECAMP judges masks (ecamp.md section 11): the loss that it trains for and the Dice that it reports, as
// numbers. Both take one number a pixel, image behind image.
#pragma once

#include <vector>

#include "sat/tensor/tensor.h"

namespace sat {

struct SegmentationLoss {
  double focal = 0;      // mean over pixels of cross-entropy * (1 - p)^2, p the probability of what is true
  double dice = 0;       // (2 sum(s t) + 1) / (sum s + sum t + 1), s = sigmoid(logit), over the whole batch
  double total() const;  // 10 focal - ln dice
};
/// logits of any shape; truth as many numbers from 0 to 1.
SegmentationLoss segmentation_loss(const Tensor& logits, const Tensor& truth);

/// Of each image along axis 0: pixels above 0 (probability above 1/2) against truth above 1/2. Where nothing is true,
/// 1 if nothing was found, else 0.
std::vector<double> dice_scores(const Tensor& logits, const Tensor& truth);

}  // namespace sat
