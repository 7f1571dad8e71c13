// Private. AdamW and stochastic gradient descent, element by element as torch.optim has them, and a moving average of
// the parameters. Knows tensors by name, not what they are of.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "sat/nn/train/optimiser/gradients.h"
#include "sat/nn/train/optimiser/parameter_groups.h"

namespace sat {

enum class OptimiserMethod : uint8_t { adamw, sgd };

/// The defaults are what SAT was trained with: its configured decay of 0 never reached torch's AdamW, whose own default
/// is 0.01 (spec k.2).
struct OptimiserOptions {
  OptimiserMethod method = OptimiserMethod::adamw;
  double weight_decay = 0.01;  // adamw: of the value itself (Loshchilov and Hutter 2019); sgd: joins the gradient
  bool decay_vectors = true;   // decay parameters of fewer than two axes too: biases, gains
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;  // adamw
  double momentum = 0.9;                          // sgd
};

/// Moves parameters against their gradients, in place. A parameter without a gradient keeps its value and its moments,
/// as one whose gradient is None in torch. The same bits for any number of threads.
class Optimiser {
 public:
  /// What it keeps of a parameter, f32: first (sgd: the velocity) and second (adamw alone), and how often it moved.
  struct Moments {
    Tensor first, second;
    int64_t steps = 0;
  };

  explicit Optimiser(const OptimiserOptions& options, ParameterGroups groups = {})
      : options_(options), groups_(std::move(groups)) {}

  /// parameters and gradients f32 on the CPU. Gradients of frozen parameters, and of names that are no parameter, throw
  /// Error.
  void step(const NamedTensors& parameters, const NamedTensors& gradients, double rate);

  const std::map<std::string, Moments>& moments() const { return moments_; }
  void set_moments(std::map<std::string, Moments> moments) { moments_ = std::move(moments); }
  const OptimiserOptions& options() const { return options_; }

 private:
  OptimiserOptions options_;
  ParameterGroups groups_;
  std::map<std::string, Moments> moments_;
};

/// average = decay * average + (1 - decay) * parameters for every name of `average`.
void update_average(NamedTensors& average, const NamedTensors& parameters, double decay);

}  // namespace sat
