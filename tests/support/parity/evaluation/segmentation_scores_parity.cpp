// Every recorded figure of a pair of masks, by the library's scores.
#include "tests/support/parity/evaluation/segmentation_scores_parity.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "sat/nn/evaluation/segmentation/mask_scores.h"
#include "tests/support/golden.h"
#include "tests/support/parity/recorded.h"

namespace sat::test {

namespace {

constexpr double kLimit = 1e-9;       // of the computation
constexpr double kRecorded = 0.5e-8;  // nine digits were kept of a value: half of the last one, of 1 to 10

BitMasks read_masks(const std::string& path) {
  const Tensor voxels = read_npy(path);
  SAT_CHECK(voxels.shape.rank() == 4 && voxels.shape[0] == 2, path, ": shape is ", voxels.shape,
            ", needs [2, H, W, D]");
  BitMasks masks({voxels.shape[1], voxels.shape[2], voxels.shape[3]}, 2);
  const uint8_t* from = voxels.data<uint8_t>();
  for (int64_t mask = 0; mask < 2; ++mask) {
    for (int64_t h = 0; h < masks.size[0]; ++h) {
      for (int64_t w = 0; w < masks.size[1]; ++w) {
        for (int64_t d = 0; d < masks.size[2]; ++d) {
          if (*from++ != 0) masks.set(mask, h, w, d);
        }
      }
    }
  }
  return masks;
}

/// What is left of the difference once the recorded value's rounding is taken off, by its size.
double error_of(double got, double want) {
  const double digit = std::pow(10.0, std::floor(std::log10(std::max(std::fabs(want), 1e-300))));
  const double error = std::max(0.0, std::fabs(got - want) - kRecorded * digit) / std::max(1.0, std::fabs(want));
  return std::isnan(error) ? INFINITY : error;
}

class Lines {
 public:
  void value(const std::string& quantity, double got, double want) { add(quantity, error_of(got, want), kLimit); }
  void count(const std::string& quantity, double got, double want) { add(quantity, got == want ? 0 : 1, 0); }
  std::vector<ParityLine> take() { return std::move(lines_); }

 private:
  void add(const std::string& quantity, double error, double limit) {
    for (ParityLine& line : lines_) {
      if (line.quantity != quantity) continue;
      line.error = limit == 0 ? line.error + error : std::max(line.error, error);
      return;
    }
    lines_.push_back({quantity, error, limit});
  }
  std::vector<ParityLine> lines_;
};

void compare_surfaces(Lines& lines, const BitMasks& masks, const Json& record) {
  const std::vector<double> spacing = record["spacing"].numbers();
  SAT_CHECK(spacing.size() == 3, "a spacing of ", spacing.size(), " numbers");
  const SurfaceComparison surfaces(masks, 0, masks, 1, {spacing[0], spacing[1], spacing[2]});
  lines.count("surface elements", double(surfaces.truth().areas.size()), record["truth_elements"].number());
  lines.count("surface elements", double(surfaces.prediction().areas.size()), record["prediction_elements"].number());
  lines.value("area", surfaces.truth().area, record["truth_area"].number());
  lines.value("area", surfaces.prediction().area, record["prediction_area"].number());
  if (const Json* nsd = record.find("nsd")) {
    for (const auto& [tolerance, want] : nsd->members()) {
      lines.value("NSD at " + tolerance + " mm", surfaces.nsd(std::strtod(tolerance.c_str(), nullptr)), want.number());
    }
  }
  const Json* means = record.find("mean_distance");
  lines.count("distances are there", surfaces.mean_distance().has_value(), means != nullptr);
  if (!means || !surfaces.mean_distance()) return;
  for (int side = 0; side < 2; ++side) {
    lines.value("mean distance", (*surfaces.mean_distance())[size_t(side)], (*means)[side].number());
  }
  lines.value("Hausdorff 95", *surfaces.hausdorff(0.95), record["hausdorff_95"].number());
  lines.value("Hausdorff 100", *surfaces.hausdorff(1), record["hausdorff"].number());
}

}  // namespace

std::vector<ParityLine> compare_segmentation_scores(const std::string& folder) {
  const Json description = read_json(folder + "/case.json"), values = read_json(folder + "/values.json");
  const std::vector<Json>& records = values["cases"].items();
  SAT_CHECK(int64_t(records.size()) == description["cases"].integer() && !records.empty(), folder, ": values.json has ",
            records.size(), " cases, case.json says ", description["cases"].integer());
  Lines lines;
  for (size_t i = 0; i < records.size(); ++i) {
    char name[32];
    std::snprintf(name, sizeof name, "/masks_%02zu.npy", i);
    const BitMasks masks = read_masks(folder + name);
    const Json& record = records[i];
    const Overlap voxels = overlap(masks, 0, masks, 1);
    lines.count("voxels", double(voxels.truth), record["truth_voxels"].number());
    lines.count("voxels", double(voxels.prediction), record["prediction_voxels"].number());
    const SatScores scores = score_as_sat(masks, 0, masks, 1);
    lines.value("Dice, SAT's protocol", scores.dice, record["dice"].number());
    lines.value("NSD, SAT's protocol", scores.nsd, record["nsd"].number());
    for (const Json& surface : record["surface"].items()) compare_surfaces(lines, masks, surface);
  }
  return lines.take();
}

}  // namespace sat::test
