// One function a command: it adds the command, with options that fill the request, and its help.
#pragma once

#include "examples/sat/command_line/command_line.h"

namespace CLI {
class App;
}

namespace sat::cli {

CLI::App* add_segment(CLI::App& program, SegmentRequest& request);
CLI::App* add_plan(CLI::App& program, PlanRequest& request);
CLI::App* add_prompts_command(CLI::App& program, PromptsRequest& request);
CLI::App* add_bank(CLI::App& program, BankRequest& request);
CLI::App* add_convert(CLI::App& program, ConvertRequest& request);
CLI::App* add_inspect(CLI::App& program, InspectRequest& request);
CLI::App* add_encode(CLI::App& program, EncodeRequest& request);
CLI::App* add_classify(CLI::App& program, ClassifyRequest& request);
CLI::App* add_segment2d(CLI::App& program, Segment2dRequest& request);
CLI::App* add_detect(CLI::App& program, DetectRequest& request);
CLI::App* add_nearest(CLI::App& program, NearestRequest& request);
CLI::App* add_bench(CLI::App& program, BenchRequest& request);
CLI::App* add_probe(CLI::App& program, ProbeRequest& request);
CLI::App* add_evaluate(CLI::App& program, EvaluateRequest& request);
CLI::App* add_train(CLI::App& program, TrainRequest& request);

}  // namespace sat::cli
