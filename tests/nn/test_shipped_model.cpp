// The model that comes with the program, on the two scans whose masks were recorded with its f32 weights.
#include <doctest/doctest.h>

#include <algorithm>

#include "sat/io/nifti/nifti.h"
#include "sat/io/scans/preprocess.h"
#include "sat/nn/run/segment_volume.h"
#include "sat/nn/run/session.h"
#include "sat/nn/run/windows.h"
#include "sat/nn/sat/model_file.h"
#include "sat/nn/text/embedding_bank.h"
#include "sat/tensor/ops.h"
#include "tests/support/golden.h"
#include "tests/support/levels.h"
#include "tests/support/parity/sat_parity.h"

using namespace sat;
using namespace sat::test;

namespace {

const std::string kModel = "weights/sat-small.safetensors", kBank = "weights/sat-small-bank.safetensors";

/// Segments `scan` for the recorded prompts that the bank holds, in both spaces, and compares with the recorded masks.
void check_case(const std::string& folder, const std::string& scan_path, const std::string& modality) {
  ModelOptions options;
  options.model = source_path(kModel);
  options.bank = source_path(kBank);
  const Session session(Model::open(options));
  const NiftiScan scan = read_nifti(scan_path);
  const Json values = Json::parse(read_text(folder + "/values.json"), folder);
  RunOptions run;
  run.modality = modality;
  run.space = Space::model;
  const std::vector<std::string> prompts = values["prompts"].strings();
  const Segmentation in_model = session.run(scan.volume, prompts, run);
  run.space = Space::scan;
  const Segmentation in_scan = session.run(scan.volume, prompts, run);
  CHECK(in_scan.pairing_checked);
  // The weights travel in f16, so that voxels near the threshold may change sides.
  CHECK(compare_masks(in_model.masks, read_npz(folder + "/masks.npz", "model_space")).fraction <= 20e-6);
  const MaskDifference here = compare_masks(in_scan.masks, read_npz(folder + "/masks.npz", "scan_space"));
  CHECK(here.fraction * double(scan.volume.geometry.voxels()) <= 2.5);
  CHECK(here.dice >= 0.98);  // two voxels of the smallest mask, 85 voxels
}

/// Voxels of one structure that two computations disagree about, and how many each of them found.
struct Change {
  int64_t voxels = 0, others = 0, differing = 0;

  double dice() const { return 1 - double(differing) / double(std::max<int64_t>(1, voxels + others)); }
};

/// What `fast` promises: rounding moves voxels next to one half across it, two or a thousandth of a structure that has
/// many, so that one of more than 10 000 voxels has a Dice of 0.999 at least. A tile's bf16 has three bits less than
/// f16, and its error next to one half was seen to be seven times as large: four voxels (three of 404 on the CT).
void check_rounding(const Change& change, bool in_bf16) {
  CAPTURE(change.voxels);
  CAPTURE(change.differing);
  CHECK(change.differing <= std::max<int64_t>(in_bf16 ? 4 : 2, change.voxels / 1000));
  if (change.voxels > 10000) CHECK(change.dice() >= 0.999);
}

/// Masks of both precisions on a CPU level, a structure at a time.
std::vector<Change> changes_of_precision(CpuLevel level, const Volume& scan, const std::string& modality,
                                         const std::vector<std::string>& prompts) {
  BitMasks masks[2];
  for (Precision precision : {Precision::exact, Precision::fast}) {
    ModelOptions options;
    options.model = source_path(kModel);
    options.bank = source_path(kBank);
    options.cpu = level;
    options.precision = precision;
    RunOptions run;
    run.modality = modality;
    masks[int(precision)] = Session(Model::open(options)).run(scan, prompts, run).masks;
  }
  std::vector<Change> changes(prompts.size());
  for (size_t n = 0; n < changes.size(); ++n) {
    for (int64_t h = 0; h < masks[0].size[0]; ++h) {
      for (size_t i : {0, 1}) {
        masks[i].for_each_set(int64_t(n), h, [&](int64_t w, int64_t d) {
          (i == 0 ? changes[n].voxels : changes[n].others) += 1;
          changes[n].differing += !masks[1 - i].get(int64_t(n), h, w, d);
        });
      }
    }
  }
  return changes;
}

/// The scan with every voxel cut into eight, so that the same structures have many voxels.
Volume finer(const Volume& scan) {
  const auto [H, W, D] = scan.geometry.size;
  Volume fine{Tensor({2 * H, 2 * W, 2 * D}), {{2 * H, 2 * W, 2 * D}, scan.geometry.voxel_to_world_mm}};
  float* to = fine.voxels.data<float>();
  for (int64_t h = 0; h < 2 * H; ++h) {
    for (int64_t w = 0; w < 2 * W; ++w) {
      for (int64_t d = 0; d < 2 * D; ++d) *to++ = scan.voxels.data<float>()[(h / 2 * W + w / 2) * D + d / 2];
    }
  }
  const Affine halves{{{{0.5, 0, 0, -0.25}, {0, 0.5, 0, -0.25}, {0, 0, 0.5, -0.25}, {0, 0, 0, 1}}}};
  fine.geometry.voxel_to_world_mm = scan.geometry.voxel_to_world_mm * halves;
  return fine;
}

std::vector<std::string> prompts_of(const std::string& folder) {
  return Json::parse(read_text(golden_path(folder) + "/values.json"), folder)["prompts"].strings();
}

}  // namespace

