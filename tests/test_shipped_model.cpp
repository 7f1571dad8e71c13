// The model that comes with the program, on the two scans whose masks were recorded with its f32 weights.
#include <doctest/doctest.h>

#include "sat/io/nifti.h"
#include "sat/nn/segmenter.h"
#include "tests/support/golden.h"
#include "tests/support/sat_parity.h"

using namespace sat;
using namespace sat::test;

namespace {

/// Segments `scan` for the recorded prompts that the bank holds, in both spaces, and compares with the recorded masks.
void check_case(const std::string& folder, const std::string& scan_path, const std::string& modality) {
  SegmenterOptions options;
  options.model = source_path("weights/sat-small.safetensors");
  options.bank = source_path("weights/sat-small-bank.safetensors");
  const Segmenter segmenter(options);
  const NiftiScan scan = read_nifti(scan_path);
  const Json values = Json::parse(read_text(folder + "/values.json"), folder);
  RunOptions run;
  run.modality = modality;
  run.space = Space::model;
  const std::vector<std::string> prompts = values["prompts"].strings();
  const Segmentation in_model = segmenter.run(scan.volume, prompts, run);
  run.space = Space::scan;
  const Segmentation in_scan = segmenter.run(scan.volume, prompts, run);
  CHECK(in_scan.pairing_checked);
  // The weights travel in f16, so that voxels near the threshold may change sides.
  CHECK(compare_masks(in_model.masks, read_npz(folder + "/masks.npz", "model_space")).fraction <= 20e-6);
  const MaskDifference here = compare_masks(in_scan.masks, read_npz(folder + "/masks.npz", "scan_space"));
  CHECK(here.fraction * double(scan.volume.geometry.voxels()) <= 2.5);
  CHECK(here.dice >= 0.98);  // two voxels of the smallest mask, 85 voxels
}

/// Masks of both precisions: the lowest Dice of a structure that either finds.
double dice_of_precisions(const std::string& scan_path, const std::string& modality,
                          const std::vector<std::string>& prompts) {
  BitMasks masks[2];
  const NiftiScan scan = read_nifti(scan_path);
  for (Precision precision : {Precision::exact, Precision::fast}) {
    SegmenterOptions options;
    options.model = source_path("weights/sat-small.safetensors");
    options.bank = source_path("weights/sat-small-bank.safetensors");
    options.precision = precision;
    RunOptions run;
    run.modality = modality;
    masks[int(precision)] = Segmenter(options).run(scan.volume, prompts, run).masks;
  }
  double lowest = 1;
  for (int64_t n = 0; n < masks[0].prompts; ++n) {
    int64_t both = 0, sum = 0;
    for (int64_t h = 0; h < masks[0].size[0]; ++h) {
      masks[0].for_each_set(n, h, [&](int64_t w, int64_t d) { both += masks[1].get(n, h, w, d); });
      for (const BitMasks& some : masks) some.for_each_set(n, h, [&](int64_t, int64_t) { ++sum; });
    }
    if (sum > 0) lowest = std::min(lowest, 2 * double(both) / double(sum));
  }
  return lowest;
}

}  // namespace

TEST_CASE("fast precision finds the structures that exact precision finds") {
  const auto prompts = [](const std::string& folder) {
    return Json::parse(read_text(golden_path(folder) + "/values.json"), folder)["prompts"].strings();
  };
  CHECK(dice_of_precisions(source_path("examples/data/pt_222_ct.nii.gz"), "ct", prompts("trained-small/golden-ct")) >=
        0.999);
  CHECK(dice_of_precisions(golden_path("trained-small/hippocampus_036.nii.gz"), "mri",
                           prompts("trained-small/golden-mri")) >= 0.999);
}

TEST_CASE("the shipped model's masks on the head-and-neck CT are the recorded ones") {
  check_case(golden_path("trained-small/golden-ct"), source_path("examples/data/pt_222_ct.nii.gz"), "ct");
}

TEST_CASE("the shipped model's masks on the hippocampus MR are the recorded ones") {
  check_case(golden_path("trained-small/golden-mri"), golden_path("trained-small/hippocampus_036.nii.gz"), "mri");
}
