// a^T b on the CPU, the gradient of a dense layer's weight: a sum of outer products over rows. Nothing is transposed: a
// part's columns of some rows are brought together, and both factors are read along the rows.
#include <algorithm>
#include <vector>

#include "sat/tensor/cpu/backend.h"
#include "sat/tensor/cpu/gradient/conv/outer_product.h"
#include "sat/tensor/cpu/vector/simd.h"
#include "sat/tensor/cpu/workspace.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kRun = 128;                 // rows that are summed in one go
constexpr int64_t kMostLeft = 192;            // columns of a in a part, whose sums the L1 cache holds
constexpr int64_t kMostRight = 4 * kPanel;    // and of b
constexpr int64_t kPieceRows = 2048;          // at least, where rows are shared out
constexpr int64_t kEnoughParts = 64;          // for many threads
constexpr int64_t kPartialFloats = 16 << 20;  // at most, of sums that are added up in the end

/// A matrix's columns in blocks of equal width, a multiple of 16.
struct Columns {
  const float* first;
  int64_t count, width, blocks;

  Columns(const Tensor& x, int64_t most)
      : first(x.address<float>()),
        count(x.shape[1]),
        width(divide_up(divide_up(count, divide_up(count, most)), kPanel) * kPanel),
        blocks(divide_up(count, width)) {}

  bool whole() const { return width == count; }

  /// Rows of a block, `width` apart, with zeros behind the last column: in `room`, or where they lie.
  const float* rows(float* room, int64_t block, int64_t row, int64_t rows) const {
    const float* from = first + row * count + block * width;
    if (whole()) return from;
    const int64_t some = std::min(width, count - block * width);
    for (int64_t r = 0; r < rows; ++r) {
      std::copy_n(from + r * count, some, room + r * width);
      std::fill_n(room + r * width + some, width - some, 0.f);
    }
    return room;
  }
};

void vector_product(Tensor& y, const Tensor& a, const Tensor& b, OuterProduct outer) {
  const Columns left(a, kMostLeft), right(b, kMostRight);
  const int64_t rows = a.shape[0], blocks = left.blocks * right.blocks, sums = left.width * right.width;
  const int64_t most = std::min({rows / kPieceRows, divide_up(kEnoughParts, blocks), kPartialFloats / y.numel()});
  const int64_t a_piece = divide_up(rows, std::max<int64_t>(1, most)), pieces = divide_up(rows, a_piece);
  Tensor partial(pieces > 1 ? y.shape.with(0, pieces * left.count) : Shape{0});
  float* results = pieces > 1 ? partial.address<float>() : y.address<float>();
  std::vector<int32_t> left_at(static_cast<size_t>(kRun)), right_at(left_at.size());
  for (int64_t k = 0; k < kRun; ++k) {
    left_at[size_t(k)] = int32_t(k * left.width);
    right_at[size_t(k)] = int32_t(k * right.width);
  }
  Workspace rooms(sums + kRun * (left.width + right.width));
  parallel_for(pieces * blocks, 1, [&](int64_t part, int64_t) {
    Workspace::Use room(rooms);
    float *sum = room.data(), *left_room = sum + sums, *right_room = left_room + kRun * left.width;
    const int64_t piece = part / blocks, m = part % blocks / right.blocks, n = part % right.blocks;
    std::fill_n(sum, sums, 0.f);
    const int64_t last = std::min(rows, (piece + 1) * a_piece);
    for (int64_t row = piece * a_piece; row < last; row += kRun) {
      const int64_t count = std::min(kRun, last - row);
      const float* x = left.rows(left_room, m, row, count);
      outer(sum, {x, right.rows(right_room, n, row, count), left_at.data(), right_at.data(), count}, left.width,
            right.width / kPanel);
    }
    float* to = results + (piece * left.count + m * left.width) * right.count + n * right.width;
    for (int64_t r = 0; r < std::min(left.width, left.count - m * left.width); ++r, to += right.count) {
      std::copy_n(sum + r * right.width, std::min(right.width, right.count - n * right.width), to);
    }
  });
  if (pieces == 1) return;
  float* to = y.address<float>();
  parallel_for(y.numel(), 1 << 12, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      double total = 0;
      for (int64_t piece = 0; piece < pieces; ++piece) total += double(results[piece * y.numel() + i]);
      to[i] = float(total);
    }
  });
}

}  // namespace

void CpuBackend::product_of_columns(Tensor& y, const Tensor& a, const Tensor& b) {
  if (y.numel() == 0) return;
  const CpuLevel level = Context::current().cpu();
  if (level != CpuLevel::plain) {
    return vector_product(y, a, b, level == CpuLevel::avx2 ? outer_product_avx2 : outer_product_avx512);
  }
  const int64_t rows = a.shape[0], left = a.shape[1], right = b.shape[1];
  const float *from = a.address<float>(), *along = b.address<float>();
  float* to = y.address<float>();
  parallel_for(left, 1, [&](int64_t m, int64_t) {
    std::vector<double> sums(size_t(right), 0.);
    for (int64_t row = 0; row < rows; ++row) {
      const auto factor = double(from[row * left + m]);
      for (int64_t n = 0; n < right; ++n) sums[size_t(n)] += factor * double(along[row * right + n]);
    }
    std::copy(sums.begin(), sums.end(), to + m * right);
  });
}

}  // namespace sat::cpu
