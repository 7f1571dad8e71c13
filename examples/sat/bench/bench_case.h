// What `sat bench` can measure: operations by name, the sizes they come in, and the variants in which they can run.
// Knows neither clocks and roofs (bench_run.h) nor how results are shown (bench_report.h).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sat/cuda/device/device.h"
#include "sat/tensor/context.h"
#include "sat/tensor/tensor.h"

namespace sat::cli {

/// The sizes of one case, in the order of its operation's names for them.
struct CaseSizes {
  std::vector<int64_t> channels, size;
};

/// What one call has to do, however it is done. `flop` counts the plain algorithm's, so a variant that needs fewer may
/// pass the roof; `bytes` counts every value that is read and written once, in f32 where a variant does not say
/// otherwise.
struct Work {
  double flop = 0, bytes = 0;
};

using Inputs = std::map<std::string, Tensor>;  // by name; random, shared by the variants of a case
using Runner = std::function<void()>;          // one call

/// One variant of an operation: a kernel, an algorithm, a precision.
struct BenchVariant {
  std::string name;
  /// Does once what a model does when it is loaded, such as packing weights; the Runner is what is timed.
  std::function<Runner(const CaseSizes& sizes, const Inputs& inputs)> prepare;
  std::optional<CpuLevel> level = {};      // where it runs; none: at the level of --cpu
  bool on_tiles = false;                   // computes on matrix units where the level has them
  bool only_by_name = false;               // slow: left out unless --variant names it
  Precision precision = Precision::exact;  // of the context that it runs in
  /// "" or why this variant does not run on these sizes, at this level, or on this processor; none: it always does.
  std::function<std::string(const CaseSizes& sizes, CpuLevel level)> refusal = {};
  // On a device: the kernel variants of convolutions and attention (sat/cuda/device/device.h).
  std::string conv = "automatic", attention = "automatic";
  std::function<Work(const CaseSizes&)> work = {};  // in place of the operation's, where values are held in half
};

struct BenchOperation {
  std::string name, what;
  std::vector<std::string> channel_names, size_names;  // how --channels IN,OUT and --size HxWxD are read
  std::vector<CaseSizes> cases;
  size_t standard = 1;  // how many of the cases, from the first on, run when nothing is asked for
  std::function<Work(const CaseSizes&)> work;
  std::function<Inputs(const CaseSizes&)> inputs;
  std::vector<BenchVariant> variants;
  /// "" or why the operation cannot have these sizes; none: any will do.
  std::function<std::string(const CaseSizes&)> refusal = {};
};

/// "conv3d/64-64/96x96x96"
std::string case_name(const BenchOperation& operation, const CaseSizes& sizes);

// Each in the file of that name. To add a variant to an operation, add a BenchVariant to its `variants` there.
std::vector<BenchOperation> bench_convolutions();
std::vector<BenchOperation> bench_kernels();    // matrices, norms, grids
std::vector<BenchOperation> bench_gradients();  // what training adds
std::vector<BenchOperation> bench_stages();     // the U-Net, the query decoder, resampling, compression

/// All of them.
std::vector<BenchOperation> bench_operations();

/// Those that a CUDA device has, in its own variants: every kernel variant by name. Nothing is opened to list them.
std::vector<BenchOperation> device_operations(const cuda::DeviceOptions& device);

constexpr int64_t kAttentionHeads = 8;

/// How full-resolution features are held where the current context computes.
DType feature_type();

/// The vector variant, which the levels above plain have, or the portable one, which is slow.
BenchVariant simd_variant(const std::string& name, std::function<Runner(const CaseSizes&, const Inputs&)> prepare);
BenchVariant plain_variant(std::function<Runner(const CaseSizes&, const Inputs&)> prepare);

/// Normally distributed numbers, or nearly so (the sum of four uniform ones): the same for the same seed.
Tensor random_normal(const Shape& shape, double deviation, uint64_t seed);
/// What layers read: normal numbers behind a leaky ReLU.
Tensor random_activations(const Shape& shape, uint64_t seed);

/// The product of some sizes.
int64_t product_of(const std::vector<int64_t>& sizes);
/// [1, H, W, D, channels]
Shape volume_shape(const std::vector<int64_t>& size, int64_t channels);

}  // namespace sat::cli
