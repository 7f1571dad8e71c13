// Training parity: one step on the recorded batch.
#include "tests/support/parity/training/training_parity.h"

#include <algorithm>
#include <cmath>

#include "sat/nn/train/segmentation_loss.h"
#include "sat/tensor/autograd/tape.h"
#include "tests/support/golden.h"
#include "tests/support/parity/recorded.h"
#include "tests/support/parity/sat_parity.h"

namespace sat::test {

namespace {

constexpr double kLoss = 2e-6;      // relative
constexpr double kGradient = 2e-4;  // of its recorded norm: instance norms over few voxels magnify f32

/// unit(name) < 0.25 of [N, H, W, D], as bits.
Tensor recorded_masks(const std::string& name, int64_t prompts, const std::vector<int64_t>& size) {
  const int64_t voxels = size[0] * size[1] * size[2];
  const std::vector<double> draws = unit(name, prompts * voxels);
  Tensor bits = zeros({1, size[0], size[1], size[2], (prompts + 7) / 8}, DType::u8);
  for (int64_t n = 0; n < prompts; ++n) {
    for (int64_t v = 0; v < voxels; ++v) {
      if (draws[size_t(n * voxels + v)] < 0.25) {
        bits.data<uint8_t>()[v * bits.shape[4] + n / 8] |= uint8_t(1 << n % 8);
      }
    }
  }
  return bits;
}

double norm_of(const Tensor& x) {
  double sum = 0;
  for (int64_t i = 0; i < x.numel(); ++i) sum += double(x.data<float>()[i]) * double(x.data<float>()[i]);
  return std::sqrt(sum);
}

}  // namespace

std::vector<ParityLine> compare_training_step(const std::string& folder) {
  const Json info = read_json(folder + "/case.json"), record = read_json(folder + "/values.json")["training"];
  const std::string prefix = info["prefix"].string();
  const auto size = info["image"].integers();
  const int64_t prompts = info["queries"].integer();
  SatConfig config = published_config(info["architecture"].string());
  for (auto& [name, modality] : config.modalities) modality.window = {size[0], size[1], size[2]};

  Tape tape;
  const Weights weights = generated_weights(prefix).for_training();
  SegmentationLoss loss;
  {
    RecordOn recording(&tape);
    const SatModel model(weights, config, Heads::all);
    SegmentationBatch batch;
    batch.images =
        reshape(field(prefix + "image", {size[0], size[1], size[2]}, 1.5), {1, size[0], size[1], size[2], 1});
    batch.queries = reshape(field(prefix + "queries", {prompts, 768}, 1), {1, prompts, 768});
    batch.masks.bits = recorded_masks(prefix + "mask", prompts, size);
    std::vector<float> counted;
    for (double mask : record["query_mask"].numbers()) counted.push_back(float(mask));
    batch.masks.counted = from_values({1, prompts}, counted);
    loss = segmentation_loss(model, batch);
  }
  tape.run(loss.total);

  std::vector<ParityLine> lines;
  const auto relative = [](double got, double want) {
    return std::fabs(got - want) / std::max(1e-30, std::fabs(want));
  };
  lines.push_back({"training: loss (relative)",
                   relative(double(to_host(loss.total).data<float>()[0]), record["loss"].number()), kLoss});
  double worst_scale = loss.scales.size() == record["scales"].size() ? 0 : INFINITY;
  for (size_t s = 0; s < loss.scales.size() && worst_scale == 0; ++s) {
    worst_scale = std::max(worst_scale, relative(double(to_host(loss.scales[s].total).data<float>()[0]),
                                                 record["scales"][s]["total"].number()));
  }
  lines.push_back({"training: losses of scales (relative)", worst_scale, kLoss});

  double worst_norm = 0, worst_values = 0, zeros_left = 0, missing = 0;
  for (const auto& [name, gradient] : record["grads"].members()) {
    const auto known = weights.parameters().find(name);
    const Tensor got = known == weights.parameters().end() ? Tensor() : tape.gradient(known->second);
    if (got.empty()) {
      missing += 1;
      continue;
    }
    const double norm = gradient["norm"].number();
    if (norm < 1e-12) {  // a bias that the norm behind it takes off again
      zeros_left = std::max(zeros_left, norm_of(got));
      continue;
    }
    worst_norm = std::max(worst_norm, std::fabs(norm_of(got) - norm) / norm);
    const auto first = gradient["first4"].numbers();
    for (size_t i = 0; i < first.size(); ++i) {
      worst_values = std::max(worst_values, std::fabs(double(got.data<float>()[i]) - first[i]) / norm);
    }
  }
  for (const Json& name : record["no_grad"].items()) {
    const auto known = weights.parameters().find(name.string());
    missing += known != weights.parameters().end() && tape.gradient(known->second).empty() ? 0 : 1;
  }
  lines.push_back({"training: parameters with a gradient or none", missing, 0});
  lines.push_back({"training: norms of gradients (relative)", worst_norm, kGradient});
  lines.push_back({"training: values of gradients (of the norm)", worst_values, kGradient});
  lines.push_back({"training: gradients that are zero", zeros_left, 1e-12});
  return lines;
}

}  // namespace sat::test
