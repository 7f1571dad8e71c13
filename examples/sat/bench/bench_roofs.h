// How `sat bench` takes times, and what a CUDA device does at best, measured: the roofs of sat/tensor/roofs/roofs.h
// there.
#pragma once

#include <functional>
#include <vector>

#include "sat/tensor/context.h"
#include "sat/tensor/ops.h"
#include "sat/tensor/roofs/roofs.h"

namespace sat::cli {

/// Seconds a call takes, of `calls` in a row; where they compute on a device, until it has finished the last one.
double time_calls(Context& context, const std::function<void()>& call, int64_t calls);

/// Of the device that two contexts compute on. A dense layer of cuBLAS, exact, is what multiply-adds are held against;
/// the same in the half type stands for the matrix units. There is no copy in cache.
class DeviceRoofMeter {
 public:
  DeviceRoofMeter(Context& exact, Context& fast, const RoofOptions& options);

  Roofs measure();

 private:
  /// A layer that is large enough for the device, or that one call of takes the time of a measurement.
  struct Layer {
    Context* context;
    Tensor x;
    PackedMatrix weight;
    double flop;
  };
  static Layer layer_of(Context& context, int64_t side);
  Layer busy_layer(Context& context) const;
  /// Calls a second, over the time of a measurement.
  double rate(Context& context, const std::function<void()>& call) const;
  double flops(const Layer& layer) const;

  double seconds_;
  Context& exact_;
  Tensor from_, to_;
  std::vector<Layer> layers_;  // exact, fast
};

}  // namespace sat::cli
