// Rows and elements on the CPU: table look-up, means of rows, sums. Loops that wait for memory have one form.
#include <algorithm>
#include <cstring>

#include "sat/tensor/cpu/backend.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {
constexpr int64_t kGrain = 1 << 15;  // elements a piece
}

void CpuBackend::gather_rows(Tensor& y, const Tensor& table, const std::vector<int64_t>& ids) {
  const int64_t channels = table.shape[1];
  float* to = y.address<float>();
  const float* from = table.address<float>();
  parallel_for(int64_t(ids.size()), std::max<int64_t>(1, kGrain / std::max<int64_t>(1, channels)),
               [&](int64_t first, int64_t last) {
                 for (int64_t row = first; row < last; ++row) {
                   const int64_t id = ids[size_t(row)];
                   if (id < 0) {
                     std::fill_n(to + row * channels, channels, 0.f);
                   } else {
                     std::copy_n(from + id * channels, channels, to + row * channels);
                   }
                 }
               });
}

void CpuBackend::mean_of_rows(Tensor& y, const Tensor& x, const std::vector<int64_t>& first,
                              const std::vector<uint8_t>& counted) {
  const int64_t channels = x.shape[1];
  float* to = y.address<float>();
  const float* from = x.address<float>();
  parallel_for(y.shape[0], 1, [&](int64_t run, int64_t) {
    std::vector<double> sums(size_t(channels), 0.);
    double count = 0;
    for (int64_t row = first[size_t(run)]; row < first[size_t(run) + 1]; ++row) {
      if (!counted[size_t(row)]) continue;
      count += 1;
      for (int64_t c = 0; c < channels; ++c) sums[size_t(c)] += double(from[row * channels + c]);
    }
    count = std::max(1e-9, count);
    for (int64_t c = 0; c < channels; ++c) to[run * channels + c] = float(sums[size_t(c)] / count);
  });
}

void CpuBackend::add(Tensor& y, const Tensor& a, const Tensor& b) {
  const float *first = a.address<float>(), *second = b.address<float>();
  float* sum = y.address<float>();
  const int64_t row = b.numel();
  parallel_for(a.numel(), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) sum[i] = first[i] + second[i % row];
  });
}

}  // namespace sat::cpu
