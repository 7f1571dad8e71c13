// Mamba's two steps along a sequence on the CPU: the plain forms.
#include <algorithm>
#include <cmath>
#include <vector>

#include "sat/tensor/cpu/backend.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kStepsAPiece = 64, kChannelsAPiece = 16;

float silu(float x) { return x / (1.f + std::exp(-x)); }
float softplus(float x) { return x > 20.f ? x : std::log1p(std::exp(x)); }

}  // namespace

void CpuBackend::causal_conv1d_silu(Tensor& y, const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const int64_t length = x.shape[1], channels = x.shape[2], taps = weight.shape[1];
  float* to = y.address<float>();
  const float *from = x.address<float>(), *kernel = weight.address<float>(), *added = bias.address<float>();
  parallel_for(x.shape[0] * length, kStepsAPiece, [&](int64_t first, int64_t last) {
    for (int64_t step = first; step < last; ++step) {
      for (int64_t c = 0; c < channels; ++c) {
        float sum = added[c];
        for (int64_t tap = std::max<int64_t>(0, taps - 1 - step % length); tap < taps; ++tap) {
          sum += kernel[c * taps + tap] * from[(step - taps + 1 + tap) * channels + c];
        }
        to[step * channels + c] = silu(sum);
      }
    }
  });
}

void CpuBackend::selective_scan(Tensor& y, const Tensor& x, const Tensor& delta, const Tensor& log_a, const Tensor& b,
                                const Tensor& c, const Tensor& d, const Tensor& gate) {
  const int64_t length = x.shape[1], channels = x.shape[2], states = log_a.shape[1];
  const int64_t pieces = (channels + kChannelsAPiece - 1) / kChannelsAPiece;
  float* to = y.address<float>();
  const float *values = x.address<float>(), *deltas = delta.address<float>(), *log = log_a.address<float>();
  const float *into = b.address<float>(), *out_of = c.address<float>(), *direct = d.address<float>();
  const float* gates = gate.address<float>();
  parallel_for(x.shape[0] * pieces, 1, [&](int64_t piece, int64_t) {
    const int64_t sample = piece / pieces, first = piece % pieces * kChannelsAPiece;
    const int64_t last = std::min(channels, first + kChannelsAPiece);
    std::vector<float> state(size_t(kChannelsAPiece * states), 0.f), rate(state.size());
    for (int64_t i = 0; i < (last - first) * states; ++i) rate[size_t(i)] = -std::exp(log[first * states + i]);
    for (int64_t l = sample * length; l < (sample + 1) * length; ++l) {
      for (int64_t channel = first; channel < last; ++channel) {
        const int64_t at = l * channels + channel;
        const float step = softplus(deltas[at]), input = step * values[at];
        float sum = direct[channel] * values[at];
        for (int64_t n = 0; n < states; ++n) {
          float& h = state[size_t((channel - first) * states + n)];
          h = std::exp(step * rate[size_t((channel - first) * states + n)]) * h + input * into[l * states + n];
          sum += h * out_of[l * states + n];
        }
        to[at] = sum * silu(gates[at]);
      }
    }
  });
}

}  // namespace sat::cpu
