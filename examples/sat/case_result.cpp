// Masks, label map, statistics, preview, and the record of every decision.
#include "examples/sat/case_result.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "examples/sat/case_folder.h"
#include "sat/io/file.h"
#include "sat/io/hash.h"
#include "sat/io/label_map.h"
#include "sat/io/png.h"
#include "sat/io/preview.h"
#include "sat/io/resample.h"
#include "sat/io/safe_name.h"
#include "sat/io/statistics.h"
#include "sat/tensor/parallel.h"
#include "sat/tensor/profile.h"

namespace sat::cli {

namespace {

namespace fs = std::filesystem;
constexpr const char* kManifestFormat = "sat-manifest-1";
constexpr int64_t kLargestManifest = int64_t(64) << 20;

template <class Values>
Json list(const Values& values) {
  Json items = Json::array();
  for (const auto& value : values) items.push(value);
  return items;
}

Json affine_json(const Affine& affine) {
  Json rows = Json::array();
  for (const auto& row : affine.m) rows.push(list(row));
  return rows;
}

/// The scan as the model sees it before normalisation, on the cropped grid.
Volume model_space_scan(const Volume& scan, const ModelGrid& grid) {
  const AxisOrder order =
      axis_order(scan.geometry.voxel_to_world_mm, orientation_code(grid.oriented.voxel_to_world_mm));
  SpacedGrid spaced;
  spaced.geometry = grid.resampled;
  spaced.resampled = grid.resampled_any;
  if (spaced.resampled) spaced = space_grid(grid.oriented, column_norms(grid.resampled.voxel_to_world_mm));
  const Tensor whole = resample(scan.voxels, order, spaced);
  const std::array<int64_t, 3>& size = grid.model.size;
  Volume cropped{Tensor({size[0], size[1], size[2]}), grid.model};
  const Shape& from = whole.shape;
  for (int64_t h = 0; h < size[0]; ++h) {
    for (int64_t w = 0; w < size[1]; ++w) {
      const int64_t row = ((grid.crop[0][0] + h) * from[1] + grid.crop[1][0] + w) * from[2] + grid.crop[2][0];
      std::copy_n(whole.data<float>() + row, size[2], cropped.voxels.data<float>() + (h * size[1] + w) * size[2]);
    }
  }
  return cropped;
}

void make_folder(const std::string& path) {
  std::error_code error;
  fs::create_directory(path, error);
  SAT_CHECK(!error, "cannot make the folder ", path);
}

Json scan_json(const Json& fingerprint, const NiftiHeader& header) {
  Json json = fingerprint;
  const Geometry& geometry = header.geometry;
  json.set("size", list(geometry.size)).set("spacing_mm", list(column_norms(geometry.voxel_to_world_mm)));
  json.set("orientation", orientation_code(geometry.voxel_to_world_mm)).set("geometry_from", name_of(header.form));
  json.set("left_right", header.orientation_known ? "known" : "unreliable");
  json.set("datatype", name_of_nifti_type(header.datatype));
  return json.set("voxel_to_world_mm", affine_json(geometry.voxel_to_world_mm));
}

Json decisions_json(const Case& one, const Segmentation& result, const Segmenter& segmenter) {
  const ModelGrid& grid = result.grid;
  const ModalityConfig& modality = segmenter.config().modality(one.modality);
  const bool clip = modality.normalisation.kind == Normalisation::Kind::clip;
  Json normalisation = Json::object().set("kind", clip ? "clip" : "percentiles");
  normalisation.set("low", modality.normalisation.low).set("high", modality.normalisation.high);
  Json crop = Json::array();
  for (const auto& range : grid.crop) crop.push(list(range));
  Json json = Json::object();
  json.set("orientation", orientation_code(grid.oriented.voxel_to_world_mm));
  json.set("spacing_mm", list(column_norms(grid.resampled.voxel_to_world_mm)));
  json.set("resampled", grid.resampled_any).set("resampled_size", list(grid.resampled.size));
  json.set("crop", std::move(crop)).set("model_size", list(grid.model.size));
  json.set("model_voxel_to_world_mm", affine_json(grid.model.voxel_to_world_mm));
  json.set("normalisation", std::move(normalisation));
  json.set("window", list(result.plan.window)).set("windows", result.windows);
  json.set("rows_leave_along_axis", result.plan.slow_axis);
  json.set("keeps", name_of(result.plan.waiting));
  json.set("threshold", 0.5).set("label_priority", kLabelPriority);
  json.set("precision", name_of(segmenter.context().precision()));
  json.set("device", segmenter.device());
  json.set("cpu", name_of(segmenter.context().cpu())).set("pairing_checked", result.pairing_checked);
  return json;
}

int64_t peak_process_bytes() {
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t(usage.ru_maxrss) * 1024;
}

Json statistics_json(const Segmentation& result, const std::vector<std::string>& names, const Volume& scan,
                     const std::string& extension) {
  Json structures = Json::array();
  for (size_t i = 0; i < names.size(); ++i) {
    Json each = Json::object().set("name", result.prompts[i]).set("file", "masks/" + names[i] + extension);
    const Json measured = to_json(measure_mask(result.masks, int64_t(i), scan));
    for (const Json::Member& member : measured.members()) each.set(member.first, member.second);
    structures.push(std::move(each));
  }
  return Json::object().set("structures", std::move(structures));
}

void write_probabilities(const std::string& folder, const std::vector<std::string>& names, const NiftiHeader& like,
                         const MappedScratch& scratch) {
  make_folder(folder);
  const std::array<int64_t, 3>& size = like.geometry.size;
  const Tensor one({size[0], size[1], size[2]});
  for (size_t i = 0; i < names.size(); ++i) {
    std::memcpy(one.data<float>(), scratch.data() + int64_t(i) * one.bytes(), size_t(one.bytes()));
    write_nifti(folder + "/" + names[i] + ".nii", one, like);
  }
}

bool same_apart_from_path(Json known, Json now) {
  return known.set("path", Json()).dump() == now.set("path", Json()).dump();
}

}  // namespace

Identity identity_of(const Segmenter& segmenter, const SegmenterOptions& options) {
  Identity identity;
  identity.model = Json::object()
                       .set("path", absolute_path(options.model))
                       .set("identity", segmenter.model_identity())
                       .set("file_sha256", sha256_of_file(options.model))
                       .set("architecture", segmenter.config().architecture)
                       .set("config_sha256", sha256(to_json(segmenter.config()).dump()));
  const bool bank = !options.bank.empty();
  const std::string path = bank ? options.bank : options.text_model;
  identity.text = Json::object().set("kind", bank ? "bank" : "text encoder").set("path", absolute_path(path));
  identity.text.set("identity", segmenter.text_identity()).set("file_sha256", sha256_of_file(path));
  identity.text.set("vocabulary_sha256", bank ? Json() : Json(sha256_of_file(options.vocabulary)));
  return identity;
}

Json request_json(const Case& one, const ResultOptions& wanted) {
  Json request = Json::object().set("modality", one.modality).set("prompts", list(one.prompts));
  request.set("orientation", one.orientation.empty() ? Json() : Json(one.orientation));
  request.set("space", wanted.model_space ? "model" : "scan").set("probabilities", wanted.probabilities);
  request.set("geometry", name_of(wanted.geometry));
  return request.set("preview", wanted.preview).set("mask_format", wanted.mask_extension.substr(1));
}

Json scan_fingerprint(const std::string& path) {
  struct stat status {};
  SAT_CHECK(::stat(path.c_str(), &status) == 0, "cannot find the scan ", path);
  const int64_t modified = int64_t(status.st_mtim.tv_sec) * 1000000000 + status.st_mtim.tv_nsec;
  return Json::object()
      .set("path", absolute_path(path))
      .set("bytes", int64_t(status.st_size))
      .set("modified_ns", modified)
      .set("sha256", sha256_of_file(path));
}

Finished finished_case(const std::string& folder, const Identity& identity, const std::string& scan) {
  const std::string path = folder + "/" + kManifestName;
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return Finished::no;
  try {
    const Json manifest = Json::parse(read_file(path, kLargestManifest), path);
    const Json& known = manifest["scan"];
    struct stat status {};
    if (::stat(scan.c_str(), &status) != 0) return Finished::no;
    const int64_t modified = int64_t(status.st_mtim.tv_sec) * 1000000000 + status.st_mtim.tv_nsec;
    const bool same_path = known["path"].string() == absolute_path(scan);
    const bool same_size = known["bytes"].integer() == int64_t(status.st_size);
    const bool same_time = same_path && known["modified_ns"].integer() == modified;
    const bool same_scan = same_size && (same_time || known["sha256"].string() == sha256_of_file(scan));
    if (!same_scan) return same_path ? Finished::no : Finished::other_scan;
    const bool same =
        manifest["format"].string() == kManifestFormat && same_apart_from_path(manifest["model"], identity.model) &&
        same_apart_from_path(manifest["text"], identity.text) &&
        manifest["request"].dump() == identity.request.dump() && manifest["version"].string() == SAT_VERSION;
    if (!same) return Finished::no;
    for (const std::string& file : manifest["files"].strings()) {
      if (!fs::is_regular_file(folder + "/" + file, error)) return Finished::no;
    }
    return Finished::yes;
  } catch (const Error&) {
    return Finished::no;  // a manifest that cannot be read vouches for nothing
  }
}

Json write_case(const std::string& folder, const Case& one, const NiftiScan& scan, const Segmentation& result,
                const Segmenter& segmenter, const Identity& identity, const Json& fingerprint,
                const ResultOptions& wanted, const MappedScratch* probabilities, double seconds) {
  Json stages = Json::object().set("read", seconds);
  for (const Segmentation::Stage& stage : result.stages) stages.set(stage.name, stage.seconds);
  profile::Stopwatch watch;
  const auto timed = [&](const char* stage) { stages.set(stage, watch.lap()); };
  NiftiHeader header = scan.header;
  Volume image = scan.volume;
  if (wanted.model_space) {
    header = header_for(result.grid.model);
    image = model_space_scan(scan.volume, result.grid);
    write_nifti(folder + "/image" + wanted.mask_extension, image.voxels, header);
    timed("write image");
  }

  const std::vector<std::string> names = safe_names(result.prompts);
  make_folder(folder + "/masks");
  const auto write_masks = [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      write_nifti_mask(folder + "/masks/" + names[size_t(i)] + wanted.mask_extension, result.masks, i, header);
    }
  };
  const auto prompts = int64_t(names.size());
  if (prompts < segmenter.context().threads().size()) {
    write_masks(0, prompts);  // threads share each file
  } else {
    parallel_for(prompts, 1, write_masks);
  }
  timed("write masks");
  if (probabilities) {
    write_probabilities(folder + "/probabilities", names, header, *probabilities);
    timed("write probabilities");
  }

