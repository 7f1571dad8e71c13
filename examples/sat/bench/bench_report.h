// What `sat bench` shows: a table, JSON, a chart, and the list of what it can measure.
// Formats figures; bench_run.h takes them.
#pragma once

#include <string>
#include <vector>

#include "examples/sat/bench/bench_run.h"
#include "examples/sat/output/bar_chart.h"
#include "sat/io/words/json.h"

namespace sat::cli {

/// A whole run and where it took place.
struct BenchReport {
  std::string processor;  // as the system names it, or ""
  std::string device;     // "cuda:0 (NVIDIA H100 80GB HBM3)", or "" for the processor
  int threads = 0;
  CpuLevel cpu = CpuLevel::plain;  // of --cpu, and of the roofs
  Roofs roofs;
  std::vector<BenchResult> results;
};

/// "AMD EPYC 9B14"; "" where the system does not tell.
std::string processor_name();

std::string table_of(const BenchReport& report);
Json json_of(const BenchReport& report);
BarChart chart_of(const BenchReport& report);

std::string list_of(const std::vector<BenchOperation>& operations);
Json json_of(const std::vector<BenchOperation>& operations);

}  // namespace sat::cli
