// Shapes, element types and the few operations of Tensor that are not arithmetic.
#include "sat/tensor/tensor.h"

#include <algorithm>
#include <cmath>

#include "sat/tensor/context.h"
#include "sat/tensor/convert.h"
#include "sat/tensor/device/runtime.h"
#include "sat/tensor/memory/memory.h"
#include "sat/tensor/parallel.h"
#include "sat/tensor/profile.h"

namespace sat {

namespace {

constexpr int64_t kCastGrain = 1 << 16;  // elements a piece

uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

float float_of(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

template <class From, class To>
void convert(const Tensor& from, Tensor& to) {
  const From* source = from.address<From>();
  To* target = to.address<To>();
  parallel_for(from.numel(), kCastGrain,
               [&](int64_t first, int64_t last) { convert_row(target + first, source + first, last - first); });
}

}  // namespace

float to_float(bf16 value) { return float_of(uint32_t(value.bits) << 16); }

bf16 to_bf16(float value) {
  const uint32_t bits = bits_of(value);
  if (std::isnan(value)) return {uint16_t((bits >> 16) | 0x40)};
  return {uint16_t((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16)};
}

float to_float(f16 value) {
  const uint32_t sign = uint32_t(value.bits & 0x8000) << 16;
  const uint32_t exponent = (value.bits >> 10) & 0x1F;
  const uint32_t fraction = value.bits & 0x3FF;
  const uint32_t quiet = fraction != 0 ? 0x400000 : 0;  // a NaN, as the processor gives it
  if (exponent == 31) return float_of(sign | 0x7F800000 | (fraction << 13) | quiet);
  if (exponent != 0) return float_of(sign | ((exponent + 112) << 23) | (fraction << 13));
  const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
  return sign ? -magnitude : magnitude;
}

f16 to_f16(float value) {
  const uint32_t bits = bits_of(value);
  const auto sign = uint16_t((bits >> 16) & 0x8000);
  const float magnitude = std::fabs(value);
  if (std::isnan(value)) return {uint16_t(sign | 0x7E00 | (bits >> 13 & 0x3FF))};
  if (magnitude >= 65520.f) return {uint16_t(sign | 0x7C00)};
  if (magnitude < 0x1p-14f) return {uint16_t(sign | uint16_t(std::nearbyint(magnitude * 0x1p24f)))};
  const uint32_t absolute = bits & 0x7FFFFFFF;
  const uint32_t rounded = absolute + 0xFFF + ((absolute >> 13) & 1);
  return {uint16_t(sign | ((rounded - (112u << 23)) >> 13))};
}

int64_t size_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
    case DType::i32: return 4;
    case DType::bf16:
    case DType::f16: return 2;
    case DType::i64: return 8;
    case DType::u8:
    case DType::boolean: return 1;
  }
  fail("unknown dtype ", int(dtype));
}

const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::f32: return "f32";
    case DType::bf16: return "bf16";
    case DType::f16: return "f16";
    case DType::i32: return "i32";
    case DType::i64: return "i64";
    case DType::u8: return "u8";
    case DType::boolean: return "bool";
  }
  return "?";
}

std::ostream& operator<<(std::ostream& out, DType dtype) { return out << name_of(dtype); }

Shape::Shape(std::initializer_list<int64_t> sizes) : Shape(std::vector<int64_t>(sizes)) {}

Shape::Shape(const std::vector<int64_t>& sizes) : rank_(int(sizes.size())) {
  SAT_CHECK(sizes.size() <= size_t(kMaxRank), "shape has ", sizes.size(), " axes, at most ", kMaxRank,
            " are supported");
  for (size_t i = 0; i < sizes.size(); ++i) {
    SAT_CHECK(sizes[i] >= 0, "shape has a negative size ", sizes[i], " on axis ", i);
    sizes_[i] = sizes[i];
  }
}

int64_t Shape::numel() const {
  int64_t product = 1;
  for (int axis = 0; axis < rank_; ++axis) {
    SAT_CHECK(!__builtin_mul_overflow(product, (*this)[axis], &product), "shape ", *this, " has too many elements");
  }
  return product;
}

Shape Shape::drop_front() const {
  SAT_CHECK(rank_ > 0, "a scalar has no axis to drop");
  return Shape(std::vector<int64_t>(sizes_.begin() + 1, sizes_.begin() + rank_));
}

Shape Shape::with(int axis, int64_t size) const {
  Shape changed = *this;
  changed[axis] = size;
  return changed;
}

bool Shape::operator==(const Shape& other) const {
  return rank_ == other.rank_ && std::equal(sizes_.begin(), sizes_.begin() + rank_, other.sizes_.begin());
}

std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  out << '[';
  for (int axis = 0; axis < shape.rank(); ++axis) out << (axis ? ", " : "") << shape[axis];
  return out << ']';
}

Tensor::Tensor(const Shape& shape_, DType dtype_, Device device_) : shape(shape_), dtype(dtype_), device(device_) {
  int64_t bytes = 0;
  SAT_CHECK(!__builtin_mul_overflow(shape.numel(), size_of(dtype), &bytes), "shape ", shape, " has too many bytes");
  buffer = std::make_shared<Buffer>(Context::current().runtime(device).memory(), bytes);
}

