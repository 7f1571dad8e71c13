// A session over labelled cases.
#include "examples/sat/evaluate/masks/model_masks.h"

#include <cstring>
#include <filesystem>

#include "examples/sat/interrupt.h"
#include "examples/sat/memory_limits.h"
#include "examples/sat/output/failure.h"
#include "examples/sat/segment/case_folder.h"
#include "examples/sat/shipped.h"
#include "sat/io/words/safe_name.h"
#include "sat/tensor/memory/machine.h"

namespace sat::cli {

namespace {

BitMasks part_of(const BitMasks& masks, size_t first, size_t last) {
  BitMasks part(masks.size, int64_t(last - first));
  std::memcpy(part.bits.raw(), masks.plane(int64_t(first), 0), size_t(part.bits.bytes()));
  return part;
}

}  // namespace

ModelMasks::ModelMasks(const EvaluateRequest& request, ProgressView& view) : request_(request), view_(view) {
  ModelOptions options = request.model;
  SessionOptions session = request.session;
  complete_with_shipped(options);
  options.machine_bytes = memory_limit().bytes;
  options.threads = session.threads = request.threads;
  options.max_ram = session.max_ram;
  options.cancelled = session.cancelled = interrupted;
  options.cpu = request.cpu;
  if (session.scratch.empty()) session.scratch = request.output;
  session.spill_above = spill_above();
  const std::vector<DeviceHandle> devices =
      failing_as(FailureKind::device, [&] { return open_devices(request.device); });
  if (devices.size() != 1) throw UsageError("sat evaluate computes on one device");
  options.device = devices[0];
  view.start("model");
  view.stage("loading");
  session_.emplace(Model::open(options), session);
}

void ModelMasks::segment(const LabelledCase& one, const std::vector<StructureSource>& structures) {
  std::vector<std::string> prompts;
  for (const StructureSource& structure : structures) prompts.push_back(structure.name);
  RunOptions run;
  run.modality = one.modality;
  run.orientation = one.orientation;
  run.model_masks = of_sat(one);
  run.on_progress = [&](const Progress& progress) { view_.update(progress); };
  run.on_warning = [&](const std::string& warning) { view_.line(one.id + ": warning: " + warning); };
  run.cancelled = interrupted;
  view_.stage("reading");
  check_memory(session_->plan(read_nifti_header(one.image).geometry, run, int64_t(prompts.size())),
               request_.session.max_ram);
  result_ = {};  // before the next scan is there
  NiftiScan scan = read_nifti(one.image);
  run.scan_warnings = scan.header.warnings;
  scan_ = scan.header;
  result_ = session_->run(scan.volume, prompts, run);
  if (!request_.keep_masks) return;
  failing_as(FailureKind::output, [&] {
    const std::string name = safe_name(one.id), folder = request_.output + "/masks/" + name;
    std::filesystem::create_directories(folder);
    const std::vector<std::string> names = safe_names(prompts);
    for (size_t i = 0; i < names.size(); ++i) {
      write_nifti_mask(folder + "/" + names[i] + ".nii.gz", result_.masks, int64_t(i), scan_);
    }
  });
}

bool ModelMasks::of_sat(const LabelledCase& one) const {
  return model().config().modality(one.modality).spacing_mm == PreprocessOptions().spacing_mm;
}

std::optional<StoredGrid> ModelMasks::grid(const LabelledCase& one) const {
  if (!of_sat(one)) return {};
  const ModelGrid& grid = result_.grid;
  return StoredGrid{one.orientation, PreprocessOptions().spacing_mm, grid.crop, grid.resampled.size};
}

PredictedMasks ModelMasks::masks(size_t first, size_t last) const {
  PredictedMasks masks{part_of(result_.masks, first, last), {}};
  if (result_.model_masks.prompts > 0) masks.sat = part_of(result_.model_masks, first, last);
  return masks;
}

}  // namespace sat::cli
