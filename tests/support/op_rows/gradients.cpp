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

std::vector<Slope> defined_slopes(const OpRow& row) {
  const Tensors given = inputs_of(row);
  const Arrays inputs(given.begin(), given.end());
  std::vector<Slope> slopes;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!is_asked_for(row.inputs[i])) continue;
    std::vector<double> every = unit("direction", inputs[i].numel()), one(every.size(), 0.);
    for (double& value : every) value = 2 * value - 1;
    one[one.size() * 2 / 3] = 1;
    for (const std::vector<double>& direction : {every, one}) {
      slopes.push_back({i, direction, slope_along(row, inputs, i, direction)});
    }
  }
  return slopes;
}

std::string gradient_mismatch(const OpRow& row, const Tensors& gradients, const std::vector<Slope>& slopes,
                              double slack) {
  for (const Slope& slope : slopes) {
    const OpInput& input = row.inputs[slope.input];
    if (gradients[slope.input].empty()) return "nothing led to " + input.name;
    const Doubles gradient(gradients[slope.input]);
    if (gradient.shape != input.shape) return words("gradient of ", input.name, " has shape ", gradient.shape);
    double got = 0;
    for (int64_t i = 0; i < gradient.numel(); ++i) got += gradient[i] * slope.direction[size_t(i)];
    const double usual = length(gradient.values) * length(slope.direction) / std::sqrt(double(gradient.numel()));
    const double allowed = slack * row.gradient_error * (usual + std::abs(slope.defined)) + kNoise;
    if (std::abs(got - slope.defined) <= allowed) continue;
    return words("gradient of ", input.name, ": got ", got, ", want ", slope.defined, ", where ", usual, " is usual");
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
      off = gradient_mismatch(row, gradients_by(row, inputs_of(row)), defined_slopes(row), slack);
    } catch (const Error& error) {
      off = words("refused: ", error.what());
    }
    if (!off.empty()) complaints.push_back(row.name + ": " + off);
  }
  return complaints;
}

}  // namespace sat::test
