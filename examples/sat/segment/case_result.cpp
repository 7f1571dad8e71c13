// Masks, label map, statistics, preview, and the record of every decision.
#include "examples/sat/segment/case_result.h"

#include <sys/resource.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "examples/sat/segment/case_folder.h"
#include "sat/io/files/file.h"
#include "sat/io/files/hash.h"
#include "sat/io/files/posix.h"
#include "sat/io/masks/label_map.h"
#include "sat/io/masks/statistics.h"
#include "sat/io/pictures/png.h"
#include "sat/io/pictures/preview.h"
#include "sat/io/scans/resample.h"
#include "sat/tensor/parallel.h"
#include "sat/tensor/profile.h"

namespace sat::cli {

namespace {

namespace fs = std::filesystem;
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

/// "NVIDIA H100" of "cuda:1 (NVIDIA H100)": devices of one kind give the same bits.
std::string device_kind(const std::string& name) {
  const size_t open = name.find('('), close = name.rfind(')');
  return open == std::string::npos || close == std::string::npos ? name : name.substr(open + 1, close - open - 1);
}

void make_folder(const std::string& path) {
  std::error_code error;
  fs::create_directory(path, error);
  SAT_CHECK(!error, "cannot make the folder ", path, ": ", system_reason(error.value()));
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

Json decisions_json(const Case& one, const Segmentation& result, const Session& session) {
  const ModelGrid& grid = result.grid;
  const ModalityConfig& modality = session.model().config().modality(one.modality);
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
  json.set("precision", name_of(session.context().precision()));
  json.set("device", session.context().device_name());
  json.set("cpu", name_of(session.context().cpu())).set("pairing_checked", result.pairing_checked);
  return json;
}

int64_t peak_process_bytes() {
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t(usage.ru_maxrss) * 1024;
}

/// The masks of all structures: those of the result, and those made before, read from where they lie.
BitMasks all_masks(const CaseParts& parts) {
  const auto& structures = parts.resume.structures;
  if (parts.resume.prompts.size() == structures.size()) return parts.result.masks;
  const BitMasks& computed = parts.result.masks;
  BitMasks all(computed.size, int64_t(structures.size()));
  const int64_t bytes = computed.size[0] * computed.plane_bytes;
  int64_t next = 0;
  for (size_t i = 0; i < structures.size(); ++i) {
    if (structures[i].computed) {
      std::memcpy(all.plane(int64_t(i), 0), computed.plane(next++, 0), size_t(bytes));
    } else {
      read_nifti_mask(parts.record->folder + "/" + structures[i].structure.mask, all, int64_t(i));
    }
  }
  return all;
}

std::vector<std::string> names_of(const Resume& resume) {
  std::vector<std::string> names;
  for (const PlannedStructure& planned : resume.structures) names.push_back(planned.structure.name);
  return names;
}

Json statistics_json(const Resume& resume, const BitMasks& masks, const Volume& scan) {
  Json structures = Json::array();
  const std::vector<MaskStatistics> statistics = measure_masks(masks, scan);
  for (size_t i = 0; i < resume.structures.size(); ++i) {
    const StoredStructure& structure = resume.structures[i].structure;
    Json each = Json::object().set("name", structure.name).set("file", structure.mask);
    const Json measured = to_json(statistics[i]);
    for (const Json::Member& member : measured.members()) each.set(member.first, member.second);
    structures.push(std::move(each));
  }
  return Json::object().set("structures", std::move(structures));
}

Json structures_json(const CaseParts& parts) {
  Json list = Json::array();
  for (const PlannedStructure& planned : parts.resume.structures) {
    const StoredStructure& structure = planned.structure;
    const auto& changed = parts.resume.changed;
    Json each = Json::object().set("name", structure.name).set("mask", structure.mask);
    each.set("probabilities", structure.probabilities.empty() ? Json() : Json(structure.probabilities));
    each.set("verified", structure.verified);
    each.set("changed", std::find(changed.begin(), changed.end(), structure.mask) != changed.end());
    list.push(std::move(each));
  }
  return list;
}

void write_masks(const std::string& folder, const CaseParts& parts, const NiftiHeader& header) {
  std::vector<std::string> files;
  for (const PlannedStructure& planned : parts.resume.structures) {
    if (planned.computed) files.push_back(folder + "/" + planned.structure.mask);
  }
  make_folder(folder + "/masks");
  const auto write = [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) write_nifti_mask(files[size_t(i)], parts.result.masks, i, header);
  };
  const auto count = int64_t(files.size());
  if (count < parts.session.context().threads().size()) {
    write(0, count);  // threads share each file
  } else {
    parallel_for(count, 1, write);
  }
}

void write_probabilities(const std::string& folder, const CaseParts& parts, const NiftiHeader& header) {
  make_folder(folder + "/probabilities");
  const std::array<int64_t, 3>& size = header.geometry.size;
  Tensor one({size[0], size[1], size[2]});
  const uint8_t* from = parts.probabilities->data();
  for (const PlannedStructure& planned : parts.resume.structures) {
    if (!planned.computed) continue;
    std::memcpy(one.data<float>(), from, size_t(one.bytes()));
    from += one.bytes();
    write_nifti(folder + "/" + planned.structure.probabilities, one, header);
  }
}

/// Kept files as the earlier manifest has them: one that somebody changed stays known as changed.
Json files_json(const std::string& folder, const CaseParts& parts) {
  Json files = file_list(folder, files_below(folder));
  for (const std::string& file : parts.resume.kept_files()) {
    const StoredFile& stored = parts.record->files.at(file);
    files.set(file, Json::object().set("bytes", stored.bytes).set("sha256", stored.sha256));
  }
  return files;
}

/// The runs that made what is in the folder, the latest last.
Json runs_json(const CaseParts& parts, const Json& seconds) {
  Json runs = Json::array();
  const bool carries_on = parts.record && parts.resume.replaced.empty();
  if (carries_on) runs = parts.record->manifest["runs"];
  Json run = Json::object().set("prompts", list(parts.resume.prompts));
  run.set("cpu", name_of(parts.session.context().cpu())).set("device", parts.session.context().device_name());
  run.set("warnings", list(parts.result.warnings)).set("seconds", seconds);
  if (const auto& checked = parts.result.verification) {
    run.set("verification", Json::object()
                                .set("largest_difference", checked->largest_difference)
                                .set("changed_fraction", checked->changed)
                                .set("seconds", checked->seconds));
  }
  return runs.push(std::move(run));
}

}  // namespace

Identity identity_of(const Model& model) {
  const ModelOptions& options = model.options();
  Identity identity;
  identity.model = Json::object()
                       .set("path", absolute_path(options.model))
                       .set("identity", model.identity())
                       .set("file_sha256", sha256_of_file(options.model))
                       .set("architecture", model.config().architecture)
                       .set("config_sha256", sha256(to_json(model.config()).dump()));
  const bool bank = !options.bank.empty();
  const std::string path = bank ? options.bank : options.text_model;
  identity.text = Json::object().set("kind", bank ? "bank" : "text encoder").set("path", absolute_path(path));
  identity.text.set("identity", model.text_identity()).set("file_sha256", sha256_of_file(path));
  identity.text.set("vocabulary_sha256", bank ? Json() : Json(sha256_of_file(options.vocabulary)));
  return identity;
}

Json settings_json(const Case& one, const ResultOptions& wanted, const Session& session, const DeviceChoice& device) {
  const Context& context = session.context();
  const bool fast = context.precision() == Precision::fast, on_device = context.device() != nullptr;
  Json settings = Json::object().set("modality", one.modality);
  settings.set("orientation", one.orientation.empty() ? Json() : Json(one.orientation));
  settings.set("geometry", name_of(wanted.geometry)).set("space", wanted.model_space ? "model" : "scan");
  settings.set("mask_format", wanted.mask_extension.substr(1));
  settings.set("precision", name_of(context.precision())).set("device", device_kind(session.context().device_name()));
  if (on_device) settings.set("conv", device.conv);
  if (fast && on_device) settings.set("half", name_of(device.half));
  if (fast && !on_device) settings.set("matrix_units", context.cpu() == CpuLevel::amx);
  return settings;
}

int64_t joining_bytes(const Geometry& grid, const Resume& resume) {
  if (resume.prompts.size() == resume.structures.size()) return 0;
  return BitMasks::bytes_needed(grid.size, int64_t(resume.structures.size()));
}

Json write_case(const std::string& folder, const CaseParts& parts, const ResultOptions& wanted) {
  const Segmentation& result = parts.result;
  Json stages = Json::object().set("read", parts.reading_seconds);
  for (const Segmentation::Stage& stage : result.stages) stages.set(stage.name, stage.seconds);
  profile::Stopwatch watch;
  const auto timed = [&](const char* stage) { stages.set(stage, watch.lap()); };
  NiftiHeader header = parts.scan.header;
  Volume image = parts.scan.volume;
  if (wanted.model_space) {
    header = header_for(result.grid.model);
    image = model_space_scan(parts.scan.volume, result.grid);
    write_nifti(folder + "/image" + wanted.mask_extension, image.voxels, header);
    timed("write image");
  }
  write_masks(folder, parts, header);
  timed("write masks");
  if (parts.probabilities) {
    write_probabilities(folder, parts, header);
    timed("write probabilities");
  }

  const BitMasks masks = all_masks(parts);
  const std::vector<std::string> names = names_of(parts.resume);
  const LabelMap map = label_map(masks);
  write_nifti(folder + "/labels" + wanted.mask_extension, map.labels, header);
  write_file_atomically(folder + "/labels.txt", itk_snap_legend(names));
  write_file_atomically(folder + "/labels.json", legend_json(map, names).dump(2) + "\n");
  timed("label map");
  const Json statistics = statistics_json(parts.resume, masks, image);
  write_file_atomically(folder + "/statistics.json", statistics.dump(2) + "\n");
  timed("statistics");
  if (wanted.preview) {
    write_png(folder + "/preview.png", preview(image, masks, names, display_window(image, parts.one.modality),
                                               {parts.scan.header.orientation_known}));
    timed("preview");
  }

  Json request = parts.question.settings;
  request.set("prompts", list(names));
  Json plan = Json::object().set("weights_bytes", result.plan.weights_bytes);
  plan.set("tensor_bytes", result.plan.tensor_bytes).set("process_bytes", result.plan.process_bytes);
  plan.set("scratch_bytes", result.plan.scratch_bytes).set("device_bytes", result.plan.device_bytes);
  Json manifest = Json::object();
  manifest.set("format", kManifestFormat).set("version", SAT_VERSION);
  manifest.set("scan", scan_json(parts.question.scan, parts.scan.header)).set("grid", list(masks.size));
  manifest.set("model", parts.question.model).set("text", parts.question.text);
  manifest.set("request", std::move(request)).set("structures", structures_json(parts));
  manifest.set("runs", runs_json(parts, stages));
  manifest.set("decisions", decisions_json(parts.one, result, parts.session));
  manifest.set("plan", std::move(plan)).set("peak_tensor_bytes", result.peak_bytes);
  if (result.device_peak_bytes > 0) manifest.set("peak_device_bytes", result.device_peak_bytes);
  manifest.set("peak_process_bytes", peak_process_bytes()).set("seconds", std::move(stages));
  manifest.set("doubts", list(result.doubts)).set("warnings", list(result.warnings));
  manifest.set("files", files_json(folder, parts));
  write_file_atomically(folder + "/" + kManifestName, manifest.dump(2) + "\n");
  return manifest.set("structures", statistics["structures"]);
}

}  // namespace sat::cli
