// Private. What ECAMP is pre-trained for, as numbers (ecamp.md section 5): pixels that were not seen, the sharpened
// image inside the report's focus, and the words of the report.
#pragma once

#include "sat/nn/image/ecamp/pretraining/pretraining.h"

namespace sat {

/// Where the report looks: 12 x 12 of the 14 x 14 squares of the large image, by the first row and the first column.
/// The published code calls it the attention window.
/// QUIRK: the published field `column` (label_i) is the first row, and `row` (label_j) the first column.
struct ReportFocus {
  int64_t top = 0, left = 0;
  static constexpr int64_t kSide = 12, kGrid = 14;
};

/// What a batch is held against.
struct EcampTargets {
  Tensor images;                     // [B, 2h, 2w, 3], as given to the forward pass
  std::vector<ReportFocus> focuses;  // one an image
  std::vector<int64_t> words;        // the reports' unmasked ids, a token each
  std::vector<float> word_weights;   // a weight a token
};

struct EcampLosses {
  double pixels = 0, sharpness = 0, words = 0;  // "mim", "res", "mlm"
  double total() const { return pixels + sharpness + words; }
};

/// QUIRKS, all three kept for parity: squared errors are divided by the number of all pixels, seen or not, inside the
/// focus or not; targets are the normalised pixels themselves, not normalised patch by patch; every token counts among
/// the words, whether it was masked or not, padding included.
EcampLosses pretraining_losses(const EcampForward& made, const PatchMasks& masks, const EcampTargets& targets);

}  // namespace sat
