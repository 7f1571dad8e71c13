// Reading tensors out of a file.
#include "sat/io/checkpoints/stored_tensor.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "sat/tensor/convert.h"

namespace sat {

static_assert(std::endian::native == std::endian::little, "checkpoints are read as stored: little-endian");

namespace {

/// Copies the elements in row-major order, each passed through `convert`, from the bytes that they span.
template <class From, class To, class Convert>
void gather(const uint8_t* from, const Shape& shape, const std::vector<int64_t>& strides, To* to, Convert convert) {
  const int rank = shape.rank();
  std::vector<int64_t> index(size_t(rank), 0);
  const int64_t inner = rank > 0 ? shape[-1] : 1;
  const int64_t step = rank > 0 ? strides.back() : 1;
  int64_t first = 0;
  for (int64_t rows = shape.numel() / inner; rows > 0; --rows) {
    for (int64_t i = 0; i < inner; ++i) {
      From value;
      std::memcpy(&value, from + (first + i * step) * int64_t(sizeof value), sizeof value);
      *to++ = convert(value);
    }
    for (int axis = rank - 2; axis >= 0; --axis) {
      const auto a = size_t(axis);
      first += strides[a];
      if (++index[a] < shape[axis]) break;
      first -= index[a] * strides[a];
      index[a] = 0;
    }
  }
}

/// Elements that lie one after another are converted in pieces; others are read with all that lies between them.
template <class From, class To, class Convert>
void convert(const OpenFile& file, const StoredTensor& stored, bool contiguous, int64_t span, To* to, Convert convert) {
  constexpr int64_t kPiece = 1 << 16;  // elements
  if (!contiguous) {
    Tensor bytes({span * int64_t(sizeof(From))}, DType::u8);
    file.read(stored.offset, bytes.raw(), bytes.bytes());
    return gather<From>(bytes.data<uint8_t>(), stored.shape, stored.strides, to, convert);
  }
  if constexpr (std::is_same_v<From, To>) return file.read(stored.offset, to, span * int64_t(sizeof(From)));
  std::vector<From> piece(size_t(std::min(kPiece, span)));
  for (int64_t done = 0; done < span; done += kPiece) {
    const int64_t count = std::min(kPiece, span - done);
    file.read(stored.offset + done * int64_t(sizeof(From)), piece.data(), count * int64_t(sizeof(From)));
    if constexpr (std::is_same_v<From, f16> || std::is_same_v<From, bf16>) {
      convert_row(to + done, piece.data(), count);
    } else {
      std::transform(piece.begin(), piece.begin() + count, to + done, convert);
    }
  }
}

float narrow(double value) {
  const auto narrowed = float(value);
  SAT_CHECK(std::isfinite(narrowed) || !std::isfinite(value), "an f64 value of ", value, " does not fit f32");
  return narrowed;
}

}  // namespace

int64_t size_of(StoredType type) { return type == StoredType::f64 ? 8 : size_of(dtype_of(type)); }

DType dtype_of(StoredType type) {
  switch (type) {
    case StoredType::f32:
    case StoredType::f64: return DType::f32;
    case StoredType::bf16: return DType::bf16;
    case StoredType::f16: return DType::f16;
    case StoredType::i32: return DType::i32;
    case StoredType::i64: return DType::i64;
    case StoredType::u8: return DType::u8;
    case StoredType::boolean: return DType::boolean;
  }
  fail("unknown stored type ", int(type));
}

std::vector<int64_t> contiguous_strides(const Shape& shape) {
  std::vector<int64_t> strides(size_t(shape.rank()), 1);
  for (size_t axis = strides.size(); axis > 1; --axis) {
    SAT_CHECK(!__builtin_mul_overflow(strides[axis - 1], shape[int(axis - 1)], &strides[axis - 2]), "shape ", shape,
              " has too many elements");
  }
  return strides;
}

int64_t span_of(const Shape& shape, const std::vector<int64_t>& strides) {
  SAT_CHECK(int64_t(strides.size()) == shape.rank(), "shape ", shape, " comes with ", strides.size(), " strides");
  int64_t last = 0;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    const int64_t stride = strides[size_t(axis)];
    SAT_CHECK(stride >= 0, "axis ", axis, " has the negative stride ", stride);
    int64_t reach = 0;
    SAT_CHECK(shape[axis] == 0 || (!__builtin_mul_overflow(shape[axis] - 1, stride, &reach) &&
                                   !__builtin_add_overflow(last, reach, &last) && last < INT64_MAX),
              "axis ", axis, " of shape ", shape, " with stride ", stride, " reaches too far");
  }
  return shape.numel() == 0 ? 0 : last + 1;
}

Tensor read_stored(const OpenFile& file, const StoredTensor& stored) {
  const bool contiguous =
      stored.strides.empty() || stored.shape.numel() == 0 || stored.strides == contiguous_strides(stored.shape);
  const int64_t span = contiguous ? stored.shape.numel() : span_of(stored.shape, stored.strides);
  const int64_t fit = (file.size() - stored.offset) / size_of(stored.type);
  SAT_CHECK(stored.offset >= 0 && stored.offset <= file.size() && span <= fit, file.path(), ": a tensor of shape ",
            stored.shape, " at byte ", stored.offset, " spans ", span, " elements, the file has room for ", fit);
  const bool is_float = stored.type == StoredType::bf16 || stored.type == StoredType::f16;
  Tensor read(stored.shape, is_float ? DType::f32 : dtype_of(stored.type));
  if (read.numel() == 0) return read;
  const auto same = [](auto value) { return value; };
  const auto as_float = [](auto value) { return to_float(value); };
  const auto into = [&](auto from, auto* to, auto change) {
    convert<decltype(from)>(file, stored, contiguous, span, to, change);
  };
  switch (stored.type) {
    case StoredType::f32: into(float(), read.data<float>(), same); break;
    case StoredType::i32: into(int32_t(), read.data<int32_t>(), same); break;
    case StoredType::i64: into(int64_t(), read.data<int64_t>(), same); break;
    case StoredType::u8: into(uint8_t(), read.data<uint8_t>(), same); break;
    case StoredType::f64: into(double(), read.data<float>(), narrow); break;
    case StoredType::bf16: into(bf16(), read.data<float>(), as_float); break;
    case StoredType::f16: into(f16(), read.data<float>(), as_float); break;
    case StoredType::boolean: into(uint8_t(), read.data<bool>(), [](uint8_t value) { return value != 0; }); break;
  }
  return read;
}

}  // namespace sat
