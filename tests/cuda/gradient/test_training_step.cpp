// A whole training step of a small SAT on the device, against the same step on the CPU.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "sat/nn/train/segmentation_loss.h"
#include "sat/tensor/autograd/tape.h"
#include "tests/cuda/device_context.h"
#include "tests/support/golden.h"
#include "tests/support/tiny_model.h"

using namespace sat;
using namespace sat::test;

namespace {

constexpr int64_t kPrompts = 10;

struct Step {
  double loss = 0;
  std::map<std::string, Tensor> gradients;  // by parameter, in the CPU's memory
};

/// Forward, loss and backward where the current context computes.
Step training_step() {
  const SatConfig config = tiny_config();
  const std::array<int64_t, 3> size{16, 16, 8};
  SegmentationBatch batch;
  batch.images = to_compute_device(field("image", {1, size[0], size[1], size[2], 1}, 1.5));
  batch.queries = to_compute_device(field("queries", {1, kPrompts, config.text_dim}, 1));
  batch.masks.bits = Tensor({1, size[0], size[1], size[2], (kPrompts + 7) / 8}, DType::u8);
  const std::vector<double> draws = unit("masks", batch.masks.bits.numel());
  for (size_t i = 0; i < draws.size(); ++i) batch.masks.bits.data<uint8_t>()[i] = uint8_t(draws[i] * 256);
  std::vector<float> counted(size_t(kPrompts), 1.f);
  counted[3] = 0;
  batch.masks.counted = from_values({1, kPrompts}, counted);

  Tape tape;
  const Weights weights = Weights::made([](const std::string& name, const Shape& shape) {
                            return generated_weight(name, shape);
                          }).for_training();
  Step step;
  Tensor total;
  {
    const RecordOn recording(&tape);
    const SatModel model(weights, config, Heads::all);
    total = segmentation_loss(model, batch, {0.1f, 7}).total;
  }
  tape.run(total);
  step.loss = double(to_host(total).data<float>()[0]);
  for (const auto& [name, parameter] : weights.parameters()) {
    const Tensor gradient = tape.gradient(parameter);
    if (!gradient.empty()) step.gradients[name] = to_host(gradient).clone();
  }
  return step;
}

double norm_of(const Tensor& x) {
  double sum = 0;
  for (int64_t i = 0; i < x.numel(); ++i) sum += double(x.data<float>()[i]) * double(x.data<float>()[i]);
  return std::sqrt(sum);
}

/// The parameters' distances between two gradients, of the norm of the second: the worst, and of all together.
struct Distance {
  double worst = 0, all = 0;
};
Distance distance_of(const Step& a, const Step& b) {
  Distance distance;
  double apart_all = 0, length_all = 0;
  for (const auto& [name, gradient] : b.gradients) {
    const auto found = a.gradients.find(name);
    if (found == a.gradients.end()) return {INFINITY, INFINITY};
    double sum = 0;
    for (int64_t i = 0; i < gradient.numel(); ++i) {
      const double apart = double(found->second.data<float>()[i]) - double(gradient.data<float>()[i]);
      sum += apart * apart;
    }
    const double length = norm_of(gradient);
    distance.worst = std::max(distance.worst, std::sqrt(sum) / std::max(1e-8, length));
    apart_all += sum;
    length_all += length * length;
  }
  distance.all = std::sqrt(apart_all / length_all);
  return distance;
}

Step step_on_cpu() {
  Context context;
  const UseContext use(context);
  return training_step();
}

}  // namespace

TEST_SUITE_BEGIN("whole model");

TEST_CASE("a training step's loss and gradients on the device are those of the CPU") {
  const Step here = step_on_cpu();
  const DeviceContext device(Precision::exact);
  const Step there = training_step();
  CHECK(here.gradients.size() > 50);
  CHECK(here.gradients.size() == there.gradients.size());
  CHECK(std::fabs(there.loss - here.loss) <= 1e-5 * here.loss);
  CHECK(distance_of(there, here).worst <= 1e-3);
}

// Norms over the 16 voxels of the coarsest grid magnify what rounding features leaves.
TEST_CASE("a training step in bf16 stays near the one in f32") {
  const Step here = step_on_cpu();
  cuda::DeviceOptions options;
  options.half = DType::bf16;
  const DeviceContext device(Precision::fast, options);
  const Step there = training_step();
  CHECK(here.gradients.size() == there.gradients.size());
  CHECK(std::fabs(there.loss - here.loss) <= 1e-3 * here.loss);
  CHECK(distance_of(there, here).all <= 0.1);
}

TEST_CASE("a training step on the device gives the same bits each time") {
  const DeviceContext device(Precision::exact);
  const Step first = training_step(), second = training_step();
  CHECK(first.loss == second.loss);
  CHECK(distance_of(second, first).worst == 0);
}

TEST_SUITE_END();
