// Private. How samples are drawn and augmented, by data set: the published values (spec k.4, k.5), and JSON that
// changes them.
#pragma once

#include <array>
#include <map>
#include <string>

#include "sat/io/words/json.h"

namespace sat {

/// Probabilities of the transforms, and the ranges that their parameters are drawn from, uniformly.
struct AugmentationSettings {
  using Range = std::array<double, 2>;
  double zoom_prob = 0.2;
  Range zoom{0.7, 1.4};
  double noise_prob = 0.1;
  double noise_deviation = 0.1;  // the largest
  double sharpen_prob = 0.2;
  double scale_prob = 0.15;
  Range scale{-0.25, 0.25};  // x * (1 + u)
  double contrast_prob = 0.1, second_contrast_prob = 0.3;
  Range gamma{0.7, 1.5}, second_gamma{0.7, 1.5};
};

/// No transform at all.
AugmentationSettings no_augmentation();

struct SamplingSettings {
  double sampling_weight = 1;              // relative, of the data set
  double foreground_crop_prob = 1;         // the crop is drawn around a contoured voxel, else anywhere
  double label_based_crop_prob = 0.5;      // that voxel is one of a structure drawn before, else of all structures
  double uncenter_prob = 0;                // the crop holds that voxel anywhere, else as near its middle as it can
  double pos_label_first_prob = 1;         // structures in the crop are preferred, else all are alike
  double neg_label_ratio_threshold = 0.5;  // at most so many negatives a positive
  AugmentationSettings augmentation;
};

/// The published settings of a data set; those of one that SAT does not know are the same with weight 1.
SamplingSettings published_sampling(const std::string& dataset);

/// Settings by data set, as SAT's own file has them: keys are data sets, and "*" stands for all, before a set's own.
/// Values are objects of the fields above under SAT's names, `augmentation` with RandZoom {min_zoom, max_zoom, prob},
/// RandGaussianNoise {std, prob}, RandGaussianSharpen {prob}, RandScaleIntensity {factors, prob},
/// RandAdjustContrastInvert and RandAdjustContrast {gamma, prob}. What is not named stays as published; what SAT's file
/// names without effect (load_and_save, retain_stats, invert_image, RandScaleIntensityFixedMean,
/// RandSimulateLowResolution) has none here. Throws Error, naming `source`, for another key and for a value out of
/// range.
class SamplingTable {
 public:
  SamplingTable() = default;
  SamplingTable(const Json& json, const std::string& source);
  SamplingSettings of(const std::string& dataset) const;

 private:
  std::map<std::string, Json> changes_;
  std::string source_;
};

}  // namespace sat
