// Sampling settings: the published ones, SAT's own file, and what is refused.
#include <doctest/doctest.h>

#include "sat/nn/train/data/sampling_settings.h"

using namespace sat;

namespace {

SamplingTable table(const std::string& text) { return SamplingTable(Json::parse(text, "x"), "sampling.json"); }

std::string refusal(const std::string& text) {
  try {
    table(text);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("published settings weigh data sets") {
  CHECK(published_sampling("DAP_Atlas").sampling_weight == 3);
  CHECK(published_sampling("HAN_Seg").sampling_weight == 2);
  CHECK(published_sampling("mine").sampling_weight == 1);
  CHECK(published_sampling("mine").label_based_crop_prob == 0.5);
  CHECK(SamplingTable().of("DAP_Atlas").sampling_weight == 3);
}

TEST_CASE("an entry of SAT's own file is read as it is") {
  const SamplingTable settings = table(R"({"X": {"load_and_save": false, "sampling_weight": 2.5,
    "pos_label_first_prob": 0.9, "foreground_crop_prob": 0.8, "label_based_crop_prob": 0.7, "uncenter_prob": 0.1,
    "neg_label_ratio_threshold": 0.6, "augmentation": {
      "RandZoom": {"min_zoom": 0.8, "max_zoom": 1.2, "prob": 0.3},
      "RandGaussianNoise": {"prob": 0.4, "mean": 0.0, "std": 0.05}, "RandGaussianSharpen": {"prob": 0.5},
      "RandScaleIntensity": {"factors": [-0.1, 0.2], "prob": 0.6},
      "RandScaleIntensityFixedMean": {"factors": [-0.25, 0.25], "prob": 0.15},
      "RandSimulateLowResolution": {"prob": 0.25},
      "RandAdjustContrastInvert": {"retain_stats": true, "invert_image": true, "gamma": [0.6, 1.6], "prob": 0.7},
      "RandAdjustContrast": {"retain_stats": true, "invert_image": false, "gamma": [0.9, 1.1], "prob": 0.8}}}})");
  const SamplingSettings of = settings.of("X");
  CHECK(of.sampling_weight == 2.5);
  CHECK(of.pos_label_first_prob == 0.9);
  CHECK(of.foreground_crop_prob == 0.8);
  CHECK(of.label_based_crop_prob == 0.7);
  CHECK(of.uncenter_prob == 0.1);
  CHECK(of.neg_label_ratio_threshold == 0.6);
  const AugmentationSettings& augmentation = of.augmentation;
  CHECK(augmentation.zoom == AugmentationSettings::Range{0.8, 1.2});
  CHECK(augmentation.zoom_prob == 0.3);
  CHECK(augmentation.noise_prob == 0.4);
  CHECK(augmentation.noise_deviation == 0.05);
  CHECK(augmentation.sharpen_prob == 0.5);
  CHECK(augmentation.scale_prob == 0.6);
  CHECK(augmentation.scale == AugmentationSettings::Range{-0.1, 0.2});
  CHECK(augmentation.contrast_prob == 0.7);
  CHECK(augmentation.gamma == AugmentationSettings::Range{0.6, 1.6});
  CHECK(augmentation.second_contrast_prob == 0.8);
  CHECK(augmentation.second_gamma == AugmentationSettings::Range{0.9, 1.1});
  CHECK(settings.of("Y").uncenter_prob == 0);
}

TEST_CASE("a star is for all data sets, and what a set says of itself comes after it") {
  const SamplingTable settings =
      table(R"({"*": {"uncenter_prob": 0.2, "sampling_weight": 5}, "X": {"uncenter_prob": 0.3}})");
  CHECK(settings.of("X").uncenter_prob == 0.3);
  CHECK(settings.of("X").sampling_weight == 5);
  CHECK(settings.of("DAP_Atlas").uncenter_prob == 0.2);
}

TEST_CASE("unknown keys and values out of range are refused with their place") {
  const auto says = [](const std::string& text, const std::string& part) {
    return refusal(text).find(part) != std::string::npos;
  };
  CHECK(says(R"({"X": {"uncentre_prob": 0.2}})", "sampling.json: X: there is no setting 'uncentre_prob'; known are"));
  CHECK(says(R"({"X": {"uncenter_prob": 1.2}})", "sampling.json: X: uncenter_prob is 1.2, needs a probability"));
  CHECK(says(R"({"X": {"sampling_weight": 0}})", "sampling_weight is 0"));
  CHECK(says(R"({"X": {"augmentation": {"RandFlip": {}}}})", "X: augmentation: there is no setting 'RandFlip'"));
  CHECK(says(R"({"X": {"augmentation": {"RandZoom": {"min_zoom": 0}}}})", "RandZoom: min_zoom is 0"));
  CHECK(says(R"({"X": {"augmentation": {"RandZoom": {"min_zoom": 2}}}})", "min_zoom is 2, above max_zoom, 1.4"));
  CHECK(says(R"({"X": {"augmentation": {"RandGaussianNoise": {"mean": 1}}}})", "mean is 1, and only 0 is known"));
  CHECK(says(R"({"X": {"augmentation": {"RandAdjustContrast": {"gamma": [2, 1]}}}})", "two ascending numbers"));
  CHECK(says(R"({"X": 3})", "X"));
}
