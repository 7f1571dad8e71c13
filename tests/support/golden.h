// What tests share: recorded values, the generator they were made with, and one way to compare.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sat/tensor/tensor.h"

namespace sat::test {

std::string source_path(const std::string& relative);  // a file of the repository
std::string golden_path(const std::string& relative);  // a file under tests/golden
std::string read_text(const std::string& path);
std::string gzip_of(const std::string& bytes);  // one member, as GzipWriter makes it

/// A NumPy .npy file (C order; f4, f8, i4, i8, u1, b1). f8 becomes f32.
Tensor read_npy(const std::string& path);
/// One array of a NumPy .npz file (stored or deflated).
Tensor read_npz(const std::string& path, const std::string& array);

/// The recorded values' generator (golden/README.md): float32(offset + scale * u), u in [-1, 1) from the name's hash.
Tensor field(const std::string& name, const Shape& shape, double scale, double offset = 0);
/// The same generator's numbers in [0, 1), in double.
std::vector<double> unit(const std::string& name, int64_t count);
std::function<double()> unit_stream(const std::string& name);  // the same, one after the other
/// A weight of a generated model: scale and offset follow from its name and shape.
Tensor generated_weight(const std::string& name, const Shape& shape, const std::string& prefix = "");

/// |got - want| <= absolute + relative * |want| for every element?
struct Tolerance {
  double relative = 0, absolute = 0;
};
/// "" or one line: "at [0,3,1]: got 1.25, want 1.31 (7 of 512 beyond tolerance)". NaN never matches.
std::string mismatch(const Tensor& got, const Tensor& want, Tolerance tolerance);
double largest_difference(const Tensor& got, const Tensor& want);

/// A folder that disappears with the object.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace sat::test
