// Private: the loops of attention inside many small windows. Holds plain declarations only, as vector_avx2.h does.
#pragma once

#include <cstdint>

namespace sat::cpu::avx2 {

constexpr int64_t kWindowQueries = 6;  // of a call of window_queries()
constexpr int64_t kWindowLanes = 16;   // tokens and channels are taken so many at a time

/// One head of one window, packed: keys [ceil(tokens / 16)][width][16], values [ceil(width / 16)][tokens][16].
struct WindowHead {
  const float *keys, *values;
  int64_t tokens, width;
  float scale;
};

/// Up to six queries against all keys of their window: to[r] = softmax(scale * q[r] * k^T + bias[r] + mask[r]) * v.
///   q, to: `width` floats a row; a row of bias [tokens] or null; a row of mask, `tokens` rounded up to 16, or null
///   scores [6, tokens rounded up to 16]: room
void window_queries(float* const* to, const float* const* q, const float* const* bias, const float* const* mask,
                    int64_t rows, const WindowHead& head, float* scores);

}  // namespace sat::cpu::avx2
