// Reading tensors out of a mapped file.
#include "sat/io/stored_tensor.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "sat/io/file.h"
#include "sat/tensor/memory.h"

namespace sat {

static_assert(std::endian::native == std::endian::little, "checkpoints are read as stored: little-endian");

namespace {

/// Copies the elements in row-major order, each passed through `convert`. Elements need not be aligned.
template <class From, class To, class Convert>
void gather(const uint8_t* from, const StoredTensor& stored, To* to, Convert convert) {
  const int rank = stored.shape.rank();
  std::vector<int64_t> index(size_t(rank), 0);
  const int64_t inner = rank > 0 ? stored.shape[-1] : 1;
  const int64_t step = rank > 0 ? stored.strides.back() : 1;
  int64_t first = 0;
  for (int64_t rows = stored.shape.numel() / inner; rows > 0; --rows) {
    for (int64_t i = 0; i < inner; ++i) {
      From value;
      std::memcpy(&value, from + (first + i * step) * int64_t(sizeof value), sizeof value);
      *to++ = convert(value);
    }
    for (int axis = rank - 2; axis >= 0; --axis) {
      const auto a = size_t(axis);
      first += stored.strides[a];
      if (++index[a] < stored.shape[axis]) break;
      first -= index[a] * stored.strides[a];
      index[a] = 0;
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

const uint8_t* MappedBytes::data() const { return static_cast<const uint8_t*>(buffer->data()); }
int64_t MappedBytes::size() const { return buffer->bytes(); }

MappedBytes map_bytes(const std::string& path) {
  const auto file = std::make_shared<MappedFile>(path);
  // The buffer covers the whole file, so no tensor of it ever "owns alone" bytes that cannot be written.
  return {std::make_shared<Buffer>(const_cast<uint8_t*>(file->data()), file->size(), [file] {}), path};
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

Tensor read_stored(const MappedBytes& file, const StoredTensor& stored) {
  const int64_t span = span_of(stored.shape, stored.strides);
  const int64_t fit = (file.size() - stored.offset) / size_of(stored.type);
  SAT_CHECK(stored.offset >= 0 && stored.offset <= file.size() && span <= fit, file.path, ": a tensor of shape ",
            stored.shape, " at byte ", stored.offset, " spans ", span, " elements, the file has room for ", fit);
  const bool contiguous = stored.shape.numel() == 0 || stored.strides == contiguous_strides(stored.shape);
  const bool aligned = stored.offset % int64_t(sizeof(float)) == 0;
  if (stored.type == StoredType::f32 && contiguous && aligned) {
    Tensor view;
    view.shape = stored.shape;
    view.buffer = file.buffer;
    view.offset = stored.offset / int64_t(sizeof(float));
    return view;
  }

  const bool is_float = stored.type == StoredType::bf16 || stored.type == StoredType::f16;
  Tensor read(stored.shape, is_float ? DType::f32 : dtype_of(stored.type));
  if (read.numel() == 0) return read;
  const uint8_t* from = file.data() + stored.offset;
  const auto same = [](auto value) { return value; };
  switch (stored.type) {
    case StoredType::f32: gather<float>(from, stored, read.data<float>(), same); break;
    case StoredType::f64: gather<double>(from, stored, read.data<float>(), narrow); break;
    case StoredType::bf16: gather<bf16>(from, stored, read.data<float>(), [](bf16 v) { return to_float(v); }); break;
    case StoredType::f16: gather<f16>(from, stored, read.data<float>(), [](f16 v) { return to_float(v); }); break;
    case StoredType::i32: gather<int32_t>(from, stored, read.data<int32_t>(), same); break;
    case StoredType::i64: gather<int64_t>(from, stored, read.data<int64_t>(), same); break;
    case StoredType::u8: gather<uint8_t>(from, stored, read.data<uint8_t>(), same); break;
    case StoredType::boolean: gather<uint8_t>(from, stored, read.data<bool>(), [](uint8_t v) { return v != 0; }); break;
  }
  return read;
}

}  // namespace sat
