// Scans that are not what they are said to be are named, and good ones are not.
#include "sat/io/scans/scan_checks.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "sat/io/nifti/nifti.h"
#include "sat/io/words/model_card.h"
#include "tests/support/golden.h"

namespace sat::test {
namespace {

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// A body of soft tissue with some bone in air, in Hounsfield units: 60 x 50 x 40 voxels.
Volume ct() {
  Volume scan;
  scan.geometry.size = {60, 50, 40};
  scan.voxels = Tensor({60, 50, 40});
  const Tensor noise = field("noise", {60, 50, 40}, 40);
  for (int64_t v = 0; v < scan.voxels.numel(); ++v) {
    const double h = double(v / 2000) - 30, w = double(v / 40 % 50) - 25;
    const double base = std::hypot(h, w) > 22 ? -1000 : std::hypot(h, w - 8) < 4 ? 700 : 40;
    scan.voxels.data<float>()[v] = std::round(float(base) + noise.data<float>()[v]);
  }
  return scan;
}

template <class Change>
Volume changed(Change change) {
  Volume scan = ct();
  float* voxel = scan.voxels.data<float>();
  for (int64_t v = 0; v < scan.voxels.numel(); ++v) voxel[v] = change(voxel[v]);
  return scan;
}

std::string doubt(const Volume& scan, const std::string& modality) {
  std::string all;
  for (const std::string& warning : content_warnings(scan, modality)) all += (all.empty() ? "" : " | ") + warning;
  return all;
}

TEST_CASE("a CT is not doubted as a CT, nor an MR as an MR") {
  const Volume mr = changed([](float hu) { return std::max(0.f, 0.7f * (hu + 990)); });
  CHECK(doubt(ct(), "ct") == "");
  CHECK(doubt(ct(), "CT") == "");
  CHECK(doubt(mr, "mri") == "");
  CHECK(doubt(changed([](float hu) { return hu / 500; }), "mri") ==
        "");  // of mean 0 and deviation 1, as some are stored
  const NiftiScan real = read_nifti(source_path("examples/data/pt_222_ct.nii.gz"));
  CHECK(doubt(real.volume, "ct") == "");
  CHECK(real.header.warnings.empty());
  const NiftiScan hippocampus = read_nifti(golden_path("trained-small/hippocampus_036.nii.gz"));
  CHECK(doubt(hippocampus.volume, "mri") == "");
  CHECK(hippocampus.header.warnings.empty());
}

TEST_CASE("a CT that is not in Hounsfield units is named with what became of them") {
  CHECK(contains(doubt(changed([](float hu) { return std::max(0.f, hu + 1024); }), "ct"), "stored with an offset"));
  CHECK(contains(doubt(changed([](float hu) { return std::min(1.f, std::max(0.f, (hu + 160) / 400)); }), "ct"),
                 "scaled to 0 .. 1"));
  const auto picture = [](float hu) { return std::round(255 * std::min(1.f, std::max(0.f, (hu + 160) / 400))); };
  CHECK(contains(doubt(changed(picture), "ct"), "8-bit picture"));
  CHECK(contains(doubt(changed([](float hu) { return hu / 500; }), "ct"), "not the Hounsfield units"));
  CHECK(contains(doubt(changed([](float hu) { return 3 * hu + 3500 - 1000; }), "ct"), "hardly a voxel lies about 0"));
  CHECK(contains(doubt(changed([](float hu) { return std::min(240.f, std::max(-160.f, hu)); }), "ct"),
                 "no voxel is below -160, but air in a CT has -1000: the values (-160 to 240) were clipped"));
}

TEST_CASE("an MR given as CT and a CT given as MR are named") {
  const Volume mr = changed([](float hu) { return std::max(0.f, 0.7f * (hu + 990)); });
  CHECK(contains(doubt(mr, "ct"), "or are no CT"));
  CHECK(contains(doubt(ct(), "mri"), "this looks like a CT, not like 'mri'"));
  CHECK(contains(doubt(ct(), "pet"), "this looks like a CT"));
}

TEST_CASE("a mask and a label map are named, whatever they are said to be") {
  const Volume mask = changed([](float hu) { return hu > 300 ? 1.f : 0.f; });
  Volume labels = ct();  // columns of 30 labels
  for (int64_t v = 0; v < labels.voxels.numel(); ++v) labels.voxels.data<float>()[v] = float(v / 40 / 5 % 30 * 17);
  for (const char* modality : {"ct", "mri"}) {
    CHECK(contains(doubt(mask, modality), "(2 from 0 to 1), and lie in patches: this looks like a mask"));
    CHECK(contains(doubt(labels, modality), "(30 from 0 to 493)"));
  }
}

TEST_CASE("a scan with one value almost everywhere is named, one without any value is left to others") {
  CHECK(contains(doubt(changed([](float) { return -1000.f; }), "ct"), "(100.0 %) have the value -1000"));
  Volume nearly = changed([](float) { return 0.f; });
  for (int64_t v = 0; v < 900; ++v) nearly.voxels.data<float>()[v] = -float(v) - 1.5f;
  CHECK(contains(doubt(nearly, "mri"), "have the value 0"));
  CHECK(doubt(changed([](float) { return std::numeric_limits<float>::quiet_NaN(); }), "ct") == "");
}

TEST_CASE("names of segmentations are known, those of scans are not taken for them") {
  for (const char* name :
       {"case_seg.nii.gz", "a/liver-mask.nii", "pt_1_label.nii.gz", "Mask.nii", "x/sub-01_dseg.nii.gz", "labels.nii.gz",
        "ct_SEGMENTATION.nii", "aparc+aseg_aseg.nii.gz", "brainmask.nii.gz"}) {
    CAPTURE(name);
    CHECK(looks_like_a_segmentation_name(name));
  }
  for (const char* name : {"case.nii.gz", "masks/case.nii.gz", "t1_sagittal.nii.gz", "pt_1_ct.nii.gz", "a_segway.nii",
                           "labelled/ct.nii", "heroic.nii.gz", ""}) {
    CAPTURE(name);
    CHECK_FALSE(looks_like_a_segmentation_name(name));
  }
}

TEST_CASE("a scan far from what the model's card states is named with the card's words") {
  const Json json = Json::parse(
      R"({"ct": {"region": "head and neck", "field_of_view_mm": [[200, 600], [200, 600], [150, 400]]}})", "card");
  const ModelCard card = model_card_from_json(json, "a card");
  REQUIRE(card.entries.size() == 1);
  CHECK(to_json(card).dump() == json.dump());
  Geometry scan;
  scan.size = {100, 250, 250};
  scan.voxel_to_world_mm.m = {{{0, 0, 1, 0}, {0, 1, 0, 0}, {2, 0, 0, 0}, {0, 0, 0, 1}}};  // the first axis goes up
  CHECK(field_of_view_mm(scan) == std::array<double, 3>{250, 250, 200});
  CHECK(region_warning(card.entries[0], scan) == "");
  scan.size[0] = 500;
  CHECK(
      region_warning(card.entries[0], scan) ==
      "the scan extends 1000 mm feet to head, but scans of what this model knows (ct: head and neck) extend 150 to 400 "
      "mm; it may show another part of the body");
  scan.size = {100, 250, 60};
  CHECK(contains(region_warning(card.entries[0], scan), "extends 60 mm left to right"));
}

TEST_CASE("a card that is not one is refused by name") {
  const auto refused = [](const std::string& text) {
    try {
      model_card_from_json(Json::parse(text, "text"), "a card");
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  CHECK(refused("{}") == "accepted");
  CHECK(contains(refused(R"({"ct": {"region": "head"}})"), "field_of_view_mm"));
  CHECK(contains(refused(R"({"ct": {"region": "", "field_of_view_mm": [[1, 2], [1, 2], [1, 2]]}})"),
                 "a card, card, 'ct'"));
  CHECK(contains(refused(R"({"ct": {"region": "head", "field_of_view_mm": [[1, 2], [1, 2]]}})"), "2 ranges, needs 3"));
  CHECK(contains(refused(R"({"ct": {"region": "head", "field_of_view_mm": [[1, 2], [2, 1], [1, 2]]}})"),
                 "the range back to front"));
  CHECK(contains(refused("[1]"), "array"));
}

}  // namespace
}  // namespace sat::test
