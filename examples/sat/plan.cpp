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
#include "sat/nn/unet3d.h"

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

int64_t megabytes(int64_t bytes) { return (bytes + (1 << 20) - 1) >> 20; }

/// Bytes of a layer's weights as its method keeps them, up to padding.
int64_t weight_bytes(const BackboneLayer& planned) {
  const double raw = 4. * 27 * double(planned.layer.in * planned.layer.out);
  return int64_t(raw * info_of(planned.method).weight_growth);
}

void print_kernels(const SatConfig& config, const PlanRequest& request) {
  Json rows = Json::array();
  if (!request.as_json) {
    std::printf("%-12s %12s  %-15s %-7s %-17s %9s %8s %10s\n", "layer", "channels", "usual grid", "stride", "method",
                "saved", "error", "weights");
  }
  for (const BackboneLayer& planned : backbone_layers(config)) {
    const ConvLayer& layer = planned.layer;
    const ConvMethodInfo& info = info_of(planned.method);
    if (request.as_json) {
      rows.push(Json::object()
                    .set("layer", planned.name)
                    .set("in", layer.in)
                    .set("out", layer.out)
                    .set("grid", sizes(layer.grid))
                    .set("stride", layer.stride)
                    .set("method", info.name)
                    .set("multiplications_saved", info.savings)
                    .set("error_bound", info.error)
                    .set("error_allowed", request.context.precision == Precision::fast ? 1e-2 : layer.most_error)
                    .set("weight_bytes", weight_bytes(planned)));
      continue;
    }
    const std::string channels = std::to_string(layer.in) + " -> " + std::to_string(layer.out);
    std::printf("%-12s %12s  %-15s %-7lld %-17s %8.1fx %8.0e %6lld MiB\n", planned.name.c_str(), channels.c_str(),
                times(layer.grid).c_str(), static_cast<long long>(layer.stride), info.name, info.savings, info.error,
                static_cast<long long>(megabytes(weight_bytes(planned))));
  }
  if (request.as_json) std::printf("%s\n", rows.dump(2).c_str());
}

}  // namespace

int run(const PlanRequest& request) {
  ContextOptions options_of_context = request.context;
  options_of_context.accelerator = imagined_device(request.device);
  Context context(options_of_context);
  UseContext use(context);
  if (request.kernels) {
    print_kernels(config_of(request), request);
    return 0;
  }
  if (request.scan.empty()) throw UsageError("plan needs a SCAN, or --kernels");
  if (request.modality.empty()) throw UsageError("--modality: 1 required M missing");
  const int64_t prompts =
      request.prompts_count > 0 ? request.prompts_count : int64_t(prompts_of(request.prompts).size());
  if (prompts == 0) throw UsageError("plan needs --prompts-count, --prompts or --prompts-file");
  RunOptions options;
  options.modality = request.modality;
  options.orientation = request.orientation;
  options.space = request.model_space ? Space::model : Space::scan;
  options.probabilities_on_disk = request.probabilities;

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
    json.set("scratch_bytes", plan.scratch_bytes).set("probability_bytes", plan.probability_bytes);
    json.set("windows", plan.windows).set("window", sizes(plan.window));
    if (plan.device_bytes > 0) json.set("device_bytes", plan.device_bytes);
    json.set("scan", sizes(scan.geometry.size)).set("resampled", sizes(plan.grid)).set("prompts", prompts);
    std::printf("%s\n", json.dump(2).c_str());
    return 0;
  }
  std::printf("model        %s\n", config.architecture.c_str());
  std::printf("scan         %s voxels, %s\n", times(scan.geometry.size).c_str(),
              orientation_code(scan.geometry.voxel_to_world_mm).c_str());
  std::printf("resampled    %s voxels, before cropping\n", times(plan.grid).c_str());
  std::printf("windows      at most %lld of %s\n", static_cast<long long>(plan.windows), times(plan.window).c_str());
  const auto print_bytes = [](const char* what, int64_t bytes, const std::string& rest) {
    std::printf("%s%lld bytes (%lld MiB)%s\n", what, static_cast<long long>(bytes),
                static_cast<long long>(megabytes(bytes)), rest.c_str());
  };
  const std::string weights = ", of which weights " + std::to_string(megabytes(plan.weights_bytes)) + " MiB";
  print_bytes("peak memory  ", plan.process_bytes, plan.device_bytes > 0 ? "" : weights);
  if (plan.device_bytes > 0) print_bytes("on a device  ", plan.device_bytes, weights);
  if (plan.probability_bytes > 0) {
    print_bytes("on disk      ", 2 * plan.probability_bytes, " for probabilities: half while it runs, half to stay");
  }
  std::printf("until blended, windows wait as %s", name_of(plan.waiting));
  if (plan.scratch_bytes > 0) {
    std::printf(", %lld MiB on disk", static_cast<long long>(megabytes(plan.scratch_bytes)));
  }
  std::printf("\n");
  return 0;
}

}  // namespace sat::cli
