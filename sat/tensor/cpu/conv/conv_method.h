// Private: how the CPU computes a 3x3x3 convolution with a norm: the methods by name, what each saves and how far it
// may be off, and the table that chooses among them.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "sat/tensor/context.h"

namespace sat::cpu {

/// winograd_hwd makes tiles of h x w x d outputs along the three axes; docs/kernels.md.
enum class ConvMethod : uint8_t {
  direct,            // a blocked product, each output voxel a row; any kernel size and stride
  winograd_222,      // F(2, 3) on every axis
  winograd_244,      // F(2, 3) along H, F(4, 3) along W and D
  winograd_444,      // F(4, 3) on every axis
  winograd_644,      // F(6, 3) along H, F(4, 3) along W and D
  winograd_stride2,  // stride 2, split by parity: F(4, 2) and plain products on every axis
  amx_bf16           // direct, operands rounded to bf16, on the processor's matrix units (slowly emulated without them)
};

/// The facts of a method.
struct ConvMethodInfo {
  ConvMethod method;
  const char* name;      // "direct", "winograd-4x4x4", "winograd-stride2", ..
  int64_t stride;        // the only one it computes; 0: any that the layers have
  double savings;        // multiplications of the definition, for one of its own
  double weight_growth;  // bytes of its weights, for one of the definition's
  double error;          // bound on the rms error, of the output's standard deviation, that tests hold
  int64_t most_inputs;   // for this many input channels
};
const std::vector<ConvMethodInfo>& conv_methods();
const ConvMethodInfo& info_of(ConvMethod method);
ConvMethod parse_conv_method(const std::string& name);  // throws Error that lists the names

/// What the choice depends on. `grid` is the usual output grid (the method is right on any other); `most_error` what
/// the rms error may come to, of the output's standard deviation.
struct ConvLayer {
  int64_t in, out, kernel, stride;
  std::array<int64_t, 3> grid;
  double most_error = 1e-5;
};

/// The table: the method for a layer at a precision, on a CPU level.
ConvMethod choose_conv_method(const ConvLayer& layer, Precision precision, CpuLevel cpu);

}  // namespace sat::cpu