std::ostream& operator<<(std::ostream& out, Device device) {
  return device.kind == Device::cpu ? out << "cpu" : out << "cuda:" << int(device.index);
}

void* Tensor::raw() {
  if (!buffer) return nullptr;
  return static_cast<char*>(buffer->data()) + offset * size_of(dtype);
}

const void* Tensor::raw() const {
  if (!buffer) return nullptr;
  return static_cast<const char*>(buffer->data()) + offset * size_of(dtype);
}

void Tensor::check_type(DType asked) const {
  SAT_CHECK(asked == dtype, "tensor ", shape, " is ", dtype, ", asked for as ", asked);
}

void* Tensor::checked(DType asked) const {
  check_type(asked);
  SAT_CHECK(device == Device::cpu, "tensor ", shape, " lies on ", device, ", not on the CPU");
  if (!buffer) return nullptr;
  SAT_CHECK(buffer->readable(), profile::current_op(), ": a tensor of shape ", shape,
            " has no bytes in a dry run, and they were asked for");
  return static_cast<char*>(buffer->data()) + offset * size_of(dtype);
}

Tensor Tensor::select(int64_t index) const {
  Tensor view = slice(index, index + 1);
  view.shape = shape.drop_front();
  return view;
}

Tensor Tensor::slice(int64_t first, int64_t last) const {
  SAT_CHECK(shape.rank() > 0 && 0 <= first && first <= last && last <= shape[0], "slice [", first, ", ", last,
            ") of a tensor of shape ", shape);
  Tensor view = *this;
  view.history = 0;
  view.shape = shape.with(0, last - first);
  view.offset += first * shape.drop_front().numel();
  return view;
}

Tensor Tensor::reshape(const Shape& target) const {
  SAT_CHECK(target.numel() == numel(), "reshape of ", shape, " to ", target, " changes the number of elements");
  Tensor view = *this;
  view.history = 0;
  view.shape = target;
  return view;
}

Tensor Tensor::clone() const {
  Tensor same(shape, dtype, device);
  copy(same, *this);
  return same;
}

Tensor Tensor::to(Device target) const {
  if (target == device || empty()) return *this;
  Tensor copy(shape, dtype, target);
  const Context& context = Context::current();
  if (numel() == 0) return copy;
  if (target == Device::cpu) {
    context.runtime(device).download(copy.raw(), raw(), bytes());
  } else {
    SAT_CHECK(device == Device::cpu, "a tensor of shape ", shape, " does not go from ", device, " to ", target,
              " directly; take it to the CPU first");
    context.runtime(target).upload(copy.raw(), raw(), bytes());
  }
  return copy;
}

Tensor Tensor::cast(DType target) const {
  if (target == dtype) return *this;
  SAT_CHECK(device == Device::cpu, "tensors are converted on the CPU; this one lies on ", device);
  Tensor result(shape, target, device);
  if (dtype == DType::f32 && target == DType::bf16) {
    convert<float, bf16>(*this, result);
  } else if (dtype == DType::f32 && target == DType::f16) {
    convert<float, f16>(*this, result);
  } else if (dtype == DType::bf16 && target == DType::f32) {
    convert<bf16, float>(*this, result);
  } else if (dtype == DType::f16 && target == DType::f32) {
    convert<f16, float>(*this, result);
  } else {
    fail("no conversion from ", dtype, " to ", target);
  }
  return result;
}

bool Tensor::owns_alone() const {
  return buffer && buffer.use_count() == 1 && offset == 0 && buffer->bytes() == bytes();
}

Tensor empty_like(const Tensor& x) { return Tensor(x.shape, x.dtype, x.device); }

Tensor zeros(const Shape& shape, DType dtype, Device device) {
  Tensor x(shape, dtype, device);
  Context::current().runtime(device).zero(x.raw(), x.bytes());
  return x;
}

Tensor full(const Shape& shape, float value) {
  Tensor x(shape);
  float* values = x.address<float>();
  parallel_for(x.numel(), kCastGrain,
               [&](int64_t first, int64_t last) { std::fill(values + first, values + last, value); });
  return x;
}

Tensor from_values(const Shape& shape, const std::vector<float>& values) {
  SAT_CHECK(int64_t(values.size()) == shape.numel(), values.size(), " values for a tensor of shape ", shape);
  Tensor x(shape);
  Context::current().runtime(x.device).upload(x.raw(), values.data(), x.bytes());
  return x;
}

Tensor from_ids(const Shape& shape, const std::vector<int64_t>& values) {
  SAT_CHECK(int64_t(values.size()) == shape.numel(), values.size(), " values for a tensor of shape ", shape);
  Tensor x(shape, DType::i64);
  Context::current().runtime(x.device).upload(x.raw(), values.data(), x.bytes());
  return x;
}

void copy(Tensor& to, const Tensor& from) {
  SAT_CHECK(to.shape == from.shape && to.dtype == from.dtype && to.device == from.device, "copy: ", from.dtype, " ",
            from.shape, " on ", from.device, " to ", to.dtype, " ", to.shape, " on ", to.device);
  if (from.numel() > 0) Context::current().runtime(to.device).copy(to.raw(), from.raw(), from.bytes());
}

}  // namespace sat
