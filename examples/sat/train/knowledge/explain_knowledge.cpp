// sat train --explain of task knowledge: what would be trained and drawn, and a step that is really taken.
#include <cstdio>
#include <map>

#include "examples/sat/command_line/command_line.h"
#include "examples/sat/output/output.h"
#include "examples/sat/train/knowledge/knowledge_run.h"
#include "sat/io/words/text.h"
#include "sat/tensor/memory/memory.h"
#include "sat/tensor/profile.h"

namespace sat::cli {

namespace {

void row(const char* name, const std::string& text) {
  char start[32];
  std::snprintf(start, sizeof start, "%-14s", name);
  print_line(start + text);
}

}  // namespace

int explain_knowledge(const TrainConfig& config, const TrainRequest& request, ProgressView& view) {
  const KnowledgePart& part = *config.knowledge;
  KnowledgeRun run(config, request.output.empty() ? "." : request.output, view);
  row("text encoder", run.start().source + ", kind " + name_of(run.start().text.kind));
  for (const std::string& name : run.start().drawn) row("", name + " starts from random values");
  int64_t learnt = 0, frozen = 0;
  for (const auto& [name, parameter] : run.task().parameters()) {
    (run.knowledge().learns(name) ? learnt : frozen) += parameter.numel();
  }
  row("parameters", std::to_string(learnt) + " learn, " + std::to_string(frozen) + " keep their values");
  for (size_t s = 0; s < run.pairs().sources().size(); ++s) {
    const KnowledgeSource& source = run.pairs().sources()[s];
    row(s == 0 ? "pairs" : "", source.name + ": " + std::to_string(source.items.size()) + " statements, " +
                                   significant(100 * run.pairs().share(s), 3) + " % of the pairs");
  }
  row("step", (part.scans ? std::to_string(part.scans->crops) + " crops, then " : "") + std::to_string(part.pairs) +
                  " pairs" + (config.accumulation > 1 ? ", " + std::to_string(config.accumulation) + " times" : ""));
  profile::Stopwatch watch;
  for (int64_t update = 0; update < run.task().updates(); ++update) {
    BatchReport report;
    run.task().gradients({1, update, 0}, report);
  }
  const double seconds = watch.lap() * double(config.accumulation);
  const int64_t steps = RateSchedule(config.stages).steps();
  row("memory", std::to_string(Context::current().memory()->peak_bytes() >> 20) + " MiB in a step, without moments");
  row("time", significant(seconds, 3) + " s a step, " + significant(seconds * double(steps) / 3600, 3) + " h for " +
                  std::to_string(steps) + " steps, beside validation");
  return kDone;
}

}  // namespace sat::cli
