// Recorded values, their generator, and comparison.
#include "tests/support/golden.h"

#include <zlib.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "sat/io/files/file.h"
#include "sat/tensor/parallel.h"

namespace sat::test {

namespace {

Tensor parse_npy(const std::string& bytes, const std::string& path) {
  SAT_CHECK(bytes.size() > 12 && bytes.compare(0, 6, "\x93NUMPY") == 0, path, ": not a .npy file");
  const bool wide = bytes[6] > 1;
  const size_t header_start = wide ? 12 : 10;
  size_t header_size = uint8_t(bytes[8]) | size_t(uint8_t(bytes[9])) << 8;
  if (wide) header_size |= size_t(uint8_t(bytes[10])) << 16 | size_t(uint8_t(bytes[11])) << 24;
  const std::string header = bytes.substr(header_start, header_size);
  SAT_CHECK(header.find("'fortran_order': False") != std::string::npos, path, ": not in C order");
  const size_t descr = header.find("'descr': '") + 10;
  const std::string type = header.substr(descr, header.find('\'', descr) - descr);
  std::vector<int64_t> sizes;
  const size_t open = header.find('('), close = header.find(')');
  for (const char* at = header.c_str() + open + 1; at < header.c_str() + close;) {
    char* end = nullptr;
    const int64_t size = std::strtoll(at, &end, 10);
    if (end != at) sizes.push_back(size);
    at = end == at ? at + 1 : end;
  }
  const char* data = bytes.data() + header_start + header_size;
  const Shape shape(sizes);
  if (type == "<f8") {
    Tensor x(shape);
    for (int64_t i = 0; i < x.numel(); ++i) {
      double value;
      std::memcpy(&value, data + 8 * i, 8);
      x.data<float>()[i] = float(value);
    }
    return x;
  }
  const DType dtype = type == "<f4"   ? DType::f32
                      : type == "<i4" ? DType::i32
                      : type == "<i8" ? DType::i64
                      : type == "|u1" ? DType::u8
                      : type == "|b1" ? DType::boolean
                                      : (fail(path, ": unsupported .npy type ", type), DType::f32);
  Tensor x(shape, dtype);
  SAT_CHECK(int64_t(bytes.size() - header_start - header_size) == x.bytes(), path, ": wrong length");
  std::memcpy(x.raw(), data, size_t(x.bytes()));
  return x;
}

uint32_t fnv(const std::string& name) {
  uint32_t hash = 0x811C9DC5u;
  for (char c : name) hash = (hash ^ uint8_t(c)) * 0x01000193u;
  return hash;
}

/// Element i of the numbers in [0, 1) that a name's hash starts.
double unit_at(uint32_t start, int64_t i) {
  uint32_t bits = start + uint32_t(i) * 0x9E3779B1u;
  bits = (bits ^ bits >> 15) * 0x2C1B3C6Du;
  bits = (bits ^ bits >> 12) * 0x297A2D39u;
  bits ^= bits >> 15;
  return bits / 4294967296.0;
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

double element(const Tensor& x, int64_t i) {
  switch (x.dtype) {
    case DType::f32: return double(x.data<float>()[i]);
    case DType::i32: return x.data<int32_t>()[i];
    case DType::i64: return double(x.data<int64_t>()[i]);
    case DType::u8: return x.data<uint8_t>()[i];
    case DType::boolean: return x.data<bool>()[i];
    case DType::bf16: return double(to_float(x.data<bf16>()[i]));
    case DType::f16: return double(to_float(x.data<f16>()[i]));
  }
  return 0;
}

}  // namespace

std::string source_path(const std::string& relative) { return std::string(SAT_SOURCE_DIR) + "/" + relative; }
std::string golden_path(const std::string& relative) { return source_path("tests/golden/" + relative); }

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  SAT_CHECK(file.good(), "cannot read ", path);
  return {std::istreambuf_iterator<char>(file), {}};
}

Tensor read_npy(const std::string& path) { return parse_npy(read_text(path), path); }

Tensor read_npz(const std::string& path, const std::string& array) {
  const std::string zip = read_text(path);
  const auto number = [&](size_t at, int bytes) {
    uint64_t value = 0;
    for (int i = bytes; i-- > 0;) value = value << 8 | uint8_t(zip.at(at + size_t(i)));
    return value;
  };
  const size_t end = zip.rfind("PK\5\6");
  SAT_CHECK(end != std::string::npos, path, ": not a .npz file");
  size_t entry = number(end + 16, 4);
  for (uint64_t i = 0; i < number(end + 10, 2); ++i) {
    const size_t name_size = number(entry + 28, 2);
    if (zip.substr(entry + 46, name_size) == array + ".npy") {
      const size_t local = number(entry + 42, 4), packed = number(entry + 20, 4), size = number(entry + 24, 4);
      const size_t data = local + 30 + number(local + 26, 2) + number(local + 28, 2);
      if (number(entry + 10, 2) == 0) return parse_npy(zip.substr(data, size), path);
      std::string out(size, '\0');
      z_stream stream{};
      inflateInit2(&stream, -15);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(zip.data() + data));
      stream.avail_in = uInt(packed);
      stream.next_out = reinterpret_cast<Bytef*>(out.data());
      stream.avail_out = uInt(size);
      const int status = inflate(&stream, Z_FINISH);
      inflateEnd(&stream);
      SAT_CHECK(status == Z_STREAM_END, path, ": bad deflate stream");
      return parse_npy(out, path);
    }
    entry += 46 + name_size + number(entry + 30, 2) + number(entry + 32, 2);
  }
  fail(path, ": holds no array '", array, "'");
}

