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

}  // namespace

TEST_CASE("the shipped model's masks on the head-and-neck CT are the recorded ones") {
  check_case(golden_path("trained-small/golden-ct"), source_path("examples/data/pt_222_ct.nii.gz"), "ct");
}

TEST_CASE("the shipped model's masks on the hippocampus MR are the recorded ones") {
  check_case(golden_path("trained-small/golden-mri"), golden_path("trained-small/hippocampus_036.nii.gz"), "mri");
}
