// The gradients of rows: by a tape, and by differences of their definitions.
#include <cmath>

#include "sat/tensor/autograd/tape.h"
#include "tests/support/op_rows/op_rows.h"

namespace sat::test {

namespace {

constexpr int64_t kMostElements = 40000;  // of inputs and result, where differences are taken
constexpr double kNoise = 1e-6;           // of a difference, where all is zero

bool is_asked_for(const OpInput& input) { return !input.constant && input.dtype == DType::f32; }

Tensor cotangent_of(const Shape& shape) { return field("cotangent", shape, 1); }

double length(const std::vector<double>& x) {
  double squares = 0;
  for (const double value : x) squares += value * value;
  return std::sqrt(squares);
}

/// The derivative of sum(result * cotangent) when an input moves along a direction.
double slope_along(const OpRow& row, const Arrays& inputs, size_t input, const std::vector<double>& direction) {
  const double step = row.step * row.inputs[input].scale;
  const auto at = [&](double distance) {
    Arrays moved = inputs;
    for (size_t i = 0; i < direction.size(); ++i) moved[input].values[i] += distance * direction[i];
    return row.defined(moved);
  };
  const Doubles ahead = at(step), behind = at(-step), cotangent(cotangent_of(ahead.shape));
  double sum = 0;  // of differences, which keep their digits whatever the values are
  for (int64_t i = 0; i < ahead.numel(); ++i) sum += cotangent[i] * (ahead[i] - behind[i]);
  return sum / (2 * step);
}

std::string mismatch_along(const OpRow& row, const Arrays& inputs, size_t input, const Doubles& gradient,
                           const std::vector<double>& direction, double slack) {
  double got = 0;
  for (int64_t i = 0; i < gradient.numel(); ++i) got += gradient[i] * direction[size_t(i)];
  const double want = slope_along(row, inputs, input, direction);
  const double usual = length(gradient.values) * length(direction) / std::sqrt(double(gradient.numel()));
  if (std::abs(got - want) <= slack * row.gradient_error * (usual + std::abs(want)) + kNoise) return "";
  return words("gradient of ", row.inputs[input].name, ": got ", got, ", want ", want, ", where ", usual, " is usual");
}

}  // namespace

bool checks_gradient(const OpRow& row) {
  int64_t elements = 0;
  for (const OpInput& input : row.inputs) elements += input.shape.numel();
  return row.gradient == Gradient::checked && elements <= kMostElements;
}

Tensors gradients_by(const OpRow& row, const Tensors& inputs) {
  Tape tape;
  Tensors there;
  {
    for (size_t i = 0; i < inputs.size(); ++i) {
      there.push_back(row.inputs[i].published ? inputs[i] : to_compute_device(inputs[i]));
      if (is_asked_for(row.inputs[i])) Tape::watch(there.back());
    }
    RecordOn recording(&tape);
    const Tensor y = row.run(there);
    SAT_CHECK(y.history != 0, row.name, ": nothing that is learnt led to the result");
    tape.add(y, Context::current().dry() ? Tensor(y.shape, DType::f32, y.device) : cotangent_of(y.shape).to(y.device));
  }
  tape.run();
  Tensors gradients;
  for (size_t i = 0; i < inputs.size(); ++i) {
    gradients.push_back(is_asked_for(row.inputs[i]) ? to_host(tape.take_gradient(there[i])) : Tensor());
  }
  return gradients;
}

std::string gradient_mismatch(const OpRow& row, const Tensors& gradients, double slack) {
  const Tensors given = inputs_of(row);
  const Arrays inputs(given.begin(), given.end());
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!is_asked_for(row.inputs[i])) continue;
    if (gradients[i].empty()) return "nothing led to " + row.inputs[i].name;
    if (gradients[i].shape != row.inputs[i].shape) return words("gradient of shape ", gradients[i].shape);
    const Doubles gradient(gradients[i]);
    std::vector<double> every = unit("direction", gradient.numel()), one(every.size(), 0.);
    for (double& value : every) value = 2 * value - 1;
    one[one.size() * 2 / 3] = 1;
    for (const std::vector<double>& direction : {every, one}) {
      const std::string off = mismatch_along(row, inputs, i, gradient, direction, slack);
      if (!off.empty()) return off;
    }
  }
  return "";
}

std::vector<std::string> gradient_complaints(Context& context, double slack) {
  UseContext use(context);
  std::vector<std::string> complaints;
  for (const OpRow& row : op_rows()) {
    if (!checks_gradient(row) || (row.on_cpu_alone && context.compute_device() != Device::cpu)) continue;
    std::string off;
    try {
      off = gradient_mismatch(row, gradients_by(row, inputs_of(row)), slack);
    } catch (const Error& error) {
      off = words("refused: ", error.what());
    }
    if (!off.empty()) complaints.push_back(row.name + ": " + off);
  }
  return complaints;
}

}  // namespace sat::test
