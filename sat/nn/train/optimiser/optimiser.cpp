// One pass over memory a parameter. Scalars are taken in double and rounded once, as torch takes them.
#include "sat/nn/train/optimiser/optimiser.h"

#include <cmath>

#include "sat/tensor/parallel.h"

namespace sat {

namespace {

constexpr int64_t kGrain = 1 << 14;  // elements

struct AdamwFactors {
  float keep;                     // 1 - rate * decay
  float take_first, take_second;  // 1 - beta
  float beta2, root, eps, step;   // root: of the second moment's bias correction; step: rate over the first's
};

void adamw(float* __restrict p, float* __restrict first, float* __restrict second, const float* __restrict g,
           int64_t count, const AdamwFactors f) {
  for (int64_t i = 0; i < count; ++i) {
    first[i] += f.take_first * (g[i] - first[i]);
    second[i] = second[i] * f.beta2 + f.take_second * g[i] * g[i];
    p[i] = p[i] * f.keep - f.step * (first[i] / (std::sqrt(second[i]) / f.root + f.eps));
  }
}

}  // namespace

void Optimiser::step(const NamedTensors& parameters, const NamedTensors& gradients, double rate) {
  const bool is_adamw = options_.method == OptimiserMethod::adamw;
  for (const auto& [name, gradient] : gradients) {
    const auto found = parameters.find(name);
    SAT_CHECK(found != parameters.end(), "a gradient of '", name, "', which is no parameter");
    Tensor parameter = found->second;  // shares its bytes
    SAT_CHECK(parameter.shape == gradient.shape && on_host(parameter) && on_host(gradient), "parameter '", name,
              "' has shape ", parameter.shape, " on ", parameter.device, ", its gradient ", gradient.shape, " on ",
              gradient.device, "; both must agree, on the CPU");
    const ParameterRule rule = groups_.of(name);
    SAT_CHECK(!rule.frozen, "a gradient of '", name, "', which is frozen");
    Moments& moments = moments_[name];
    if (moments.first.empty()) {
      moments.first = zeros(parameter.shape);
      if (is_adamw) moments.second = zeros(parameter.shape);
    }
    ++moments.steps;

    const double own_rate = rate * rule.rate;
    const bool decays = parameter.shape.rank() > 1 || options_.decay_vectors;
    const double decay = decays ? rule.weight_decay.value_or(options_.weight_decay) : 0;
    float* p = parameter.address<float>();
    float* first = moments.first.address<float>();
    const float* g = gradient.address<float>();
    if (is_adamw) {
      const double steps = double(moments.steps);
      const AdamwFactors factors{float(1 - own_rate * decay),
                                 float(1 - options_.beta1),
                                 float(1 - options_.beta2),
                                 float(options_.beta2),
                                 float(std::sqrt(1 - std::pow(options_.beta2, steps))),
                                 float(options_.eps),
                                 float(own_rate / (1 - std::pow(options_.beta1, steps)))};
      float* second = moments.second.address<float>();
      parallel_for(parameter.numel(), kGrain, [&](int64_t begin, int64_t end) {
        adamw(p + begin, first + begin, second + begin, g + begin, end - begin, factors);
      });
      continue;
    }
    // torch's first velocity is the gradient itself, which a momentum of 0 velocities gives too.
    const float momentum = float(options_.momentum), by = float(own_rate), joins = float(decay);
    parallel_for(parameter.numel(), kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        first[i] = momentum * first[i] + (g[i] + joins * p[i]);
        p[i] -= by * first[i];
      }
    });
  }
}

void update_average(NamedTensors& average, const NamedTensors& parameters, double decay) {
  const float take = float(1 - decay);
  for (auto& [name, mean] : average) {
    const auto found = parameters.find(name);
    SAT_CHECK(found != parameters.end() && found->second.shape == mean.shape, "the average of '", name,
              "' has no parameter of its shape ", mean.shape);
    float* a = mean.address<float>();
    const float* p = found->second.address<float>();
    parallel_for(mean.numel(), kGrain, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) a[i] += take * (p[i] - a[i]);
    });
  }
}

}  // namespace sat
