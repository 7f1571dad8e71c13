// sat plan: what a run will take, from headers alone.
#include <cstdio>

#include "examples/sat/command_line/command_line.h"
#include "examples/sat/memory_limits.h"
#include "examples/sat/output/output.h"
#include "examples/sat/shipped.h"
#include "examples/sat/tools/prompt_vocabulary.h"
#include "sat/io/nifti/nifti.h"
#include "sat/io/words/json.h"
#include "sat/nn/run/session.h"
#include "sat/nn/sat/backbones/unet3d.h"
#include "sat/nn/sat/model_file.h"
#include "sat/nn/text/text_file.h"
#include "sat/tensor/memory/machine.h"
#include "sat/tensor/parallel.h"

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

template <class... Values>
void print_row(const char* format, Values... values) {
  char row[256];
  std::snprintf(row, sizeof row, format, values...);
  print_line(row);
}

void print_kernels(const SatConfig& config, const PlanRequest& request) {
  Json rows = Json::array();
  if (!request.as_json) {
    print_row("%-12s %12s  %-15s %-7s %-17s %9s %8s %10s", "layer", "channels", "usual grid", "stride", "method",
              "saved", "error", "weights");
  }
  for (const BackboneLayer& planned : backbone_layers(config)) {
    const ConvSite& site = planned.site;
    const ConvChoice& choice = planned.choice;
    const auto weight_bytes = int64_t(choice.weight_bytes);
    if (request.as_json) {
      rows.push(Json::object()
                    .set("layer", planned.name)
                    .set("in", planned.channels.in)
                    .set("out", planned.channels.out)
                    .set("grid", sizes(site.grid))
                    .set("stride", site.stride)
                    .set("method", choice.variant)
                    .set("held_as", name_of(choice.store))
                    .set("multiplications_saved", choice.savings)
                    .set("error_bound", choice.error)
                    .set("error_allowed", request.context.precision == Precision::fast ? 1e-2 : site.most_error)
                    .set("weight_bytes", weight_bytes));
      continue;
    }
    const std::string channels = std::to_string(planned.channels.in) + " -> " + std::to_string(planned.channels.out);
    print_row("%-12s %12s  %-15s %-7lld %-17s %8.1fx %8.0e %6lld MiB", planned.name.c_str(), channels.c_str(),
              times(site.grid).c_str(), static_cast<long long>(site.stride), choice.variant.c_str(), choice.savings,
              choice.error, static_cast<long long>(megabytes(weight_bytes)));
  }
  if (request.as_json) print(rows.dump(2) + "\n");
}

std::string in_bytes(int64_t bytes) {
  return std::to_string(bytes) + " bytes (" + std::to_string(megabytes(bytes)) + " MiB)";
}

void print_plan(const SegmentationPlan& plan, const SatConfig& config, const NiftiHeader& scan, int threads) {
  print_line("model        " + config.architecture);
  print_line("scan         " + times(scan.geometry.size) + " voxels, " +
             (scan.orientation_known ? orientation_code(scan.geometry.voxel_to_world_mm) : "orientation unknown"));
  print_line("resampled    " + times(plan.grid) + " voxels, before cropping");
  print_line("windows      at most " + std::to_string(plan.windows) + " of " + times(plan.window));
  print_line("threads      " + std::to_string(threads));
  const std::string weights = ", of which weights " + std::to_string(megabytes(plan.weights_bytes)) + " MiB";
  print_line("peak memory  " + in_bytes(plan.process_bytes) + (plan.device_bytes > 0 ? "" : weights));
  if (plan.device_bytes > 0) print_line("on a device  " + in_bytes(plan.device_bytes) + weights);
  if (plan.probability_bytes > 0) {
    print_line("on disk      " + in_bytes(2 * plan.probability_bytes) +
               " for probabilities: half while it runs, half to stay");
  }
  const MemoryLimit limit = memory_limit();
  if (limit.bytes > 0) {
    print_line("memory here  " + in_bytes(limit.bytes) + ", " + limit.source +
               (plan.process_bytes > limit.bytes ? ": too little, sat segment would refuse this run" : ""));
  }
  const std::string on_disk =
      plan.scratch_bytes > 0 ? ", " + std::to_string(megabytes(plan.scratch_bytes)) + " MiB on disk" : "";
  print_line(std::string("until blended, windows wait as ") + name_of(plan.waiting) + on_disk);
}

Json plan_json(const SegmentationPlan& plan, const NiftiHeader& scan, int64_t prompts, int threads) {
  Json json = Json::object();
  json.set("peak_bytes", plan.process_bytes).set("tensor_bytes", plan.tensor_bytes);
  json.set("weights_bytes", plan.weights_bytes).set("keeps", name_of(plan.waiting));
  json.set("scratch_bytes", plan.scratch_bytes).set("probability_bytes", plan.probability_bytes);
  json.set("windows", plan.windows).set("window", sizes(plan.window));
  if (plan.device_bytes > 0) json.set("device_bytes", plan.device_bytes);
  json.set("scan", sizes(scan.geometry.size)).set("resampled", sizes(plan.grid)).set("prompts", prompts);
  Json warnings = Json::array();
  for (const std::string& warning : scan.warnings) warnings.push(warning);
  json.set("threads", threads).set("warnings", std::move(warnings));
  const MemoryLimit limit = memory_limit();
  if (limit.bytes > 0) json.set("memory_limit_bytes", limit.bytes).set("memory_limit_from", limit.source);
  return json;
}

}  // namespace

int run(const PlanRequest& request) {
  ContextOptions options_of_context = request.context;
  options_of_context.device = virtual_device(request.device);
  Context context(options_of_context);
  UseContext use(context);
  if (request.kernels) {
    print_kernels(config_of(request), request);
    return kDone;
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
  const NiftiHeader scan = read_nifti_header(request.scan, {request.geometry});
  PlanLimits limits;
  limits.max_ram = request.max_ram;
  limits.spill_above = spill_above();
  limits.may_spill = !request.no_scratch;
  if (!request.text_model.empty()) {
    const TextFile text = open_text_file({request.text_model});
    limits.text_bytes = TextEncoder::planned_bytes(text.weights, text.config);
  }
  const SegmentationPlan plan = plan_segmentation(config, scan.geometry, options, prompts, limits);
  const int threads = context.threads().size();
  if (request.as_json) {
    print(plan_json(plan, scan, prompts, threads).dump(2) + "\n");
  } else {
    for (const std::string& warning : scan.warnings) say("warning: " + warning);
    print_plan(plan, config, scan, threads);
  }
  return kDone;
}

}  // namespace sat::cli