Tensor field(const std::string& name, const Shape& shape, double scale, double offset) {
  Tensor x(shape);
  float* values = x.data<float>();
  const uint32_t start = fnv(name);
  parallel_for(x.numel(), 1 << 16, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) values[i] = float(offset + scale * (2.0 * unit_at(start, i) - 1.0));
  });
  return x;
}

std::vector<double> unit(const std::string& name, int64_t count) {
  std::vector<double> values(static_cast<size_t>(count));
  const uint32_t start = fnv(name);
  for (int64_t i = 0; i < count; ++i) values[size_t(i)] = unit_at(start, i);
  return values;
}

std::function<double()> unit_stream(const std::string& name) {
  return [start = fnv(name), i = int64_t(0)]() mutable { return unit_at(start, i++); };
}

Tensor generated_weight(const std::string& name, const Shape& shape, const std::string& prefix) {
  const bool norm = name.find("norm") != std::string::npos || name.find("Norm") != std::string::npos;
  const std::string seed = prefix + name;
  if (name == "mask_embed_proj.2.bias") return field(seed, shape, 0.02, -0.4);
  if (norm && ends_with(name, "weight")) return field(seed, shape, 0.1, 1);
  if (ends_with(name, "A_log")) {  // rates of 1, 2, 3, ... along the states
    Tensor rates = field(seed, shape, 0.1);
    for (int64_t i = 0; i < rates.numel(); ++i) rates.data<float>()[i] += float(std::log(double(i % shape[-1] + 1)));
    return rates;
  }
  if (ends_with(name, ".D")) return field(seed, shape, 0.1, 1);
  if (ends_with(name, "dt_proj.bias")) return field(seed, shape, 0.5, -3);
  if (ends_with(name, "bias_table")) return field(seed, shape, 0.2);
  if (ends_with(name, "bias")) return field(seed, shape, 0.02);
  return field(seed, shape, std::sqrt(3.0 / double(shape.drop_front().numel())));
}

std::string mismatch(const Tensor& got, const Tensor& want, Tolerance tolerance) {
  std::ostringstream line;
  if (got.shape != want.shape) {
    line << "shape is " << got.shape << ", want " << want.shape;
    return line.str();
  }
  int64_t beyond = 0, worst = -1;
  double worst_excess = 0;
  for (int64_t i = 0; i < got.numel(); ++i) {
    const double difference = std::fabs(element(got, i) - element(want, i));
    const double allowed = tolerance.absolute + tolerance.relative * std::fabs(element(want, i));
    if (difference <= allowed) continue;
    ++beyond;
    const double excess = std::isnan(difference) ? INFINITY : difference - allowed;
    if (worst < 0 || excess > worst_excess) worst = i, worst_excess = excess;
  }
  if (beyond == 0) return "";
  line.precision(9);
  line << "at [";
  int64_t rest = worst, inner = got.numel();
  for (int axis = 0; axis < got.shape.rank(); ++axis) {
    inner /= got.shape[axis];
    line << (axis ? "," : "") << rest / inner;
    rest %= inner;
  }
  line << "]: got " << element(got, worst) << ", want " << element(want, worst) << " (" << beyond << " of "
       << got.numel() << " beyond tolerance)";
  return line.str();
}

double largest_difference(const Tensor& got, const Tensor& want) {
  SAT_CHECK(got.shape == want.shape, "shape is ", got.shape, ", want ", want.shape);
  double largest = 0;
  for (int64_t i = 0; i < got.numel(); ++i) {
    const double difference = std::fabs(element(got, i) - element(want, i));
    if (std::isnan(difference)) return INFINITY;
    largest = std::max(largest, difference);
  }
  return largest;
}

TempDir::TempDir() {
  std::string pattern = (std::filesystem::temp_directory_path() / "sat-test-XXXXXX").string();
  SAT_CHECK(mkdtemp(pattern.data()), "cannot make a temporary folder");
  path_ = pattern;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string gzip_of(const std::string& bytes) {
  const TempDir folder;
  AtomicFile file(folder / "x");
  GzipWriter writer(file);
  writer.write(bytes.data(), int64_t(bytes.size()));
  writer.finish();
  file.commit();
  return read_text(folder / "x");
}

}  // namespace sat::test
