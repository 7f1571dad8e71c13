// Finding a case's files by manifests and names.
#include "examples/sat/evaluate/masks/predictions.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "examples/sat/cases.h"
#include "examples/sat/segment/case_record.h"
#include "sat/io/files/file.h"
#include "sat/io/files/folder.h"
#include "sat/io/files/posix.h"
#include "sat/io/scans/preprocess.h"
#include "sat/io/words/safe_name.h"
#include "sat/io/words/text.h"
#include "sat/tensor/error.h"

namespace sat::cli {

namespace {

namespace fs = std::filesystem;
constexpr int64_t kLargestManifest = int64_t(64) << 20, kLargestLabels = int64_t(16) << 20;
constexpr const char* kLabels = "labels.json";

bool is_file(const std::string& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

/// "ct_1" of "scans/ct_1.nii.gz".
std::string name_of_scan(const std::string& path) {
  std::string name = fs::path(path).filename().string();
  for (const char* extension : {".nii.gz", ".nii", ".hdr.gz", ".img.gz", ".hdr", ".img"}) {
    if (has_extension(name, extension)) return name.substr(0, name.size() - std::string(extension).size());
  }
  return name;
}

/// The path with the extension under which a file lies there, or "".
std::string with_extension(const std::string& path) {
  for (const char* extension : {".nii.gz", ".nii"}) {
    if (is_file(path + extension)) return path + extension;
  }
  return "";
}

/// Where a case may lie below a folder.
std::vector<std::string> places_of(const LabelledCase& one) {
  std::vector<std::string> places;
  for (const std::string& name : {one.id, name_of_scan(one.image)}) {
    for (const std::string& place : {name, one.dataset + "/" + name}) {
      if (!name.empty() && std::find(places.begin(), places.end(), place) == places.end()) places.push_back(place);
    }
  }
  return places;
}

std::string mask_in(const std::string& folder, const std::string& structure) {
  std::string underscores = structure;
  std::replace(underscores.begin(), underscores.end(), ' ', '_');
  for (const std::string& name : {structure, safe_name(structure), underscores, safe_name(underscores)}) {
    if (name.find('/') != std::string::npos) continue;
    const std::string path = with_extension(folder + "/" + name);
    if (!path.empty()) return path;
  }
  return "";
}

/// {"labels": [{"value", "name"}]}, {"name": value or values} or {"value": "name"}.
std::map<std::string, std::vector<int64_t>> labels_in(const std::string& path) {
  const Json json = Json::parse(read_file(path, kLargestLabels), path);
  std::map<std::string, std::vector<int64_t>> values;
  const Json* labels = json.find("labels");
  if (labels && labels->kind() == Json::Kind::array) {
    for (const Json& label : labels->items()) values[label["name"].string()].push_back(label["value"].integer());
    return values;
  }
  for (const auto& [key, value] : (labels ? *labels : json).members()) {
    if (value.kind() == Json::Kind::string) {
      values[value.string()].push_back(Json::parse(key, path).integer());
    } else if (value.kind() == Json::Kind::array) {
      values[key] = value.integers();
    } else {
      values[key].push_back(value.integer());
    }
  }
  return values;
}

StoredGrid grid_of(const Json& decisions) {
  StoredGrid grid;
  grid.orientation = decisions["orientation"].string();
  const std::vector<double> spacing = decisions["spacing_mm"].numbers();
  const std::vector<int64_t> resampled = decisions["resampled_size"].integers();
  const Json& crop = decisions["crop"];
  SAT_CHECK(spacing.size() == 3 && resampled.size() == 3 && crop.size() == 3, "a grid of ", resampled.size(),
            " axes, needs three");
  for (size_t axis = 0; axis < 3; ++axis) {
    const std::vector<int64_t> range = crop[axis].integers();
    SAT_CHECK(range.size() == 2, "a crop of ", range.size(), " ends an axis, needs two");
    grid.crop[axis] = {range[0], range[1]};
    grid.resampled[axis] = resampled[axis];
    grid.spacing_mm[axis] = spacing[axis];
  }
  return grid;
}

}  // namespace

bool StoredGrid::is_sat() const {
  constexpr double kKept = 1e-3;  // as space_grid() has it
  const std::array<double, 3> sat = PreprocessOptions().spacing_mm;
  for (size_t axis = 0; axis < 3; ++axis) {
    if (std::fabs(spacing_mm[axis] - sat[axis]) > kKept) return false;
  }
  return true;
}

PredictionFolder::PredictionFolder(const std::string& path) : path_(path) {
  std::vector<std::string> folders{""};
  for (const FolderEntry& entry : list_folder(path)) {
    if (entry.kind == FolderEntry::Kind::folder && entry.name[0] != '.') folders.push_back("/" + entry.name);
  }
  for (const std::string& folder : folders) {
    const std::string manifest = path + folder + "/" + kManifestName;
    if (!is_file(manifest)) continue;
    Stored stored{path + folder, Json::object(), ""};
    try {
      stored.manifest = Json::parse(read_file(manifest, kLargestManifest), manifest);
      stored.manifest["scan"]["path"].string();
    } catch (const Error& error) {  // of one case, whose turn will come
      stored.error = error.what();
    }
    manifests_.push_back(std::move(stored));
  }
  named_ = is_file(path + "/" + kLabels);
  if (named_) values_ = labels_in(path + "/" + kLabels);
}

const PredictionFolder::Stored* PredictionFolder::find_manifest(const LabelledCase& one) const {
  const std::string path = absolute_path(one.image), name = name_of_scan(one.image);
  std::vector<const Stored*> of_path, of_name;
  for (const Stored& stored : manifests_) {
    if (!stored.error.empty()) {
      if (fs::path(stored.folder).filename() == name) of_name.push_back(&stored);
      continue;
    }
    const std::string& from = stored.manifest["scan"]["path"].string();
    if (from == path) of_path.push_back(&stored);
    if (name_of_scan(from) == name) of_name.push_back(&stored);
  }
  for (const auto& found : {of_path, of_name}) {
    SAT_CHECK(found.size() <= 1, found[0]->folder, " and ", found[1]->folder, " are both results of ", one.image);
    if (found.empty()) continue;
    SAT_CHECK(found[0]->error.empty(), found[0]->error);
    return found[0];
  }
  return nullptr;
}

PredictedCase PredictionFolder::of_manifest(const Stored& stored, const std::vector<StructureSource>& truth) const {
  const Json& manifest = stored.manifest;
  PredictedCase predicted;
  predicted.model_space = manifest["request"]["space"].string() == "model";
  const StoredGrid grid = grid_of(manifest["decisions"]);
  if (grid.is_sat()) predicted.grid = grid;
  SAT_CHECK(predicted.grid || !predicted.model_space, stored.folder, ": its masks lie in a model's space of ",
            grid.spacing_mm[0], " x ", grid.spacing_mm[1], " x ", grid.spacing_mm[2],
            " mm, where nothing is scored; write them on the scan's grid, without --model-space");
  for (const StructureSource& structure : truth) {
    const std::string* mask = nullptr;
    for (const Json& each : manifest["structures"].items()) {
      if (each["name"].string() == structure.name) mask = &each["mask"].string();
    }
    SAT_CHECK(mask, stored.folder, ": there is no mask of ", quoted(structure.name), " among its ",
              manifest["structures"].size());
    const std::string path = stored.folder + "/" + *mask;
    SAT_CHECK(is_file(path), "there is no mask ", path);
    predicted.structures.push_back({structure.name, {path}, {}, {}});
  }
  return predicted;
}

std::vector<int64_t> PredictionFolder::values_of(const StructureSource& truth) const {
  if (!named_) {
    SAT_CHECK(!truth.values.empty(), path_, ": there is no ", kLabels, ", and the labels do not say which value ",
              quoted(truth.name), " has");
    return truth.values;
  }
  const auto found = values_.find(truth.name);
  SAT_CHECK(found != values_.end(), path_, "/", kLabels, ": there is no ", quoted(truth.name));
  return found->second;
}

PredictedCase PredictionFolder::find(const LabelledCase& one, const std::vector<StructureSource>& truth) const {
  if (const Stored* stored = find_manifest(one)) return of_manifest(*stored, truth);
  std::string tried;
  for (const std::string& place : places_of(one)) {
    const std::string folder = path_ + "/" + place, map = with_extension(folder);
    std::error_code error;
    PredictedCase predicted;
    if (fs::is_directory(folder, error)) {
      for (const StructureSource& structure : truth) {
        const std::string mask = mask_in(folder, structure.name);
        SAT_CHECK(!mask.empty(), folder, ": there is no mask of ", quoted(structure.name));
        predicted.structures.push_back({structure.name, {mask}, {}, {}});
      }
      return predicted;
    }
    if (!map.empty()) {
      for (const StructureSource& structure : truth) {
        predicted.structures.push_back({structure.name, {map}, values_of(structure), {}});
      }
      return predicted;
    }
    tried += (tried.empty() ? "" : ", ") + place;
  }
  fail("there is no prediction in ", path_, ": no manifest of its scan, and neither a folder nor a label map ", tried);
}

}  // namespace sat::cli
