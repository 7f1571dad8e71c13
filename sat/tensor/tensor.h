// Dense row-major tensors of up to six axes, and the element types they hold.
// Knows numbers only: no files (io/), no millimetres (io/scans/volume.h), no arithmetic beyond conversion (ops.h).
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "sat/tensor/error.h"

namespace sat {

class Buffer;  // memory.h

/// Element types. f32 computes; bf16 and f16 store; the rest hold ids, masks and bytes.
enum class DType : uint8_t { f32, bf16, f16, i32, i64, u8, boolean };

/// Upper half of an f32: 8 bits of exponent, 7 of fraction. Storage only; arithmetic happens in float.
struct bf16 {
  uint16_t bits;
};

/// IEEE binary16. Storage only; arithmetic happens in float.
struct f16 {
  uint16_t bits;
};

float to_float(bf16 value);
float to_float(f16 value);
bf16 to_bf16(float value);  // round to nearest even; NaN stays NaN
f16 to_f16(float value);    // round to nearest even; overflow gives infinity

int64_t size_of(DType dtype);      // bytes of one element
const char* name_of(DType dtype);  // "f32", "bf16", ...
std::ostream& operator<<(std::ostream& out, DType dtype);

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct DTypeOf<bf16> {
  static constexpr DType value = DType::bf16;
};
template <>
struct DTypeOf<f16> {
  static constexpr DType value = DType::f16;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr DType value = DType::i32;
};
template <>
struct DTypeOf<int64_t> {
  static constexpr DType value = DType::i64;
};
template <>
struct DTypeOf<uint8_t> {
  static constexpr DType value = DType::u8;
};
template <>
struct DTypeOf<bool> {
  static constexpr DType value = DType::boolean;
};

/// Where bytes are: the CPU's memory, or that of one of the machine's devices.
struct Device {
  enum Kind : uint8_t { cpu, cuda };
  Kind kind;
  int8_t index;  // among the devices of this kind

  constexpr Device(Kind of_kind = cpu, int at = 0) : kind(of_kind), index(static_cast<int8_t>(at)) {}
  constexpr bool operator==(const Device& other) const { return kind == other.kind && index == other.index; }
  constexpr bool operator!=(const Device& other) const { return !(*this == other); }
};
std::ostream& operator<<(std::ostream& out, Device device);  // cpu, cuda:0

/// Up to six sizes, outermost first. Rank 0 is a scalar with one element.
class Shape {
 public:
  static constexpr int kMaxRank = 6;

  Shape() = default;
  Shape(std::initializer_list<int64_t> sizes);
  explicit Shape(const std::vector<int64_t>& sizes);

  int rank() const { return rank_; }
  int64_t operator[](int axis) const { return sizes_[static_cast<size_t>(axis < 0 ? axis + rank_ : axis)]; }
  int64_t& operator[](int axis) { return sizes_[static_cast<size_t>(axis < 0 ? axis + rank_ : axis)]; }
  int64_t numel() const;     // product of the sizes; throws Error if it overflows
  Shape drop_front() const;  // without the outermost axis
  Shape with(int axis, int64_t size) const;
  std::vector<int64_t> sizes() const { return {sizes_.begin(), sizes_.begin() + rank_}; }

  bool operator==(const Shape& other) const;
  bool operator!=(const Shape& other) const { return !(*this == other); }

 private:
  std::array<int64_t, kMaxRank> sizes_{};
  int rank_ = 0;
};
std::ostream& operator<<(std::ostream& out, const Shape& shape);  // [2, 3, 4]

/// A dense row-major array. Copying a Tensor shares its bytes; a leading slice is a view; a transpose is a copy.
/// Through a const Tensor elements are read only; a copy of it can write them, as a copied pointer can. An "empty"
/// tensor (default constructed) has no buffer and stands for "none", for example no bias. A virtual tensor, made in a
/// dry context, has sizes and no bytes: asking for its elements throws Error.
struct Tensor {
  Shape shape{0};
  DType dtype = DType::f32;
  Device device = Device::cpu;
  std::shared_ptr<Buffer> buffer;  // owns the bytes; views share it
  int64_t offset = 0;              // in elements
  uint64_t history = 0;            // by which a tape knows it (autograd/tape.h); 0: no gradient leads through it

  Tensor() = default;
  /// Uninitialised storage from the current context (context.h).
  explicit Tensor(const Shape& shape, DType dtype = DType::f32, Device device = Device::cpu);

  bool empty() const { return buffer == nullptr; }
  int64_t numel() const { return shape.numel(); }
  int64_t bytes() const { return numel() * size_of(dtype); }
  bool owns_alone() const;  // nobody else holds the buffer, and this is all of it

  /// The elements. Throws Error if T is not the dtype, if the bytes are not on the CPU, or if there are none.
  template <class T>
  T* data() {
    return static_cast<T*>(checked(DTypeOf<T>::value));
  }
  template <class T>
  const T* data() const {
    return static_cast<const T*>(checked(DTypeOf<T>::value));
  }
  /// The first element, whatever its type; null for an empty tensor. For kernels, on any device: of a virtual tensor it
  /// is an address that cannot be read.
  void* raw();
  const void* raw() const;
  /// raw() of a type. Throws Error if T is not the dtype.
  template <class T>
  T* address() {
    check_type(DTypeOf<T>::value);
    return static_cast<T*>(raw());
  }
  template <class T>
  const T* address() const {
    check_type(DTypeOf<T>::value);
    return static_cast<const T*>(raw());
  }

  // Views and copies, without history. The forward passes of models use the ops of the same names (ops.h).
  Tensor select(int64_t index) const;               // index along axis 0, which disappears: a view
  Tensor slice(int64_t first, int64_t last) const;  // [first, last) along axis 0: a view
  Tensor reshape(const Shape& target) const;        // same elements, other sizes: a view
  Tensor clone() const;                             // a copy with bytes of its own
  Tensor cast(DType target) const;                  // a copy in another float type (or itself if equal)
  Tensor to(Device target) const;                   // a copy there (or itself): the only way bytes cross the bus

 private:
  void check_type(DType asked) const;
  void* checked(DType asked) const;
};

Tensor empty_like(const Tensor& x);
Tensor zeros(const Shape& shape, DType dtype = DType::f32, Device device = Device::cpu);
Tensor full(const Shape& shape, float value);
Tensor from_values(const Shape& shape, const std::vector<float>& values);
Tensor from_ids(const Shape& shape, const std::vector<int64_t>& values);
void copy(Tensor& to, const Tensor& from);  // elements of two tensors of one shape, type and device
Tensor to_compute_device(const Tensor& x);  // x where the current context computes
Tensor to_host(const Tensor& x);            // x in the CPU's memory
inline bool on_host(const Tensor& x) { return x.device == Device::cpu; }

}  // namespace sat
