// What `sat evaluate` is asked for.
// Knows how it is spelled, not how it is carried out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "examples/sat/devices.h"
#include "sat/nn/run/session.h"
#include "sat/tensor/context.h"

namespace sat::cli {

struct EvaluateRequest {
  enum class Part : uint8_t { all, training, validation };
  enum class OnError : uint8_t { skip, stop };

  std::vector<std::string> paths;  // predictions and labels; labels alone with a model; two tables to compare
  std::string output, regions;
  std::vector<std::string> structures;  // none: all that are labelled
  Part part = Part::all;
  OnError on_error = OnError::skip;
  double tolerance_mm = 1;  // of NSD in the scan's own space
  int64_t samples = 1000;   // of the bootstrap
  uint64_t seed = 0;
  bool quiet = false, chart = true;
  int threads = 0;
  CpuLevel cpu = best_cpu_level();

  // Where a model makes the predictions.
  bool shipped_model = false;
  bool by_model() const { return shipped_model || !model.model.empty(); }
  ModelOptions model;
  SessionOptions session;
  DeviceChoice device;
  bool keep_masks = false;

  // To compare.
  bool compare = false;
  std::vector<std::string> scores;  // columns; none: Dice and NSD in both spaces
  std::string json;                 // a file to write; "-" is stdout, in place of the table
};

}  // namespace sat::cli
