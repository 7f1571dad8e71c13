// Looking a structure up, lesions first.
#include "examples/sat/evaluate/regions.h"

#include <algorithm>

#include "sat/io/files/file.h"
#include "sat/io/words/json.h"

namespace sat::cli {

namespace {

constexpr int64_t kLargestList = int64_t(16) << 20;
constexpr const char* kAbnormal = "abnormal";

}  // namespace

Regions::Regions(const std::string& path) {
  const Json json = Json::parse(read_file(path, kLargestList), path);
  const Json* by_region = json.find("region_based");
  for (const auto& [region, structures] : (by_region ? *by_region : json).members()) {
    regions_.emplace_back(region, structures.strings());
  }
  const Json* abnormal = by_region ? json.find(kAbnormal) : nullptr;
  if (abnormal) regions_.emplace_back(kAbnormal, abnormal->strings());
  std::stable_partition(regions_.begin(), regions_.end(), [](const auto& one) { return one.first == kAbnormal; });
}

std::string Regions::of(const std::string& modality, const std::string& structure) const {
  for (const auto& [region, structures] : regions_) {
    for (const std::string& name : {structure, modality + "_" + structure}) {
      if (std::find(structures.begin(), structures.end(), name) != structures.end()) return region;
    }
  }
  return "";
}

}  // namespace sat::cli
