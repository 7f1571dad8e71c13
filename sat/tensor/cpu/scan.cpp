// Mamba's two steps along a sequence on the CPU. The scan goes through time by channels; where there are too few of
// them to share out, time is cut into chunks of one length: each is scanned from a state of zero, their ends are
// combined in order, and each is scanned again from where the one before it ended. That is twice the work, so wide
// layers, such as all published ones, are scanned as one chunk. What is done depends on sizes alone.
#include "sat/tensor/cpu/scan.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "sat/tensor/cpu/backend.h"
#include "sat/tensor/cpu/vector/simd.h"
#include "sat/tensor/cpu/workspace.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kStepsAPiece = 64;                // of the convolution
constexpr int64_t kFewPieces = 8, kChunk = 1 << 9;  // steps of a chunk, where channels make fewer pieces than these

float silu(float x) { return x / (1.f + std::exp(-x)); }
float softplus(float x) { return x > 20.f ? x : std::log1p(std::exp(x)); }

void scan_steps(const ScanPiece& piece, float* state, float* total_step) {
  for (int64_t channel = 0; channel < piece.channels; ++channel) {
    float total = 0;
    for (int64_t l = 0; l < piece.steps; ++l) {
      const int64_t at = l * piece.stride + channel;
      const float step = softplus(piece.delta[at]), input = step * piece.x[at];
      total += step;
      float sum = piece.direct[channel] * piece.x[at];
      for (int64_t n = 0; n < piece.states; ++n) {
        float& h = state[n * kScanChannels + channel];
        h = std::exp(step * piece.rates[n * kScanChannels + channel]) * h + input * piece.b[l * piece.states + n];
        sum += h * piece.c[l * piece.states + n];
      }
      if (piece.y) piece.y[at] = sum * silu(piece.gate[at]);
    }
    if (total_step) total_step[channel] = total;
  }
}

}  // namespace

void CpuBackend::causal_conv1d_silu(Tensor& y, const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const int64_t length = x.shape[1], channels = x.shape[2], taps = weight.shape[1];
  const bool vector = current_simd() != nullptr;
  float* to = y.address<float>();
  const float *from = x.address<float>(), *added = bias.address<float>(), *published = weight.address<float>();
  Tensor by_tap({taps, channels});
  float* kernel = by_tap.address<float>();
  parallel_for(taps, taps, [&](int64_t, int64_t) {
    for (int64_t i = 0; i < taps * channels; ++i) kernel[i % taps * channels + i / taps] = published[i];
  });
  parallel_for(x.shape[0] * length, kStepsAPiece, [&](int64_t first, int64_t last) {
    std::vector<const float*> rows(size_t(taps), nullptr);
    for (int64_t step = first; step < last; ++step) {
      for (int64_t tap = 0; tap < taps; ++tap) {
        const int64_t back = taps - 1 - tap;
        rows[size_t(tap)] = back <= step % length ? from + (step - back) * channels : nullptr;
      }
      float* row = to + step * channels;
      if (vector) {
        avx2::causal_conv_silu(row, rows.data(), kernel, added, taps, channels);
        continue;
      }
      std::copy_n(added, channels, row);
      for (int64_t tap = 0; tap < taps; ++tap) {
        for (int64_t c = 0; rows[size_t(tap)] && c < channels; ++c) {
          row[c] += kernel[tap * channels + c] * rows[size_t(tap)][c];
        }
      }
      for (int64_t c = 0; c < channels; ++c) row[c] = silu(row[c]);
    }
  });
}

void CpuBackend::selective_scan(Tensor& y, const Tensor& x, const Tensor& delta, const Tensor& log_a, const Tensor& b,
                                const Tensor& c, const Tensor& d, const Tensor& gate) {
  const int64_t samples = x.shape[0], length = x.shape[1], channels = x.shape[2], states = log_a.shape[1];
  const int64_t groups = divide_up(channels, kScanChannels), lanes = states * kScanChannels;
  const int64_t chunk = groups < kFewPieces ? kChunk : std::max<int64_t>(length, 1);
  const int64_t chunks = divide_up(length, chunk);
  const auto take_steps = current_simd() ? avx2::scan_steps : scan_steps;
  const float *values = x.address<float>(), *deltas = delta.address<float>(), *gates = gate.address<float>();
  const float *into = b.address<float>(), *out_of = c.address<float>(), *direct = d.address<float>();
  const float* log = log_a.address<float>();
  float* to = y.address<float>();

  Tensor rate({groups, states, kScanChannels});
  float* rates = rate.address<float>();
  parallel_for(groups, 1, [&](int64_t group, int64_t) {
    for (int64_t i = 0; i < lanes; ++i) {
      const int64_t channel = group * kScanChannels + i % kScanChannels;
      rates[group * lanes + i] = channel < channels ? -std::exp(log[channel * states + i / kScanChannels]) : 0.f;
    }
  });

  const auto piece_of = [&](int64_t sample, int64_t group, int64_t at) {
    const int64_t first = group * kScanChannels, row = sample * length + at * chunk, start = row * channels + first;
    return ScanPiece{values + start,
                     deltas + start,
                     gates + start,
                     into + row * states,
                     out_of + row * states,
                     direct + first,
                     rates + group * lanes,
                     to + start,
                     std::min(chunk, length - at * chunk),
                     std::min(kScanChannels, channels - first),
                     states,
                     channels};
  };
  // What each chunk starts from: [samples, groups, chunks, states, lanes].
  Tensor starts({samples * groups, chunks, lanes}), widths({samples * groups, chunks, kScanChannels});
  float *start = starts.address<float>(), *width = widths.address<float>();
  parallel_for(samples * groups * (chunks - 1), 1, [&](int64_t item, int64_t) {
    const int64_t row = item / (chunks - 1), at = item % (chunks - 1);
    ScanPiece piece = piece_of(row / groups, row % groups, at);
    piece.y = nullptr;
    float* end = start + (row * chunks + at + 1) * lanes;
    std::fill_n(end, lanes, 0.f);
    take_steps(piece, end, width + (row * chunks + at) * kScanChannels);
  });
  parallel_for(samples * groups, 1, [&](int64_t row, int64_t) {
    std::fill_n(start + row * chunks * lanes, lanes, 0.f);
    for (int64_t at = 0; at + 1 < chunks; ++at) {
      const float *before = start + (row * chunks + at) * lanes, *total = width + (row * chunks + at) * kScanChannels;
      float* after = start + (row * chunks + at + 1) * lanes;
      for (int64_t i = 0; i < lanes; ++i) {
        const bool there = row % groups * kScanChannels + i % kScanChannels < channels;
        if (there) after[i] += std::exp(total[i % kScanChannels] * rates[row % groups * lanes + i]) * before[i];
      }
    }
  });
  parallel_for(samples * groups * chunks, 1, [&](int64_t item, int64_t) {
    const int64_t row = item / chunks;
    take_steps(piece_of(row / groups, row % groups, item % chunks), start + item * lanes, nullptr);
  });
}

}  // namespace sat::cpu
