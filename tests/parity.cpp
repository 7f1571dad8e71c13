// parity DIR...: checks folders of recorded values against this build, whoever recorded them.
// Each folder says in its case.json what it holds. Prints the largest error of each quantity beside its limit; exits
// with 1 when a limit is exceeded and with 2 when a folder cannot be read.
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "sat/cuda/device/device.h"
#include "sat/io/words/json.h"
#include "sat/tensor/context.h"
#include "tests/support/golden.h"
#include "tests/support/parity/ecamp/ecamp_parity.h"
#include "tests/support/parity/evaluation/segmentation_scores_parity.h"
#include "tests/support/parity/heads/probe_parity.h"
#include "tests/support/parity/heads/segmentation_heads_parity.h"
#include "tests/support/parity/image_parity.h"
#include "tests/support/parity/knowledge/knowledge_parity.h"
#include "tests/support/parity/preprocess_parity.h"
#include "tests/support/parity/report_parity.h"
#include "tests/support/parity/sat_parity.h"
#include "tests/support/parity/text_parity.h"
#include "tests/support/parity/training/augment_parity.h"
#include "tests/support/parity/training/training_parity.h"
#include "tests/support/parity/vit_parity.h"

namespace sat::test {

namespace {

std::vector<ParityLine> compare(const std::string& folder) {
  const std::string path = folder + "/case.json";
  const std::string kind = Json::parse(read_text(path), path)["kind"].string();
  if (kind == "sat-augment") return compare_augmentation(folder);
  if (kind == "sat") {
    std::vector<ParityLine> lines = compare_network(folder);
    const Json* training = Json::parse(read_text(path), path).find("training");
    if (training && training->boolean()) {
      for (ParityLine& line : compare_training_step(folder)) lines.push_back(std::move(line));
    }
    return lines;
  }
  if (kind == "end-to-end") return compare_end_to_end(folder);
  if (kind == "trained") return compare_trained(folder);
  if (kind == "text") return compare_text(folder);
  if (kind == "rad-dino-encoder") return compare_vit(folder);
  if (kind == "rad-dino-preprocess") return compare_rad_dino_preprocess(folder);
  if (kind == "rad-dino-heads") {
    std::vector<ParityLine> lines = compare_probe(folder);
    for (ParityLine& line : compare_segmentation_heads(folder)) lines.push_back(std::move(line));
    return lines;
  }
  if (kind == "sat-metrics") return compare_segmentation_scores(folder);
  if (kind == "sat-pretrain") return compare_knowledge_training(folder);
  if (kind == "sat-pretrain-sampler") return compare_knowledge_sampler(folder);
  if (kind == "ecamp-masking") return compare_report_masking(folder);
  if (kind == "ecamp-pretrain") return compare_ecamp_pretraining(folder);
  if (kind == "ecamp-classification") return compare_ecamp_classification(folder);
  if (kind == "ecamp-segmentation") return compare_ecamp_segmentation(folder);
  if (kind == "ecamp-detection") return compare_ecamp_detection(folder);
  SAT_CHECK(kind == "preprocess", path, ": unknown kind '", kind,
            "'; known are sat, sat-augment, end-to-end, trained, text, "
            "rad-dino-encoder, rad-dino-heads, rad-dino-preprocess, ecamp-masking, ecamp-pretrain, "
            "ecamp-classification, ecamp-segmentation, ecamp-detection, sat-metrics, sat-pretrain, "
            "sat-pretrain-sampler, preprocess");
  std::vector<ParityLine> all;
  const Json records = Json::parse(read_text(folder + "/values.json"), folder);
  for (const Json& record : records.items()) {
    const Json* code = record.find("orientation_code");
    for (ParityLine& line : compare_preprocess(folder, record)) {
      line.quantity = record["case"].string() + (code ? " " + code->string() : "") + ": " + line.quantity;
      all.push_back(std::move(line));
    }
  }
  return all;
}

int run(const std::vector<std::string>& folders) {
  int exceeded = 0;
  for (const std::string& folder : folders) {
    std::printf("%s\n", folder.c_str());
    std::fflush(stdout);
    for (const ParityLine& line : compare(folder)) {
      std::printf("  %-52s %10.3g  limit %8.3g  %s\n", line.quantity.c_str(), line.error, line.limit,
                  line.passed() ? "ok" : "EXCEEDED");
      exceeded += line.passed() ? 0 : 1;
    }
  }
  std::printf("%d limits exceeded\n", exceeded);
  return exceeded == 0 ? 0 : 1;
}

}  // namespace

}  // namespace sat::test

int main(int argc, char** argv) {
  std::vector<std::string> folders(argv + 1, argv + argc);
  sat::ContextOptions options;
  try {
    sat::cuda::DeviceOptions device;
    bool on_device = false;
    while (folders.size() >= 2 && folders[0].rfind("--", 0) == 0) {
      const std::string option = folders[0], value = folders[1];
      if (option == "--cpu") {
        options.cpu = sat::parse_cpu_level(value);
      } else if (option == "--precision") {
        options.precision = sat::parse_precision(value);
      } else if (option == "--device") {
        device.index = sat::cuda::parse_device(value);
        on_device = device.index >= 0;
      } else if (option == "--conv") {
        device.conv = value;
      } else {
        folders.clear();
        break;
      }
      folders.erase(folders.begin(), folders.begin() + 2);
    }
    if (folders.empty()) {
      std::fprintf(stderr, "usage: parity [--cpu LEVEL] [--precision P] [--device D [--conv VARIANT]] DIR...\n");
      return 2;
    }
    if (on_device) options.device = sat::cuda::open_device(device);
    sat::Context context(options);
    sat::UseContext use(context);
    return sat::test::run(folders);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "parity: %s\n", error.what());
    return 2;
  }
}
