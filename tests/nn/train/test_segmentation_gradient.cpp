// The gradient of SAT's whole training loss, module by module, against differences of the loss itself.
#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <string>

#include "sat/nn/train/segmentation_loss.h"
#include "sat/tensor/autograd/tape.h"
#include "tests/support/golden.h"
#include "tests/support/parity/sat_parity.h"
#include "tests/support/tiny_model.h"

using namespace sat;
using namespace sat::test;

namespace {

SegmentationBatch tiny_batch(int64_t prompts) {
  SegmentationBatch batch;
  batch.images = field("images", {2, 16, 16, 16, 1}, 1.5);
  batch.queries = field("queries", {2, prompts, 12}, 1);
  batch.masks.bits = zeros({2, 16, 16, 16, 1}, DType::u8);
  for (int64_t i = 0; i < batch.masks.bits.numel(); ++i) batch.masks.bits.data<uint8_t>()[i] = uint8_t(i * 37 >> 3);
  batch.masks.counted = from_values({2, prompts}, {1, 1, 0, 1, 1, 1});
  return batch;
}

double loss_of(const Weights& weights, const SegmentationBatch& batch) {
  const SatModel model(weights, tiny_config(), Heads::all);
  return double(segmentation_loss(model, batch, {0.1f, 7}).total.data<float>()[0]);
}

}  // namespace

TEST_CASE("the loss falls along each module's gradient as much as the gradient says") {
  const SegmentationBatch batch = tiny_batch(3);
  const Weights weights = generated_weights("").for_training();
  Tape tape;
  {
    RecordOn recording(&tape);
    const SatModel model(weights, tiny_config(), Heads::all);
    tape.run(segmentation_loss(model, batch, {0.1f, 7}).total);
  }
  std::map<std::string, std::map<std::string, Tensor>> modules;  // gradients by module and name
  for (const auto& [name, parameter] : weights.parameters()) {
    const size_t end = name.find('.', name.compare(0, 9, "backbone.") == 0 ? 9 : 0);
    if (const Tensor gradient = tape.gradient(parameter); !gradient.empty())
      modules[name.substr(0, end)][name] = gradient;
  }
  CHECK(modules.size() == 7);
  for (const auto& [module, gradients] : modules) {
    CAPTURE(module);
    double square = 0;
    for (const auto& [name, gradient] : gradients) {
      for (int64_t i = 0; i < gradient.numel(); ++i) square += std::pow(double(gradient.data<float>()[i]), 2);
    }
    const double step = 2e-3 / std::sqrt(square);  // what moves the loss by so much of the gradient's length
    std::map<std::string, Tensor> before;
    double losses[2];
    for (const int side : {0, 1}) {
      for (const auto& [name, gradient] : gradients) {
        Tensor parameter = weights.parameters().at(name);
        if (side == 0) before[name] = parameter.clone();
        for (int64_t i = 0; i < gradient.numel(); ++i) {
          parameter.data<float>()[i] =
              before[name].data<float>()[i] + float((side == 0 ? step : -step) * double(gradient.data<float>()[i]));
        }
      }
      losses[side] = loss_of(weights, batch);
    }
    for (const auto& [name, values] : before) {
      Tensor parameter = weights.parameters().at(name);
      copy(parameter, values);
    }
    CHECK((losses[0] - losses[1]) / (2 * step) == doctest::Approx(square).epsilon(0.02));
  }
}
