// One rule a kind of layer, which names and shapes tell.
#include "sat/nn/train/segmentation/initial_weights.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numbers>
#include <vector>

#include "sat/nn/train/data/random.h"
#include "sat/tensor/parallel.h"

namespace sat {

namespace {

constexpr int64_t kBlock = 4, kGrain = kBlock << 10;  // numbers of a block of the generator; of a piece of a loop

/// FNV-1a: a number for a name, by which its stream is known.
uint32_t number_of(const std::string& name) {
  uint32_t hash = 2166136261U;
  for (const char c : name) hash = (hash ^ uint8_t(c)) * 16777619U;
  return hash;
}

bool ends_with(const std::string& name, const std::string& end) {
  return name.size() >= end.size() && name.compare(name.size() - end.size(), end.size(), end) == 0;
}

/// The name of the layer that has a tensor, and of the tensor within it.
std::pair<std::string, std::string> split(const std::string& name) {
  const size_t dot = name.rfind('.');
  return dot == std::string::npos ? std::pair(std::string(), name)
                                  : std::pair(name.substr(0, dot), name.substr(dot + 1));
}

bool is_norm(const std::string& layer) {
  const size_t dot = layer.rfind('.');
  return layer.compare(dot == std::string::npos ? 0 : dot + 1, 4, "norm") == 0;
}

/// Elements that are functions of two uniform numbers in (0, 1) each.
template <class Value>
Tensor drawn(const Shape& shape, const KeyedRandom& random, const Value& value) {
  Tensor all(shape);
  float* out = all.address<float>();
  parallel_for(all.numel(), kGrain, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; i += kBlock) {
      const auto bits = random.at(uint32_t(i / kBlock));
      for (int64_t k = 0; k < std::min(kBlock, last - i); ++k) {
        const double u = (double(bits[size_t(k)]) + 0.5) * 0x1p-32;
        // The second one of a number is its neighbour's; pairs share both.
        const double v = (double(bits[size_t(k ^ 1)]) + 0.5) * 0x1p-32;
        out[i + k] = float(value(u, v, k % 2 == 0));
      }
    }
  });
  return all;
}

Tensor uniform(const Shape& shape, const KeyedRandom& random, double most) {
  return drawn(shape, random, [most](double u, double, bool) { return most * (2 * u - 1); });
}

/// Box and Muller: a pair of uniform numbers gives a pair of normal ones.
Tensor normal(const Shape& shape, const KeyedRandom& random, double deviation) {
  return drawn(shape, random, [deviation](double u, double v, bool first) {
    const double radius = std::sqrt(-2 * std::log(first ? u : v)), angle = 2 * std::numbers::pi * (first ? v : u);
    return deviation * radius * (first ? std::cos(angle) : std::sin(angle));
  });
}

/// The bias of Mamba's step: what softplus turns into a step that is uniform in its logarithm.
Tensor step_bias(const Shape& shape, const KeyedRandom& random) {
  return drawn(shape, random, [](double u, double, bool) {
    const double step = std::max(std::exp(std::log(0.001) + u * std::log(100.0)), 1e-4);
    return step + std::log(-std::expm1(-step));
  });
}

Tensor state_logarithms(const Shape& shape) {
  std::vector<float> values;
  for (int64_t i = 0; i < shape.numel(); ++i) values.push_back(float(std::log(double(i % shape[1] + 1))));
  return from_values(shape, values);
}

Tensor initial(const std::string& name, const std::map<std::string, Shape>& shapes, uint64_t seed) {
  const Shape& shape = shapes.at(name);
  const auto [layer, part] = split(name);
  const KeyedRandom random(seed, 0, number_of(name), Purpose::weights);
  if (part == "in_proj_bias") return full(shape, 0);
  if (is_norm(layer)) return full(shape, part == "weight" ? 1.0F : 0.0F);
  if (part == "A_log") return state_logarithms(shape);
  if (part == "D") return full(shape, 1);
  if (part == "relative_position_bias_table") return normal(shape, random, 0.02);
  if (part == "in_proj_weight") return uniform(shape, random, std::sqrt(6 / double(shape[0] + shape[1])));
  if (shape.rank() == 5) {
    return normal(shape, random, std::sqrt(2 / ((1 + 1e-4) * double(shape.numel() / shape[0]))));
  }
  if (ends_with(layer, "dt_proj")) {
    if (part == "bias") return step_bias(shape, random);
    return uniform(shape, random, 1 / std::sqrt(double(shape[1])));
  }
  // A bias belongs to the weight beside it; attention's joined one to none of that name.
  const auto weight = part == "bias" ? shapes.find(layer + ".weight") : shapes.find(name);
  const bool zero =
      weight == shapes.end() || (part == "bias" && weight->second.rank() == 5) || ends_with(name, "out_proj.bias");
  if (zero) return full(shape, 0);
  const double fan_in = double(weight->second.numel() / weight->second[0]);
  return uniform(shape, random, 1 / std::sqrt(fan_in));
}

}  // namespace

Weights initial_weights(const std::map<std::string, Shape>& shapes, uint64_t seed) {
  const auto known = std::make_shared<const std::map<std::string, Shape>>(shapes);
  std::vector<Weights::Entry> entries;
  for (const auto& [name, shape] : shapes) {
    entries.push_back({name, shape, DType::f32, [name = name, known, seed] { return initial(name, *known, seed); }});
  }
  return Weights(std::move(entries), "random weights");
}

}  // namespace sat
