// The two-loop recursion and the line search.
#include "sat/nn/probe/lbfgs.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <deque>

#include "sat/tensor/error.h"

namespace sat {

namespace {

constexpr double kDecrease = 1e-4, kCurvature = 0.9;  // c1 and c2 of the Wolfe conditions
constexpr double kRounding = 1e-15;                   // of a value
constexpr int kMostTrials = 40;

using Vector = Eigen::VectorXd;

/// The function along a direction from x.
struct Line {
  const Smooth& function;
  const Vector &x, &direction;
  int64_t& evaluations;

  struct Point {
    double step = 0, value = 0, slope = 0;
    std::vector<double> x = {}, gradient = {};
  };

  Point at(double step) const {
    Point point;
    point.step = step;
    const Vector moved = x + step * direction;
    point.x.assign(moved.data(), moved.data() + moved.size());
    point.gradient.resize(point.x.size());
    point.value = function(point.x, point.gradient);
    point.slope = Eigen::Map<const Vector>(point.gradient.data(), moved.size()).dot(direction);
    ++evaluations;
    return point;
  }
};

/// The least place of the cubic through two points' values and slopes, kept within the middle 80 % between them.
double cubic_step(const Line::Point& a, const Line::Point& b) {
  const double width = b.step - a.step;
  const double d1 = a.slope + b.slope - 3 * (a.value - b.value) / (a.step - b.step);
  const double inside = d1 * d1 - a.slope * b.slope;
  double step = a.step + width / 2;
  if (inside >= 0) {
    const double d2 = std::copysign(std::sqrt(inside), width);
    const double found = b.step - width * (b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2);
    if (std::isfinite(found)) step = found;
  }
  const double low = std::min(a.step, b.step) + 0.1 * std::abs(width);
  return std::clamp(step, low, low + 0.8 * std::abs(width));
}

/// A step that meets the strong Wolfe conditions; else the lowest that was met, which may be the start.
Line::Point search(const Line& line, const Line::Point& start, double first_step) {
  // Close to the lowest value differences drown in rounding, and slopes alone decide (Hager and Zhang 2005).
  const double rounding = kRounding * std::abs(start.value);
  const auto too_high = [&](const Line::Point& point) {
    return !(point.value <= start.value + kDecrease * point.step * start.slope + rounding);
  };
  const auto flat = [&](const Line::Point& point) { return std::abs(point.slope) <= -kCurvature * start.slope; };
  Line::Point low = start, high;
  bool bracketed = false;
  double step = first_step;
  for (int trial = 0; trial < kMostTrials; ++trial) {
    Line::Point point = line.at(step);
    if (too_high(point) || point.value > low.value + rounding) {
      high = std::move(point);
      bracketed = true;
    } else if (flat(point)) {
      return point;
    } else {
      if (!bracketed ? point.slope >= 0 : point.slope * (high.step - low.step) >= 0) {
        high = low;
        bracketed = true;
      }
      low = std::move(point);
    }
    step = !bracketed ? 2 * low.step : std::isfinite(high.value) ? cubic_step(low, high) : (low.step + high.step) / 2;
    if (bracketed && std::abs(high.step - low.step) <= 1e-16 * std::abs(low.step)) break;
  }
  return low;
}

/// Pairs of steps and changes of the gradient, the oldest first.
struct Memory {
  struct Pair {
    Vector step, change;
    double rho;
  };
  std::deque<Pair> pairs;

  /// - H * gradient.
  Vector direction(const Vector& gradient) const {
    Vector q = -gradient;
    std::vector<double> alpha(pairs.size());
    for (size_t i = pairs.size(); i-- > 0;) {
      alpha[i] = pairs[i].rho * pairs[i].step.dot(q);
      q -= alpha[i] * pairs[i].change;
    }
    if (!pairs.empty()) q *= 1 / (pairs.back().rho * pairs.back().change.squaredNorm());
    for (size_t i = 0; i < pairs.size(); ++i) {
      q += (alpha[i] - pairs[i].rho * pairs[i].change.dot(q)) * pairs[i].step;
    }
    return q;
  }
};

}  // namespace

LbfgsResult minimise(const Smooth& function, std::vector<double> start, const LbfgsOptions& options) {
  LbfgsResult result;
  Vector x = Eigen::Map<const Vector>(start.data(), Eigen::Index(start.size()));
  std::vector<double> gradient_of_x(start.size());
  result.value = function(start, gradient_of_x);
  result.evaluations = 1;
  SAT_CHECK(std::isfinite(result.value), "the loss is ", result.value, " where the fit begins");
  Vector gradient = Eigen::Map<const Vector>(gradient_of_x.data(), x.size());
  Memory memory;
  const auto size_of_gradient = [&] { return x.size() == 0 ? 0 : gradient.lpNorm<Eigen::Infinity>(); };
  for (; result.iterations < options.iterations && size_of_gradient() > options.tolerance; ++result.iterations) {
    Vector direction = memory.direction(gradient);
    if (!(direction.dot(gradient) < 0)) {
      memory.pairs.clear();
      direction = -gradient;
    }
    const Line line{function, x, direction, result.evaluations};
    const Line::Point here{0, result.value, gradient.dot(direction)};
    const double first_step = memory.pairs.empty() ? std::min(1.0, 1 / gradient.norm()) : 1;
    const Line::Point next = search(line, here, first_step);
    if (next.step == 0) {
      if (memory.pairs.empty()) break;
      memory.pairs.clear();  // once more along the gradient itself
      continue;
    }
    const Vector moved = Eigen::Map<const Vector>(next.x.data(), x.size());
    const Vector bent = Eigen::Map<const Vector>(next.gradient.data(), x.size());
    Memory::Pair pair{moved - x, bent - gradient, 0};
    const double curvature = pair.step.dot(pair.change);
    if (curvature > 1e-300) {
      pair.rho = 1 / curvature;
      memory.pairs.push_back(std::move(pair));
      if (int64_t(memory.pairs.size()) > options.memory) memory.pairs.pop_front();
    }
    x = moved;
    gradient = bent;
    result.value = next.value;
  }
  result.x.assign(x.data(), x.data() + x.size());
  result.gradient = size_of_gradient();
  result.converged = result.gradient <= options.tolerance;
  return result;
}

}  // namespace sat
