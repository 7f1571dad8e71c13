// sat bench: our own stages and kernels by name, each against the roof measured in the same run.
#include <unistd.h>

#include "examples/sat/bench/bench_report.h"
#include "examples/sat/bench/bench_select.h"
#include "examples/sat/command_line/command_line.h"
#include "examples/sat/interrupt.h"
#include "examples/sat/output/output.h"
#include "examples/sat/output/progress.h"
#include "sat/io/files/file.h"
#include "sat/io/pictures/png.h"

namespace sat::cli {

namespace {

/// JSON to the file that was asked for, or to stdout in place of the text.
void give(const BenchRequest& request, const Json& json, const std::string& text) {
  const std::string dumped = json.dump(2) + "\n";
  print(request.json == "-" ? dumped : text);
  if (request.json.empty() || request.json == "-") return;
  failing_as(FailureKind::output, [&] { write_file_atomically(request.json, dumped); });
}

BenchReport measured(const BenchSettings& settings, const std::vector<BenchJob>& jobs) {
  BenchRunner runner(settings);
  BenchReport report;
  ProgressView view(isatty(STDERR_FILENO) == 0);
  for (size_t i = 0; i < jobs.size(); ++i) {
    view.start("bench " + std::to_string(i + 1) + " of " + std::to_string(jobs.size()));
    view.stage(case_name(jobs[i].operation, jobs[i].sizes));
    runner.run(jobs[i]);
  }
  report.processor = processor_name();
  report.device = runner.device();
  report.threads = runner.threads();
  report.cpu = settings.cpu;
  report.roofs = runner.roofs();
  report.results = runner.results();
  return report;
}

}  // namespace

int run(const BenchRequest& asked) {
  BenchRequest request = asked;
  const auto& device = request.settings.device =
      failing_as(FailureKind::device, [&] { return only_device(request.device); });
  const FailureKind kind = device ? FailureKind::device : FailureKind::input;
  const std::vector<BenchOperation> operations =
      failing_as(kind, [&] { return device ? device_operations(*device) : bench_operations(); });
  if (request.list) {
    give(request, json_of(operations), list_of(operations));
    return kDone;
  }
  const BenchSelection selection = select_jobs(request, operations);
  for (const std::string& refused : selection.refused) say("sat: left out: " + refused);
  const BenchReport report = failing_as(kind, [&] { return measured(request.settings, selection.jobs); });
  watch_for_interrupts();  // files are written whole
  if (!request.chart.empty()) {
    failing_as(FailureKind::output, [&] { write_png(request.chart, draw(chart_of(report))); });
  }
  give(request, json_of(report), table_of(report));
  return kDone;
}

}  // namespace sat::cli
