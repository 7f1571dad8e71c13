// Training parity: one step on the recorded batch.
#include "tests/support/parity/training/training_parity.h"

#include <algorithm>
#include <cmath>

#include "sat/nn/train/optimiser/optimiser.h"
#include "sat/nn/train/segmentation_loss.h"
#include "sat/tensor/autograd/tape.h"
#include "tests/support/golden.h"
#include "tests/support/parity/recorded.h"
#include "tests/support/parity/sat_parity.h"

namespace sat::test {

namespace {

constexpr double kLoss = 2e-6;      // relative
constexpr double kGradient = 2e-4;  // of its recorded norm: instance norms over few voxels magnify f32
// Of a block's gain and bias, and of the bias that is summed over the voxels below it: a voxel whose norm lies within
// rounding of leaky ReLU's kink falls on either side of it. PyTorch's own f32 runs lie 6.6e-4 (contiguous) and 2.8e-3
// (channels last) from the recording, in the same parameters.
constexpr double kKinkNorm = 1e-3, kKinkValues = 4e-3;
constexpr double kParameter = 1e-6;  // after a step of 1e-3

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

/// The largest errors of some gradients.
struct Worst {
  double norm = 0, values = 0;
  void take(const Tensor& got, const Json& record) {
    const double want = record["norm"].number();
    norm = std::max(norm, std::fabs(norm_of(got) - want) / want);
    const auto first = record["first4"].numbers();
    for (size_t i = 0; i < first.size(); ++i) {
      values = std::max(values, std::fabs(double(got.data<float>()[i]) - first[i]) / want);
    }
  }
};

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

  Worst weights_worst, sums_worst;
  double zeros_left = 0, missing = 0;
  NamedTensors gradients;
  for (const auto& [name, parameter] : weights.parameters()) {
    if (Tensor gradient = tape.gradient(parameter); !gradient.empty()) gradients[name] = gradient;
  }
  for (const auto& [name, gradient] : record["grads"].members()) {
    const auto got = gradients.find(name);
    if (got == gradients.end()) {
      missing += 1;
    } else if (gradient["norm"].number() < 1e-12) {  // a bias that the norm behind it takes off again
      zeros_left = std::max(zeros_left, norm_of(got->second));
    } else {
      const bool sums_voxels = name.find("backbone.") == 0 && got->second.shape.rank() == 1;
      (sums_voxels ? sums_worst : weights_worst).take(got->second, gradient);
    }
  }
  for (const Json& name : record["no_grad"].items()) {
    missing += weights.parameters().count(name.string()) == 1 && gradients.count(name.string()) == 0 ? 0 : 1;
  }
  lines.push_back({"training: parameters with a gradient or none", missing, 0});
  lines.push_back({"training: norms of gradients (relative)", weights_worst.norm, kGradient});
  lines.push_back({"training: values of gradients (of the norm)", weights_worst.values, kGradient});
  lines.push_back({"training: norms of sums over voxels (relative)", sums_worst.norm, kKinkNorm});
  lines.push_back({"training: values of sums over voxels (of the norm)", sums_worst.values, kKinkValues});
  lines.push_back({"training: gradients that are zero", zeros_left, 1e-12});

  Optimiser(OptimiserOptions{}).step(weights.parameters(), gradients, 1e-3);
  double moved = 0;
  for (const auto& [name, values] : record["after_adamw_lr1e-3"].members()) {
    const auto after = values.numbers();
    for (size_t i = 0; i < after.size(); ++i) {
      moved = std::max(moved, std::fabs(double(weights.parameters().at(name).data<float>()[i]) - after[i]));
    }
  }
  lines.push_back({"training: parameters after a step of AdamW", moved, kParameter});
  return lines;
}

}  // namespace sat::test
