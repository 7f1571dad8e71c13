// The operations that `sat bench` measures on a CUDA device: sizes, inputs and work of the CPU's operations, in the
// device's variants. A name alone computes in the half type; NAME-f32, and `exact`, in f32.
#include <algorithm>

#include "examples/sat/bench/bench_case.h"

namespace sat::cli {

namespace {

constexpr double kSaved = 2;  // bytes that a value in half saves

using BytesSaved = std::function<double(const CaseSizes&)>;

/// One of the CPU's operations without its variants, and what they do: on inputs that are on the device, it does the
/// same.
struct Reused {
  BenchOperation operation;
  std::function<Runner(const CaseSizes&, const Inputs&)> prepare;
};

Reused reused(const std::vector<BenchOperation>& all, const std::string& name, const std::string& wanted) {
  const auto is_named = [](const std::string& asked) { return [&](const auto& one) { return one.name == asked; }; };
  const auto operation = std::find_if(all.begin(), all.end(), is_named(name));
  SAT_CHECK(operation != all.end(), "there is no operation '", name, "' on the CPU");
  const auto variant = std::find_if(operation->variants.begin(), operation->variants.end(), is_named(wanted));
  SAT_CHECK(variant != operation->variants.end(), name, " has no variant '", wanted, "' on the CPU");
  Reused found{*operation, variant->prepare};
  found.operation.variants.clear();
  return found;
}

std::function<Work(const CaseSizes&)> with_less_bytes(const BenchOperation& operation, const BytesSaved& saved) {
  return [work = operation.work, saved](const CaseSizes& sizes) {
    Work less = work(sizes);
    less.bytes -= saved(sizes);
    return less;
  };
}

/// Everything that is moved is held in half.
BytesSaved half_of_all(const BenchOperation& operation) {
  return [work = operation.work](const CaseSizes& sizes) { return 0.5 * work(sizes).bytes; };
}

struct NamedConv {
  const char *name, *conv;
  Precision precision;
  bool only_by_name, on_tiles;
};

constexpr NamedConv kNamedConvs[] = {
    {"plain-f32", "plain", Precision::exact, true, false},  {"plain", "plain", Precision::fast, true, false},
    {"tiled-f32", "tiled", Precision::exact, false, false}, {"tiled", "tiled", Precision::fast, false, false},
    {"mma", "mma", Precision::fast, false, true},           {"composed", "composed", Precision::fast, false, true},
    {"wgmma", "wgmma", Precision::fast, false, true},       {"cudnn-f32", "cudnn", Precision::exact, false, false},
    {"cudnn", "cudnn", Precision::fast, false, true}};

std::string in_its_name(const std::string& name, const std::string& reason) {
  return reason.empty() ? "" : name + ": " + reason;
}

/// Every kernel variant; `conv_sizes` is what a case asks of it.
BenchOperation convolution(Reused cpu, const cuda::DeviceOptions& device,
                           const std::function<cuda::ConvSizes(const CaseSizes&)>& conv_sizes) {
  BenchOperation& op = cpu.operation;
  for (const NamedConv& one : kNamedConvs) {
    if (std::string(one.name) == "composed" && op.name != "conv3d_norm_up") continue;
    BenchVariant variant{one.name, cpu.prepare};
    variant.conv = one.conv;
    variant.precision = one.precision;
    variant.only_by_name = one.only_by_name;
    variant.on_tiles = one.on_tiles;
    if (one.precision == Precision::fast) variant.work = with_less_bytes(op, half_of_all(op));
    variant.refusal = [one, conv_sizes, options = device](const CaseSizes& sizes, CpuLevel) mutable {
      options.conv = one.conv;
      return in_its_name(one.name, cuda::conv_refusal(options, one.precision, conv_sizes(sizes)));
    };
    op.variants.push_back(std::move(variant));
  }
  return op;
}

cuda::ConvSizes conv_sizes(const CaseSizes& sizes, int64_t in, int64_t joined, int64_t out, int64_t stride) {
  return {{sizes.size[0], sizes.size[1], sizes.size[2]}, in, joined, out, stride};
}

BenchOperation attention_operation(Reused cpu, const cuda::DeviceOptions& device) {
  for (const char* name : {"plain", "tiled", "fused"}) {
    const bool fused = std::string(name) == "fused";
    const Precision precision = fused ? Precision::fast : Precision::exact;
    BenchVariant variant{name, cpu.prepare};
    variant.attention = name;
    variant.precision = precision;
    variant.on_tiles = fused;
    variant.refusal = [name, precision, options = device](const CaseSizes& sizes, CpuLevel) mutable {
      options.attention = name;
      return in_its_name(
          name, cuda::attention_refusal(options, precision, sizes.size[1], sizes.channels[0], kAttentionHeads));
    };
    cpu.operation.variants.push_back(std::move(variant));
  }
  return cpu.operation;
}

/// What has no variants to choose from: in f32, and, where values are then held in half, in fast precision.
BenchOperation in_both_precisions(Reused cpu, const BytesSaved& saved) {
  BenchOperation& op = cpu.operation;
  op.variants.push_back({name_of(Precision::exact), cpu.prepare});
  BenchVariant fast{name_of(Precision::fast), cpu.prepare};
  fast.precision = Precision::fast;
  fast.on_tiles = true;
  fast.work = with_less_bytes(op, saved);
  op.variants.push_back(std::move(fast));
  return op;
}

}  // namespace

std::vector<BenchOperation> device_operations(const cuda::DeviceOptions& device) {
  const std::vector<BenchOperation> cpu = bench_operations();
  std::vector<BenchOperation> all;
  const auto plain = [&](const char* name) { return reused(cpu, name, "plain"); };

  all.push_back(convolution(plain("conv3d_norm"), device, [](const CaseSizes& sizes) {
    return conv_sizes(sizes, sizes.channels[0], 0, sizes.channels[1], 1);
  }));
  all.push_back(convolution(plain("conv3d_norm_up"), device, [](const CaseSizes& sizes) {
    return conv_sizes(sizes, sizes.channels[1], sizes.channels[1], sizes.channels[1], 1);
  }));
  all.push_back(convolution(plain("conv3d_norm_stride2"), device, [](const CaseSizes& sizes) {
    return conv_sizes(sizes, sizes.channels[0], 0, sizes.channels[1], 2);
  }));

  all.push_back(in_both_precisions(plain("accumulate_mask_scores"), [](const CaseSizes& sizes) {
    return kSaved * double(product_of(sizes.size)) * double(sizes.channels[0]);  // of the features
  }));
  all.push_back(in_both_precisions(plain("linear"), [](const CaseSizes& sizes) {
    return kSaved * double(product_of(sizes.channels));  // of the weights
  }));
  all.push_back(attention_operation(plain("attention"), device));
  Reused norm = plain("layer_norm");
  norm.operation.variants = {{name_of(Precision::exact), norm.prepare}};
  all.push_back(norm.operation);

  const Reused unet = reused(cpu, "unet", name_of(Precision::exact));
  all.push_back(in_both_precisions(unet, half_of_all(unet.operation)));
  return all;
}

}  // namespace sat::cli