TEST_CASE("fast moves no more voxels of a structure than it promises, on every level of this processor") {
  const NiftiScan ct = read_nifti(source_path("examples/data/pt_222_ct.nii.gz"));
  const NiftiScan mr = read_nifti(golden_path("trained-small/hippocampus_036.nii.gz"));
  for (CpuLevel level : {CpuLevel::avx2, CpuLevel::avx512, CpuLevel::amx}) {
    CAPTURE(std::string(name_of(level)));
    if (level > best_cpu_level()) {
      const std::string missing = std::string("not run: this processor has no ") + name_of(level);
      MESSAGE(missing);
      continue;
    }
    int64_t found = 0, large = 0;
    for (const Change& change : changes_of_precision(level, ct.volume, "ct", prompts_of("trained-small/golden-ct"))) {
      check_rounding(change, level == CpuLevel::amx);
      found += change.voxels > 0;
    }
    CHECK(found >= 5);
    const std::vector<std::string> parts = prompts_of("trained-small/golden-mri");
    for (const Change& change : changes_of_precision(level, mr.volume, "mri", parts))
      check_rounding(change, level == CpuLevel::amx);
    for (const Change& change : changes_of_precision(level, finer(mr.volume), "mri", parts)) {
      check_rounding(change, level == CpuLevel::amx);
      large += change.voxels > 10000;
    }
    CHECK(large >= 3);
  }
}

/// Logits of the middle of the head-and-neck CT, half as wide as the model's windows since tiles that are emulated are
/// slow: [32, 32, 32, prompts].
Tensor middle_logits(Precision precision, Tiles tiles, const std::vector<std::string>& prompts) {
  constexpr int64_t kSide = 32;
  ContextOptions options = options_of(best_cpu_level(), 0, tiles);
  options.precision = precision;
  Context context(options);
  UseContext use(context);
  const ModelFile file = open_model_file(source_path(kModel));
  const SatModel model(file.weights, file.config);
  const ModalityConfig& modality = file.config.modality("ct");
  const NiftiScan scan = read_nifti(source_path("examples/data/pt_222_ct.nii.gz"));
  const Tensor voxels =
      preprocess(scan.volume, {file.config.orientation, modality.spacing_mm, modality.normalisation}).voxels;
  Window middle{};
  for (int axis = 0; axis < 3; ++axis) {
    middle.start[size_t(axis)] = (voxels.shape[axis] - kSide) / 2;
    middle.end[size_t(axis)] = middle.start[size_t(axis)] + kSide;
  }
  const Tensor window = cut_window(voxels, middle, {kSide, kSide, kSide});
  return model.logits(window, bank_queries(read_bank(source_path(kBank)), prompts, "ct"));
}

TEST_CASE("products in bf16, as matrix units take them, change no structure by more than rounding does") {
  const std::string tiles_are = amx_available() ? "the processor's own" : "emulated, as this processor has none";
  MESSAGE("tiles are ", tiles_are);
  const std::vector<std::string> prompts = prompts_of("trained-small/golden-ct");
  const Tensor exact = middle_logits(Precision::exact, Tiles::no, prompts);
  const Tensor tiles = middle_logits(Precision::fast, Tiles::yes, prompts);
  std::vector<Change> changes(prompts.size());
  double square = 0, error = 0;
  for (int64_t i = 0; i < exact.numel(); ++i) {
    Change& change = changes[size_t(i) % changes.size()];
    const float x = exact.data<float>()[i], y = tiles.data<float>()[i];
    change.voxels += x > 0;
    change.others += y > 0;
    change.differing += (x > 0) != (y > 0);
    square += double(x) * x;
    error += double(x - y) * (x - y);
  }
  CHECK(error > 1e-8 * square);  // f16 and bf16 were at work
  CHECK(error < 1e-2 * square);
  int64_t found = 0;
  for (size_t n = 0; n < changes.size(); ++n) {
    CAPTURE(prompts[n]);
    check_rounding(changes[n], true);
    found += changes[n].voxels > 0;
  }
  CHECK(found > 0);
}

TEST_CASE("the shipped model's masks on the head-and-neck CT are the recorded ones") {
  check_case(golden_path("trained-small/golden-ct"), source_path("examples/data/pt_222_ct.nii.gz"), "ct");
}

TEST_CASE("the shipped model's masks on the hippocampus MR are the recorded ones") {
  check_case(golden_path("trained-small/golden-mri"), golden_path("trained-small/hippocampus_036.nii.gz"), "mri");
}
