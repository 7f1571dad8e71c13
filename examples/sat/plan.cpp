// sat plan: what a run will take, from headers alone.
#include <cstdio>

#include "examples/sat/command_line.h"
#include "examples/sat/prompt_vocabulary.h"
#include "examples/sat/shipped.h"
#include "sat/io/json.h"
#include "sat/io/nifti.h"
#include "sat/nn/model_file.h"
#include "sat/nn/segmenter.h"
#include "sat/nn/text_file.h"

namespace sat::cli {

namespace {

SatConfig config_of(const PlanRequest& request) {
  if (!request.architecture.empty()) return published_config(request.architecture);
  const std::string model = request.model.empty() ? find_shipped(kDefaultModel) : request.model;
  if (model.empty()) throw UsageError("no model lies beside the program; name one with --model");
  return open_model_file(model, request.config).config;
}

Json sizes(const std::array<int64_t, 3>& size) { return Json::array({size[0], size[1], size[2]}); }

std::string times(const std::array<int64_t, 3>& size) {
  return std::to_string(size[0]) + " x " + std::to_string(size[1]) + " x " + std::to_string(size[2]);
}

}  // namespace

int run(const PlanRequest& request) {
  const int64_t prompts =
      request.prompts_count > 0 ? request.prompts_count : int64_t(prompts_of(request.prompts).size());
  if (prompts == 0) throw UsageError("plan needs --prompts-count, --prompts or --prompts-file");
  RunOptions options;
  options.modality = request.modality;
  options.orientation = request.orientation;
  options.space = request.model_space ? Space::model : Space::scan;

  const SatConfig config = config_of(request);
  const NiftiHeader scan = read_nifti_header(request.scan);
  const int64_t text_bytes = request.text_model.empty() ? 0 : encoding_bytes(open_text_file({request.text_model}));
  const Scratch scratch = request.no_scratch ? Scratch::none : Scratch::offered;
  const SegmentationPlan plan =
      plan_segmentation(config, scan.geometry, options, prompts, request.max_ram, text_bytes, scratch);
  if (request.as_json) {
    Json json = Json::object();
    json.set("peak_bytes", plan.process_bytes).set("tensor_bytes", plan.tensor_bytes);
    json.set("weights_bytes", plan.weights_bytes).set("keeps", name_of(plan.waiting));
    json.set("scratch_bytes", plan.scratch_bytes).set("windows", plan.windows).set("window", sizes(plan.window));
    json.set("scan", sizes(scan.geometry.size)).set("resampled", sizes(plan.grid)).set("prompts", prompts);
    std::printf("%s\n", json.dump(2).c_str());
    return 0;
  }
  const auto megabytes = [](int64_t bytes) { return (bytes + (1 << 20) - 1) >> 20; };
  std::printf("model        %s\n", config.architecture.c_str());
  std::printf("scan         %s voxels, %s\n", times(scan.geometry.size).c_str(),
              orientation_code(scan.geometry.voxel_to_world_mm).c_str());
  std::printf("resampled    %s voxels, before cropping\n", times(plan.grid).c_str());
  std::printf("windows      at most %lld of %s\n", static_cast<long long>(plan.windows), times(plan.window).c_str());
  std::printf("peak memory  %lld bytes (%lld MiB), of which weights %lld MiB\n",
              static_cast<long long>(plan.process_bytes), static_cast<long long>(megabytes(plan.process_bytes)),
              static_cast<long long>(megabytes(plan.weights_bytes)));
  std::printf("until blended, windows wait as %s", name_of(plan.waiting));
  if (plan.scratch_bytes > 0) {
    std::printf(", %lld MiB on disk", static_cast<long long>(megabytes(plan.scratch_bytes)));
  }
  std::printf("\n");
  return 0;
}

}  // namespace sat::cli