  const LabelMap map = label_map(result.masks);
  write_nifti(folder + "/labels" + wanted.mask_extension, map.labels, header);
  write_file_atomically(folder + "/labels.txt", itk_snap_legend(result.prompts));
  write_file_atomically(folder + "/labels.json", legend_json(map, result.prompts).dump(2) + "\n");
  timed("label map");
  const Json statistics = statistics_json(result, names, image, wanted.mask_extension);
  write_file_atomically(folder + "/statistics.json", statistics.dump(2) + "\n");
  timed("statistics");
  if (wanted.preview) {
    write_png(folder + "/preview.png", preview(image, result.masks, result.prompts, display_window(image, one.modality),
                                               {scan.header.orientation_known}));
    timed("preview");
  }
  Json plan = Json::object().set("weights_bytes", result.plan.weights_bytes);
  plan.set("tensor_bytes", result.plan.tensor_bytes).set("process_bytes", result.plan.process_bytes);
  plan.set("scratch_bytes", result.plan.scratch_bytes).set("device_bytes", result.plan.device_bytes);
  Json manifest = Json::object();
  manifest.set("format", kManifestFormat).set("version", SAT_VERSION);
  manifest.set("scan", scan_json(fingerprint, scan.header)).set("model", identity.model).set("text", identity.text);
  manifest.set("request", identity.request).set("decisions", decisions_json(one, result, segmenter));
  manifest.set("plan", std::move(plan)).set("peak_tensor_bytes", result.peak_bytes);
  if (const auto& checked = result.verification) {
    manifest.set("verification", Json::object()
                                     .set("largest_difference", checked->largest_difference)
                                     .set("changed_fraction", checked->changed)
                                     .set("seconds", checked->seconds));
  }
  if (result.device_peak_bytes > 0) manifest.set("peak_device_bytes", result.device_peak_bytes);
  manifest.set("peak_process_bytes", peak_process_bytes()).set("seconds", std::move(stages));
  manifest.set("warnings", list(result.warnings)).set("files", list(files_below(folder)));
  write_file_atomically(folder + "/" + kManifestName, manifest.dump(2) + "\n");
  return manifest.set("structures", statistics["structures"]);
}

}  // namespace sat::cli
