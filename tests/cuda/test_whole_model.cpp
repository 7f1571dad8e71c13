// Whole models on a device: against recorded values of the official code, against the CPU, and within their plans.
// Long under an emulator: tests/cuda.sh runs each case once, in a process of its own.
#include <doctest/doctest.h>

#include "sat/cuda/device/device.h"
#include "sat/io/nifti/nifti.h"
#include "sat/nn/run/session.h"
#include "sat/nn/text/text_encoder.h"
#include "tests/cuda/device_context.h"
#include "tests/support/golden.h"
#include "tests/support/parity/sat_parity.h"
#include "tests/support/parity/text_parity.h"

using namespace sat;
using namespace sat::test;

namespace {

/// Lines of a comparison, each within its limit, or within what `looser` says of its quantity.
void check_all(const std::vector<ParityLine>& lines, const std::map<std::string, double>& looser) {
  CHECK(lines.size() > 5);
  for (const ParityLine& line : lines) {
    CAPTURE(line.quantity);
    const auto found = looser.find(line.quantity);
    CHECK(line.error <= (found == looser.end() ? line.limit : found->second));
  }
}

/// What the network's values may be off by, of the largest of each kind, and logits as they are, where features are
/// rounded to a half type. The norms over the four voxels of the coarsest grid magnify what comes before them.
std::map<std::string, double> half_limits(double unit, double logits) {
  std::map<std::string, double> limits;
  for (int stage = 0; stage < 6; ++stage) limits["encoder " + std::to_string(stage)] = unit;
  limits["decoder 0"] = unit;
  limits["query decoder"] = unit;
  limits["tokens"] = limits["tokens (relative)"] = 2 * unit;
  limits["mask vectors"] = limits["mask vectors (relative)"] = unit;
  limits["logits (statistics)"] = unit;
  limits["logits"] = logits;
  return limits;
}

struct Difference {
  int64_t voxels = 0, set = 0;
  double fraction = 0;  // of all voxels, the worst prompt
};

Difference difference_of(const BitMasks& a, const BitMasks& b) {
  Difference difference;
  const auto [H, W, D] = a.size;
  for (int64_t n = 0; n < a.prompts; ++n) {
    int64_t different = 0;
    for (int64_t h = 0; h < H; ++h) {
      for (int64_t w = 0; w < W; ++w) {
        for (int64_t d = 0; d < D; ++d) {
          different += a.get(n, h, w, d) != b.get(n, h, w, d);
          difference.set += a.get(n, h, w, d);
        }
      }
    }
    difference.voxels += different;
    difference.fraction = std::max(difference.fraction, double(different) / double(H * W * D));
  }
  return difference;
}

/// Masks of the shipped model for the recorded scan, on the CPU or on a device.
Segmentation shipped_masks(const DeviceHandle& device, Precision precision) {
  ModelOptions options;
  options.model = source_path("weights/sat-small.safetensors");
  options.bank = source_path("weights/sat-small-bank.safetensors");
  options.precision = precision;
  options.device = device;
  RunOptions run;
  run.modality = "mri";
  const std::string folder = golden_path("trained-small/golden-mri");
  const NiftiScan scan = read_nifti(golden_path("trained-small/hippocampus_036.nii.gz"));
  const Json values = Json::parse(read_text(folder + "/values.json"), folder);
  return Session(Model::open(options)).run(scan.volume, values["prompts"].strings(), run);
}

void check_shipped_masks(DType type) {
  const Segmentation expected = shipped_masks(nullptr, Precision::exact);
  cuda::DeviceOptions options;
  if (type != DType::f32) options.half = type;
  const auto device = cuda::open_device(options);
  const Segmentation found = shipped_masks(device, type == DType::f32 ? Precision::exact : Precision::fast);
  const Difference difference = difference_of(expected.masks, found.masks);
  CHECK(difference.set > 1000);
  CHECK(difference.fraction <= 1e-3);
  if (type == DType::f32) CHECK(difference.voxels <= 2);
  CHECK(found.device_peak_bytes == found.plan.device_bytes);
}

}  // namespace

TEST_SUITE("whole model") {
  TEST_CASE("UNET in f32 gives the recorded encoder, tokens, mask vectors and logits") {
    DeviceContext device(Precision::exact);
    check_all(compare_network(golden_path("sat/unet")), {{"tokens (relative)", 2e-5}});
  }

  TEST_CASE("UNET in f16 stays within a hundredth of the recorded values") {
    DeviceContext device(Precision::fast);
    check_all(compare_network(golden_path("sat/unet")), half_limits(5e-3, 3e-2));
  }

  TEST_CASE("UNET in bf16 stays within eight hundredths") {
    cuda::DeviceOptions options;
    options.half = DType::bf16;
    DeviceContext device(Precision::fast, options);
    check_all(compare_network(golden_path("sat/unet")), half_limits(8e-2, 0.25));
  }

  TEST_CASE("MPNet and BERT give the recorded hidden states and queries") {
    DeviceContext device(Precision::exact);
    for (const ParityLine& line : compare_text(golden_path("text"))) {
      CAPTURE(line.quantity);
      CHECK(line.error <= line.limit);
    }
  }

  TEST_CASE("the shipped model's masks in f32 are those of the CPU") { check_shipped_masks(DType::f32); }

  TEST_CASE("the shipped model's masks in f16 are those of the CPU but for a thousandth") {
    check_shipped_masks(DType::f16);
  }

  TEST_CASE("the shipped model's masks in bf16 are those of the CPU but for a thousandth") {
    check_shipped_masks(DType::bf16);
  }
}
