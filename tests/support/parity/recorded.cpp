// Comparing with recorded statistics, and the generators of recorded networks' weights.
#include "tests/support/parity/recorded.h"

#include <algorithm>
#include <cmath>

#include "tests/support/golden.h"

namespace sat::test {

namespace {

bool ends_with(const std::string& name, const std::string& end) {
  return name.size() >= end.size() && name.compare(name.size() - end.size(), end.size(), end) == 0;
}

bool contains(const std::string& name, const std::string& part) { return name.find(part) != std::string::npos; }

double fan_in(const Shape& shape) { return double(shape.drop_front().numel()); }

}  // namespace

Tensor channels_last(const Tensor& x) {
  const int64_t channels = x.shape[1], pixels = x.shape[2] * x.shape[3];
  Tensor y({x.shape[0], x.shape[2], x.shape[3], channels});
  for (int64_t i = 0; i < x.numel(); ++i) {
    const int64_t pixel = i % pixels, c = i / pixels % channels, image = i / pixels / channels;
    y.data<float>()[(image * pixels + pixel) * channels + c] = x.data<float>()[i];
  }
  return y;
}

Tensor channels_first(const Tensor& x) {
  const int64_t channels = x.shape[3], pixels = x.shape[1] * x.shape[2];
  Tensor y({x.shape[0], channels, x.shape[1], x.shape[2]});
  for (int64_t i = 0; i < x.numel(); ++i) {
    const int64_t pixel = i % pixels, c = i / pixels % channels, image = i / pixels / channels;
    y.data<float>()[i] = x.data<float>()[(image * pixels + pixel) * channels + c];
  }
  return y;
}

Json read_json(const std::string& path) { return Json::parse(read_text(path), path); }

ParityLine compare_numbers(const std::string& quantity, const std::vector<double>& got, const Json& recorded,
                           double limit) {
  const std::vector<double> want = recorded.numbers();
  ParityLine line{quantity, got.size() == want.size() ? 0 : INFINITY, limit};
  for (size_t i = 0; i < std::min(got.size(), want.size()); ++i) {
    const double error = std::fabs(got[i] - want[i]);
    line.error = std::isnan(error) ? INFINITY : std::max(line.error, error);
  }
  return line;
}

ParityLine compare_number(const std::string& quantity, double got, double want, double limit) {
  const double error = std::fabs(got - want);
  return {quantity, std::isnan(error) ? INFINITY : error, limit};
}

ParityLine compare_statistics(const std::string& quantity, const Tensor& anywhere, const Json& record, double limit) {
  const Tensor got = to_host(anywhere);
  const auto count = double(got.numel());
  double mean = 0, magnitude = 0, squares = 0, deviation = 0;
  for (int64_t i = 0; i < got.numel(); ++i) {
    const double value = double(got.data<float>()[i]);
    mean += value / count;
    magnitude += std::fabs(value) / count;
    squares += value * value;
  }
  for (int64_t i = 0; i < got.numel(); ++i) {
    const double difference = double(got.data<float>()[i]) - mean;
    deviation += difference * difference / count;
  }
  std::vector<double> shape, first, last;
  for (int axis = 0; axis < got.shape.rank(); ++axis) shape.push_back(double(got.shape[axis]));
  for (int64_t i = 0; i < std::min<int64_t>(8, got.numel()); ++i) {
    first.push_back(double(got.data<float>()[i]));
    last.push_back(double(got.data<float>()[std::max<int64_t>(0, got.numel() - 8) + i]));
  }
  ParityLine line = compare_numbers(quantity, shape, record["shape"], 0);
  line.limit = limit;
  const auto take = [&](double error) { line.error = std::isnan(error) ? INFINITY : std::max(line.error, error); };
  const double scale = std::max(1., std::fabs(record["l2"].number()));
  take(std::fabs(mean - record["mean"].number()));
  take(std::fabs(std::sqrt(deviation) - record["std"].number()));
  take(std::fabs(magnitude - record["mean_abs"].number()));
  take(std::fabs(std::sqrt(squares) - record["l2"].number()) / scale);
  take(compare_numbers("", first, record["first"], 0).error);
  take(compare_numbers("", last, record["last"], 0).error);
  return line;
}

ParityLine compare_array(const std::string& quantity, const Tensor& got, const std::string& npy, double limit) {
  return compare_array(quantity, got, read_npy(npy), limit);
}

ParityLine compare_array(const std::string& quantity, const Tensor& got, const Tensor& want, double limit) {
  const Tensor host = to_host(got);
  if (host.shape != want.shape) return {quantity, INFINITY, limit};
  const double error = largest_difference(host, want);
  return {quantity, std::isnan(error) ? INFINITY : error, limit};
}

Weights generated_vit(const std::string& prefix) {
  return Weights::made([prefix](const std::string& name, const Shape& shape) {
    const std::string seed = prefix + name;
    if (ends_with(name, "lambda1")) return field(seed, shape, 0.1, 0.3);
    if (contains(name, "norm") && ends_with(name, "weight")) return field(seed, shape, 0.1, 1);
    if (ends_with(name, "bias")) return field(seed, shape, 0.02);
    if (ends_with(name, "weight")) return field(seed, shape, 1 / std::sqrt(fan_in(shape)));
    return field(seed, shape, 0.2);  // class and mask token, positions
  });
}

Weights generated_ecamp(const std::string& prefix) {
  return Weights::made([prefix](const std::string& name, const Shape& shape) {
    const std::string seed = prefix + name;
    const bool norm = contains(name, "norm") || contains(name, "Norm");
    if (norm && ends_with(name, "weight")) return field(seed, shape, 0.1, 1);
    if (ends_with(name, "bias")) return field(seed, shape, 0.02);
    if (contains(name, "embeddings.")) return field(seed, shape, 0.1);
    if (ends_with(name, "weight")) return field(seed, shape, 1 / std::sqrt(fan_in(shape)));
    return field(seed, shape, 0.2);  // class and mask token
  });
}

Weights generated_downstream(const std::string& prefix) {
  return Weights::made([prefix](const std::string& name, const Shape& shape) {
    const std::string seed = prefix + name;
    if (ends_with(name, "running_mean")) return field(seed, shape, 0.05);
    if (ends_with(name, "running_var")) return field(seed, shape, 0.2, 1);
    if (ends_with(name, "bias")) return field(seed, shape, 0.02);
    if (ends_with(name, "weight") && shape.rank() == 1) return field(seed, shape, 0.1, 1);
    if (ends_with(name, "weight")) return field(seed, shape, 1 / std::sqrt(fan_in(shape)));
    return field(seed, shape, 0.2);  // class token, positions
  });
}

}  // namespace sat::test
