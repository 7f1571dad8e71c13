// What a user can ask of the program: one plain struct a subcommand, filled from the command line.
// Knows how requests are spelled, not how they are carried out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "examples/sat/bench/bench_run.h"
#include "examples/sat/devices.h"
#include "examples/sat/evaluate/evaluate_request.h"
#include "examples/sat/images/load_image.h"
#include "examples/sat/output/failure.h"
#include "examples/sat/probe/probe_request.h"
#include "examples/sat/segment/case_result.h"
#include "examples/sat/train/train_request.h"
#include "sat/io/checkpoints/checkpoint.h"
#include "sat/nn/image/image_model.h"
#include "sat/nn/run/session.h"
#include "sat/nn/text/text_encoder.h"

namespace sat::cli {

/// Names of structures: a list with commas, or a file with one a line; both empty when none are given.
struct PromptChoice {
  std::string list, file;
};

struct SegmentRequest {
  std::vector<std::string> scans;
  PromptChoice prompts;
  std::string modality, orientation, output;
  ModelOptions model;
  SessionOptions session;
  DeviceChoice device;
  ResultOptions result;
  bool overwrite = false, check = false, strict = false, verify = false;
  bool quiet = false, as_json = false, no_scratch = false;
};

struct PlanRequest {
  std::string scan;
  PromptChoice prompts;
  int64_t prompts_count = 0;  // 0: as many as `prompts` holds
  std::string modality, orientation, model, config, architecture, text_model;
  bool model_space = false, probabilities = false, as_json = false, no_scratch = false, kernels = false;
  int64_t max_ram = 0;  // bytes; 0: no limit
  NiftiForm geometry = NiftiForm::automatic;
  DeviceChoice device;
  ContextOptions context;
};

struct PromptsRequest {
  enum class Action : uint8_t { list, search, check };
  Action action = Action::list;
  std::vector<std::string> words;  // to search for
  PromptChoice prompts;            // to check
  std::string modality;
  bool as_json = false;
};

struct BankRequest {
  std::string text_model, vocabulary, pair_with, config, output;
  std::string card, from;  // a card's JSON file; a bank to take all else from
  PromptChoice prompts;
  int threads = 0;
  CpuLevel cpu = best_cpu_level();
};

struct ConvertRequest {
  std::vector<std::string> files;  // to read, and last the one to write
  DType dtype = DType::f32;
  std::string config, pair_with, text_config;
  std::optional<TextKind> text_kind;
  bool training_heads = false, native = false;
  CheckpointLimits limits;
};

struct InspectRequest {
  std::string file, config;
  bool all = false, as_json = false;
  CheckpointLimits limits;
};

struct BenchRequest {
  std::vector<std::string> operations, variants;  // by name; none: the standard set, and every variant that is not slow
  std::vector<int64_t> channels, size;            // in place of the cases' own
  BenchSettings settings;
  DeviceChoice device{"cpu"};
  std::string json, chart;  // files to write; JSON may go to "-", which is stdout
  bool list = false;
};

/// What every command on radiographs is told of the model, of reading images, and of where it computes.
struct ImageModelChoice {
  ImageModelOptions model;
  ImageOptions reading;
  DeviceChoice device;
  int64_t size = 0;  // of the square input; 0: what the model was made for
  int64_t batch = 4;
};

struct EncodeRequest {
  std::vector<std::string> images;
  ImageModelChoice with;
  EncodeOptions options;
  std::string output, components;  // features; a picture of their principal components
  bool overwrite = false, quiet = false, as_json = false;
};

struct ClassifyRequest {
  std::vector<std::string> images, labels;  // labels: names of ECAMP's classes
  ImageModelChoice with;
  std::string probe, output;  // output: a table; empty: stdout
  bool one_class = false, quiet = false, as_json = false;
};

struct Segment2dRequest {
  std::vector<std::string> images, labels;
  ImageModelChoice with;
  std::string output;
  bool each = false, overwrite = false, quiet = false, as_json = false;
};

struct DetectRequest {
  std::vector<std::string> images, labels;
  ImageModelChoice with;
  std::string output, pictures;  // a table (empty: stdout); a folder
  double confidence = 0.5, overlap = 0.5;
  bool quiet = false, as_json = false;
};

struct NearestRequest {
  std::vector<std::string> queries;
  std::string in, folder, output;  // features or a folder; where the images of features lie; a sheet of pictures
  ImageModelChoice with;
  int64_t count = 5;
  bool quiet = false, as_json = false;
};

/// Not a request, but an answer: help or the version. `wanted` is false when it is shown for want of a command.
struct Page {
  std::string text;
  bool wanted = true;
};

using Request = std::variant<SegmentRequest, PlanRequest, PromptsRequest, BankRequest, ConvertRequest, InspectRequest,
                             BenchRequest, ProbeRequest, EncodeRequest, ClassifyRequest, Segment2dRequest,
                             DetectRequest, NearestRequest, EvaluateRequest, TrainRequest, Page>;

/// Reads what main() was given. Throws UsageError with one sentence that says what is wrong, and with the nearest name
/// for a misspelt option or command.
Request read_command_line(int count, const char* const* words);

/// Do these words ask for JSON on stdout? Answered before they are parsed, since their own errors are then JSON too.
bool wants_json(int count, const char* const* words);

/// The files and folders that a request names.
std::vector<std::string> paths_of(const Request& request);

// Each carries out one request, in the file of that name, and returns the exit status.
int run(const SegmentRequest& request);
int run(const PlanRequest& request);
int run(const PromptsRequest& request);
int run(const BankRequest& request);
int run(const ConvertRequest& request);
int run(const InspectRequest& request);
int run(const BenchRequest& request);
int run(const ProbeRequest& request);
int run(const EncodeRequest& request);
int run(const ClassifyRequest& request);
int run(const Segment2dRequest& request);
int run(const DetectRequest& request);
int run(const NearestRequest& request);
int run(const EvaluateRequest& request);
int run(const TrainRequest& request);

}  // namespace sat::cli
