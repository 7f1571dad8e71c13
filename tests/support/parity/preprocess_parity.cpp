// Preprocessing against the recorded outputs of the published loader.
#include "tests/support/parity/preprocess_parity.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "sat/io/nifti/nifti.h"
#include "sat/io/scans/preprocess.h"
#include "sat/nn/run/windows.h"
#include "tests/support/golden.h"

namespace sat::test {

namespace {

double count_differences(const std::vector<int64_t>& got, const std::vector<int64_t>& want) {
  if (got.size() != want.size()) return double(std::max(got.size(), want.size()));
  double count = 0;
  for (size_t i = 0; i < got.size(); ++i) count += got[i] != want[i];
  return count;
}

std::vector<int64_t> listed(const std::array<int64_t, 3>& values) { return {values.begin(), values.end()}; }

std::vector<int64_t> spatial_shape(const Json& step) {
  std::vector<int64_t> shape = step["shape"].integers();
  if (shape.size() == 4) shape.erase(shape.begin());  // one channel
  return shape;
}

/// Largest difference of position over the grid's corners, in millimetres.
double affine_error(const Geometry& got, const Json& want) {
  Affine recorded;
  for (size_t r = 0; r < 4; ++r) {
    for (size_t c = 0; c < 4; ++c) recorded.m[r][c] = want[r][c].number();
  }
  double largest = 0;
  for (int corner = 0; corner < 8; ++corner) {
    std::array<double, 3> index{};
    for (size_t a = 0; a < 3; ++a) index[a] = corner >> a & 1 ? double(got.size[a] - 1) : 0;
    const auto here = sat::apply(got.voxel_to_world_mm, index), there = sat::apply(recorded, index);
    for (size_t r = 0; r < 3; ++r) largest = std::max(largest, std::fabs(here[r] - there[r]));
  }
  return largest;
}

/// Real scans are named from the folder above, which holds all recorded folders.
std::string input_path(const std::string& folder, const std::string& input) {
  const std::string here = folder + "/" + input;
  return std::filesystem::exists(here) ? here : folder + "/../" + input;
}

}  // namespace

std::vector<ParityLine> compare_preprocess(const std::string& folder, const Json& record) {
  constexpr double kMillimetres = 1e-4, kOfRange = 1e-4, kStatistics = 1e-5;
  PreprocessOptions options = published_preprocess(record["modality"].string());
  options.orientation = record["orientation_code"].string();
  const NiftiScan scan = read_nifti(input_path(folder, record["input"].string()));
  const Preprocessed result = preprocess(scan.volume, options);
  const ModelGrid& grid = result.grid;

  std::vector<ParityLine> lines;
  for (const Json& step : record["steps"].items()) {
    const std::string name = step["step"].string();
    const Geometry& here = name == "Orientationd"      ? grid.oriented
                           : name == "Spacingd"        ? grid.resampled
                           : name == "CropForegroundd" ? grid.model
                                                       : grid.scan;
    const double differing = count_differences(listed(here.size), spatial_shape(step));
    lines.push_back({name + " shape", differing, 0});
    lines.push_back(
        {name + " affine, mm", differing > 0 ? INFINITY : affine_error(here, step["affine"]), kMillimetres});
  }
  std::vector<int64_t> start, end;
  for (const auto& ends : grid.crop) start.push_back(ends[0]), end.push_back(ends[1]);
  lines.push_back({"crop start", count_differences(start, record["crop_start"].integers()), 0});
  lines.push_back({"crop end", count_differences(end, record["crop_end"].integers()), 0});
  const double shape_error = count_differences(result.voxels.shape.sizes(), record["shape"].integers());
  lines.push_back({"shape", shape_error, 0});
  if (shape_error > 0) return lines;

  const float* voxels = result.voxels.data<float>();
  const int64_t count = result.voxels.numel();
  double sum = 0, squares = 0;
  for (int64_t v = 0; v < count; ++v) sum += double(voxels[v]);
  for (int64_t v = 0; v < count; ++v) squares += std::pow(double(voxels[v]) - sum / double(count), 2);
  const auto [least, most] = std::minmax_element(voxels, voxels + count);
  const double range = record["max"].number() - record["min"].number();
  lines.push_back({"mean", std::fabs(sum / double(count) - record["mean"].number()), kStatistics});
  lines.push_back({"std", std::fabs(std::sqrt(squares / double(count)) - record["std"].number()), kStatistics});
  lines.push_back({"min, of range", std::fabs(double(*least) - record["min"].number()) / range, kOfRange});
  lines.push_back({"max, of range", std::fabs(double(*most) - record["max"].number()) / range, kOfRange});
  double of_samples = 0;
  for (const Json& sample : record["samples"].items()) {
    const std::vector<int64_t> at = sample["at"].integers();
    const int64_t v = (at[0] * result.voxels.shape[1] + at[1]) * result.voxels.shape[2] + at[2];
    of_samples = std::max(of_samples, std::fabs(double(voxels[v]) - sample["value"].number()));
  }
  lines.push_back({"samples, of range", of_samples / range, kOfRange});
  const Json* array = record.find("array");
  if (array != nullptr && !array->is_null()) {
    Tensor want = read_npy(folder + "/" + array->string());
    want = want.reshape(result.voxels.shape);  // a leading channel of 1 goes
    lines.push_back({"array, of range", largest_difference(result.voxels, want) / range, kOfRange});
  }

  std::vector<int64_t> windows, recorded;
  for (const Window& window : sliding_windows(grid.model.size, {288, 288, 96})) {
    for (size_t a = 0; a < 3; ++a) windows.push_back(window.start[a]), windows.push_back(window.end[a]);
  }
  for (const Json& window : record["windows"].items()) {
    for (int64_t edge : window.integers()) recorded.push_back(edge);
  }
  lines.push_back({"windows", count_differences(windows, recorded), 0});
  return lines;
}

}  // namespace sat::test
