// Reading and writing .npy.
#include "sat/io/arrays/npy.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string_view>

#include "sat/io/checkpoints/stored_tensor.h"
#include "sat/io/files/file.h"
#include "sat/io/words/text.h"

namespace sat {

namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr int64_t kMostHead = 1 << 16;

struct TypeName {
  const char* name;
  StoredType type;
};
constexpr std::array<TypeName, 7> kTypes{{{"<f4", StoredType::f32},
                                          {"<f2", StoredType::f16},
                                          {"<f8", StoredType::f64},
                                          {"<i4", StoredType::i32},
                                          {"<i8", StoredType::i64},
                                          {"|u1", StoredType::u8},
                                          {"|b1", StoredType::boolean}}};

StoredType parse_type(const std::string& name) {
  for (const TypeName& known : kTypes) {
    if (name == known.name) return known.type;
  }
  fail("the type is ", quoted(name), ", read are <f4, <f2, <f8, <i4, <i8, |u1 and |b1");
}

/// The dict of a header: {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }, its keys in any order.
class HeadReader {
 public:
  explicit HeadReader(std::string_view text) : text_(text) {}

  StoredTensor read() {
    std::optional<StoredType> type;
    std::optional<bool> fortran;
    std::optional<Shape> shape;
    expect('{');
    while (!take('}')) {
      const std::string key = string();
      expect(':');
      if (key == "descr" && !type) {
        type = parse_type(string());
      } else if (key == "fortran_order" && !fortran) {
        fortran = boolean();
      } else if (key == "shape" && !shape) {
        shape = tuple();
      } else {
        fail("the key ", quoted(key), " is not one of descr, fortran_order and shape, each once");
      }
      if (!take(',')) {
        expect('}');
        break;
      }
    }
    skip_spaces();
    SAT_CHECK(at_ == text_.size(), "text follows the dict");
    SAT_CHECK(type && fortran && shape, "descr, fortran_order and shape are not all there");
    return {*type, *shape, *fortran ? fortran_strides(*shape) : std::vector<int64_t>{}, 0};
  }

 private:
  static std::vector<int64_t> fortran_strides(const Shape& shape) {
    std::vector<int64_t> strides(size_t(shape.rank()), 1);
    for (int axis = 1; axis < shape.rank(); ++axis) {
      SAT_CHECK(!__builtin_mul_overflow(strides[size_t(axis - 1)], shape[axis - 1], &strides[size_t(axis)]), "shape ",
                shape, " has too many elements");
    }
    return strides;
  }

  void skip_spaces() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
  }

  bool take(char wanted) {
    skip_spaces();
    if (at_ >= text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  void expect(char wanted) { SAT_CHECK(take(wanted), "'", wanted, "' is missing at byte ", at_, " of the dict"); }

  std::string string() {
    const char quote = take('"') ? '"' : '\'';
    if (quote == '\'') expect(quote);
    const size_t end = text_.find(quote, at_);
    SAT_CHECK(end != std::string_view::npos, "a text is never closed");
    const std::string inside(text_.substr(at_, end - at_));
    at_ = end + 1;
    return inside;
  }

  bool boolean() {
    skip_spaces();
    for (const std::string_view word : {"True", "False"}) {
      if (text_.substr(at_, word.size()) != word) continue;
      at_ += word.size();
      return word == "True";
    }
    fail("fortran_order is neither True nor False");
  }

  Shape tuple() {
    std::vector<int64_t> sizes;
    expect('(');
    while (!take(')')) {
      skip_spaces();
      int64_t size = 0;
      const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), size);
      SAT_CHECK(error == std::errc() && size >= 0, "the shape is no tuple of sizes");
      SAT_CHECK(int(sizes.size()) < Shape::kMaxRank, "the shape has more than ", Shape::kMaxRank, " axes");
      at_ = size_t(end - text_.data());
      sizes.push_back(size);
      if (!take(',')) {
        expect(')');
        break;
      }
    }
    return Shape(sizes);
  }

  std::string_view text_;
  size_t at_ = 0;
};

StoredTensor read_place(const OpenFile& file) {
  constexpr int64_t kStart = int64_t(kMagic.size()) + 2;
  SAT_CHECK(file.size() >= kStart + 2 && is_npy(file.text(0, kStart)), "it does not begin as a .npy file does");
  const std::string version = file.text(int64_t(kMagic.size()), 2);
  SAT_CHECK(version[0] >= 1 && version[0] <= 3 && version[1] == 0, "version ", int(uint8_t(version[0])), ".",
            int(uint8_t(version[1])), " of the format, read are 1.0, 2.0 and 3.0");
  const int64_t digits = version[0] == 1 ? 2 : 4;  // bytes of the header's length
  SAT_CHECK(file.size() >= kStart + digits, "it ends within its header");
  uint32_t length = 0;
  file.read(kStart, &length, digits);
  SAT_CHECK(length <= kMostHead && length <= file.size() - kStart - digits, "the header's length is ", length,
            ", at most ", std::min(kMostHead, file.size() - kStart - digits), " fit");
  StoredTensor place = HeadReader(file.text(kStart + digits, length)).read();
  place.offset = kStart + digits + length;
  int64_t bytes = 0;
  SAT_CHECK(
      !__builtin_mul_overflow(place.shape.numel(), size_of(place.type), &bytes) && bytes == file.size() - place.offset,
      "shape ", place.shape, " does not fill the ", file.size() - place.offset, " bytes after the header");
  return place;
}

}  // namespace

bool is_npy(const std::string& first_bytes) { return first_bytes.rfind(kMagic, 0) == 0; }

Tensor read_npy(const std::string& path) {
  const OpenFile file(path);
  const StoredTensor place = [&] {
    try {
      return read_place(file);
    } catch (const Error& error) {
      fail(path, ": as a .npy file: ", error.what());
    }
  }();
  return read_stored(file, place);
}

std::string npy_head(const Shape& shape, DType dtype) {
  constexpr size_t kAlign = 64, kBefore = kMagic.size() + 4;
  const auto type = std::find_if(kTypes.begin(), kTypes.end(), [&](const TypeName& known) {
    return known.type != StoredType::f64 && dtype_of(known.type) == dtype;
  });
  SAT_CHECK(type != kTypes.end(), "a .npy file cannot hold ", dtype);
  std::string dict = std::string("{'descr': '") + type->name + "', 'fortran_order': False, 'shape': (";
  for (const int64_t size : shape.sizes()) dict += std::to_string(size) + ", ";
  if (shape.rank() > 0) dict.resize(dict.size() - (shape.rank() == 1 ? 1 : 2));  // (2,) and (2, 3)
  dict += "), }";
  dict.append((kAlign - (kBefore + dict.size() + 1) % kAlign) % kAlign, ' ');
  dict += '\n';
  std::string head(kMagic);
  head += {1, 0, char(dict.size() & 255), char(dict.size() >> 8)};
  return head + dict;
}

void write_npy(const std::string& path, const Tensor& tensor) {
  SAT_CHECK(!tensor.empty() && on_host(tensor), path, ": the array has no CPU bytes");
  AtomicFile file(path);
  file.write(npy_head(tensor.shape, tensor.dtype));
  if (tensor.bytes() > 0) file.write(tensor.raw(), tensor.bytes());
  file.commit();
}

}  // namespace sat
