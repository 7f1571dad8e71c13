// sat plan: what a run will take, from headers alone.
#include <cstdio>

#include "examples/sat/command.h"
#include "examples/sat/prompt_vocabulary.h"
#include "examples/sat/shipped.h"
#include "sat/io/json.h"
#include "sat/io/nifti.h"
#include "sat/nn/model_file.h"
#include "sat/nn/segmenter.h"

namespace sat::cli {

namespace {

SatConfig config_of(const Arguments& arguments) {
  arguments.at_most_one_of({"--model", "--architecture"});
  if (arguments.has("--architecture")) return published_config(arguments.value("--architecture"));
  const std::string model = arguments.value("--model", find_shipped(kDefaultModel));
  if (model.empty()) throw UsageError("no model lies beside the program; name one with --model");
  return open_model_file(model, arguments.value("--config")).config;
}

Json sizes(const std::array<int64_t, 3>& size) { return Json::array({size[0], size[1], size[2]}); }

std::string times(const std::array<int64_t, 3>& size) {
  return std::to_string(size[0]) + " x " + std::to_string(size[1]) + " x " + std::to_string(size[2]);
}

int run(const Arguments& arguments) {
  if (arguments.words().size() != 1) throw UsageError("plan needs one scan");
  arguments.at_most_one_of({"--prompts", "--prompts-file", "--prompts-count"});
  int64_t prompts = arguments.integer("--prompts-count", 0, 1, 100000);
  if (prompts == 0) prompts = int64_t(prompts_of(arguments).size());
  if (prompts == 0) throw UsageError("plan needs --prompts-count, --prompts or --prompts-file");
  RunOptions options;
  options.modality = arguments.needed("--modality");
  options.orientation = arguments.value("--orientation");
  options.space = arguments.has("--model-space") ? Space::model : Space::scan;
  const int64_t max_ram = arguments.bytes("--max-ram");

  const SatConfig config = config_of(arguments);
  const NiftiHeader scan = read_nifti_header(arguments.words()[0]);
  const SegmentationPlan plan = plan_segmentation(config, scan.geometry, options, prompts, max_ram);
  if (arguments.has("--json")) {
    Json json = Json::object();
    json.set("peak_bytes", plan.process_bytes).set("tensor_bytes", plan.tensor_bytes);
    json.set("weights_bytes", plan.weights_bytes).set("windows", plan.windows).set("window", sizes(plan.window));
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
  return 0;
}

}  // namespace

Command plan_command() {
  return {"plan",
          "tell the memory and the number of windows of a run before anything is loaded",
          "SCAN --modality M (--prompts-count N | --prompts LIST | --prompts-file F) [--model MODEL] [--max-ram 6G]",
          "Reads only the headers of the scan and the model. With --max-ram it ends with status 1 when the run would "
          "not fit, naming the figure needed.",
          {{"--modality", "M", "ct, mri, pet or us"},
           {"--prompts-count", "N", "how many prompts"},
           {"--prompts", "LIST", "or the prompts themselves, separated by commas"},
           {"--prompts-file", "FILE", "or one a line"},
           {"--model", "FILE", "segmentation model (default: the shipped one)"},
           {"--config", "FILE", "JSON description of a model that has none of its own"},
           {"--architecture", "NAME", "a published model in place of a file: UNET, UNET-L or UNET-H"},
           {"--orientation", "CODE", "as for sat segment"},
           {"--model-space", "", "as for sat segment"},
           {"--max-ram", "BYTES", "the limit, for example 6G"},
           {"--json", "", "print JSON"}},
          "  sat plan scan.nii.gz --modality ct --prompts-count 30 --architecture UNET\n",
          run};
}

}  // namespace sat::cli
