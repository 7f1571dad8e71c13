// A device's roofs are taken with the words of ops.h alone.
#include "examples/sat/bench/bench_roofs.h"

#include <algorithm>
#include <cmath>

#include "examples/sat/bench/bench_case.h"
#include "sat/tensor/profile.h"

namespace sat::cli {

namespace {

constexpr int64_t kLargestSide = 4096, kSmallestSide = 256;
constexpr int64_t kArrayBytes = int64_t(256) << 20;  // far larger than a device's L2 cache

}  // namespace

double time_calls(Context& context, const std::function<void()>& call, int64_t calls) {
  UseContext use(context);
  profile::Stopwatch watch;
  for (int64_t i = 0; i < calls; ++i) call();
  context.synchronize();
  return watch.lap() / double(calls);
}

DeviceRoofMeter::DeviceRoofMeter(Context& exact, Context& fast, const RoofOptions& options)
    : seconds_(options.seconds), exact_(exact) {
  UseContext use(exact);
  const int64_t bytes = options.array_bytes > 0 ? options.array_bytes : kArrayBytes;
  from_ = to_compute_device(random_normal({bytes / size_of(DType::f32)}, 1, 1));
  to_ = Tensor(from_.shape, from_.dtype, from_.device);
  for (Context* context : {&exact, &fast}) layers_.push_back(busy_layer(*context));
}

DeviceRoofMeter::Layer DeviceRoofMeter::layer_of(Context& context, int64_t side) {
  UseContext use(context);
  // Wide, so that narrowing x, which is part of a fast layer, is little beside the product.
  const int64_t rows = side / 2, out = 4 * side;
  return {&context, to_compute_device(random_normal({rows, side}, 1, 1)),
          pack_linear(random_normal({out, side}, 0.03, 2)), 2 * double(rows) * double(side) * double(out)};
}

DeviceRoofMeter::Layer DeviceRoofMeter::busy_layer(Context& context) const {
  Layer layer = layer_of(context, kSmallestSide);
  for (int64_t side = 2 * kSmallestSide; side <= kLargestSide && 8 * layer.flop < seconds_ * flops(layer); side *= 2) {
    layer = layer_of(context, side);
  }
  return layer;
}

double DeviceRoofMeter::rate(Context& context, const std::function<void()>& call) const {
  const double once = time_calls(context, call, 1);
  return 1 / time_calls(context, call, std::max<int64_t>(1, std::llround(seconds_ / std::max(once, 1e-7))));
}

double DeviceRoofMeter::flops(const Layer& layer) const {
  return layer.flop * rate(*layer.context, [&] { linear(layer.x, layer.weight, {}); });
}

Roofs DeviceRoofMeter::measure() {
  Roofs roofs;
  roofs.fma_flops = flops(layers_[0]);
  roofs.tile_flops = flops(layers_[1]);
  roofs.memory_bytes = 2 * double(from_.bytes()) * rate(exact_, [&] { copy(to_, from_); });
  return roofs;
}

}  // namespace sat::cli
