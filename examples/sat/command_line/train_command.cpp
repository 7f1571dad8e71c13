// sat train: a network from scans and contours.
#include "examples/sat/command_line/commands.h"
#include "examples/sat/command_line/options.h"

namespace sat::cli {

CLI::App* add_train(CLI::App& program, TrainRequest& request) {
  CLI::App* command = program.add_subcommand("train", "Train a network on scans and contours");
  command->add_option("CONFIG", request.config, "what is trained, on what and how (.json)")->type_name("")->required();
  add_file(command, "-o,--output", request.output, "folder of the run: log, curves, checkpoints")->type_name("FOLDER");
  command->add_flag("--resume", request.resume, "go on after the folder's last checkpoint, where there is one");
  command->add_flag("--explain", request.explain, "print what a run would do, its memory and time; write nothing");
  command->add_option("--max-steps", request.max_steps, "stop after so many steps of the run in all")
      ->type_name("N")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 40));
  command->add_option("--max-hours", request.max_hours, "stop after so many hours")
      ->type_name("H")
      ->check(CLI::Range(0.0, 1e6));
  add_parsed(command, "--max-ram", request.max_ram, parse_bytes,
             "memory that the run may take, such as 16G: stages are\ncomputed again until it fits, or it is refused")
      ->type_name("SIZE");
  command->add_option("--seed", request.seed, "of all that is drawn, in place of the config's")
      ->type_name("N")
      ->check(CLI::Range(int64_t(0), INT64_MAX));
  add_threads(command, request.threads);
  add_cpu(command, request.cpu);
  command->add_flag("--quiet", request.quiet, "no progress");
  command->footer(R"(The folder gets config.json (all keys), log.jsonl (a line a step), curves.png, last.safetensors and
best.safetensors (checkpoints, each written whole or not at all) and at the end model.safetensors and
bank.safetensors, which sat segment takes. A run that was killed and resumed ends in the same bits as
one that was not. SIGTERM and Ctrl-C write a checkpoint first.

docs/training.md lists the keys of CONFIG.

Examples:
  sat train head-and-neck.json --explain
  sat train head-and-neck.json -o run
  sat train head-and-neck.json -o run --resume --max-hours 23.5
  sat segment scan.nii.gz --model run/model.safetensors --bank run/bank.safetensors --modality ct --prompts brainstem -o results)");
  return command;
}

}  // namespace sat::cli
