// A random convolution on the device and its reference in double on the CPU, for every variant: values, statistics, and
// what must not be written.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

#include "sat/cuda/kernels.h"

namespace sat::test {

/// One problem for sat::cuda::Conv.
struct ConvCase {
  std::array<int64_t, 3> size{};  // H, W, D
  int64_t channels = 0, out = 0;
  int64_t skip = 0;  // channels of a second input, 0 for none
  int64_t stride = 1;
  DType dtype = DType::f32;  // of inputs and weights
  DType store = DType::f32;  // of the result
  bool norm = true, skip_norm = false;
  int64_t first = 0, last = -1;  // planes of the result; -1: up to the last
  int64_t ring = 0;              // planes of the first input that are held, 0 for all
  /// Half inputs only: normalised values are rounded to the inputs' type before they are multiplied.
  bool rounds = true;
  /// Added to every result: where it is large, statistics that cancel show. Wants norm == false.
  float lift = 0;
};
std::ostream& operator<<(std::ostream& out, const ConvCase& c);

/// Axes of 1, 2, 15, 17, 31, 33; channels 1, 3, 8, 24, 48, 64, 96; both strides. f32, one input, with a norm.
std::vector<ConvCase> awkward_convs();

/// The problem: inputs, norms and weights on the device, and the expected results. Planes of the inputs that no needed
/// result reads are NaN.
class ConvReference {
 public:
  using Kernel = std::function<void(const cuda::Stream&, const cuda::Conv&)>;

  explicit ConvReference(const ConvCase& c);
  ~ConvReference();

  /// All but `partials` and `workspace`: enough to ask for a variant's refusal, partials and workspace.
  const cuda::Conv& conv() const;

  /// Runs a kernel on fresh results. "" or one line: a value, the statistics of a channel, or a byte outside the planes
  /// [first, last) that was written. Tolerances in deviations of the result: f32 inputs 1e-5, half inputs 2e-3; plus
  /// the rounding of the stored type.
  std::string run(const cuda::Stream& stream, int64_t partials, int64_t workspace_bytes, const Kernel& kernel);

  /// What the last run left, values and then partials, for comparing bits.
  const std::vector<uint8_t>& bytes() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace sat::test
