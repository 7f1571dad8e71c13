// Sums and joins, element by element: checks, allocation and their short loops.
#include <cstring>

#include "sat/tensor/accelerator.h"
#include "sat/tensor/ops.h"
#include "sat/tensor/parallel.h"
#include "sat/tensor/profile.h"

namespace sat {

namespace {
constexpr int64_t kGrain = 1 << 15;  // elements a piece
}

Tensor add(const Tensor& a, const Tensor& b) {
  const int skipped = a.shape.rank() - b.shape.rank();
  bool fits = skipped >= 0;
  for (int axis = 0; fits && axis < b.shape.rank(); ++axis) fits = a.shape[axis + skipped] == b.shape[axis];
  SAT_CHECK(fits, "add: shapes ", a.shape, " and ", b.shape, " do not fit");
  Tensor sum = empty_like(a);
  if (sum.device == Device::cuda) {
    accelerator().add(sum, a, b);
    return sum;
  }
  const float *x = a.data<float>(), *y = b.data<float>();
  float* z = sum.data<float>();
  const int64_t row = b.numel();
  parallel_for(a.numel(), kGrain, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) z[i] = x[i] + y[i % row];
  });
  return sum;
}

Tensor concat_channels(const std::vector<Tensor>& parts) {
  SAT_CHECK(!parts.empty(), "concat_channels: nothing to join");
  int64_t channels = 0;
  for (const Tensor& part : parts) {
    SAT_CHECK(part.shape.rank() >= 1 && part.shape.with(-1, 0) == parts[0].shape.with(-1, 0),
              "concat_channels: shapes ", parts[0].shape, " and ", part.shape, " do not fit");
    channels += part.shape[-1];
  }
  Tensor joined(parts[0].shape.with(-1, channels), DType::f32, parts[0].device);
  const int64_t rows = joined.numel() / std::max<int64_t>(1, channels);
  int64_t first = 0;
  for (const Tensor& part : parts) {
    const int64_t width = part.shape[-1];
    if (joined.device == Device::cuda) {
      constexpr int64_t kBytes = sizeof(float);
      accelerator().copy_runs(static_cast<char*>(joined.raw()) + first * kBytes, channels * kBytes, part.raw(),
                              width * kBytes, width * kBytes, rows);
      first += width;
      continue;
    }
    parallel_for(rows, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, width)), [&](int64_t a, int64_t b) {
      for (int64_t row = a; row < b; ++row) {
        std::memcpy(joined.data<float>() + row * channels + first, part.data<float>() + row * width,
                    size_t(width) * sizeof(float));
      }
    });
    first += width;
  }
  return joined;
}

}  // namespace sat
