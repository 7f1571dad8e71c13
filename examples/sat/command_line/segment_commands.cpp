// sat segment and sat plan: a network over scans.
#include "examples/sat/command_line/commands.h"
#include "examples/sat/command_line/options.h"

namespace sat::cli {

namespace {

constexpr int kMostPrompts = 100000;

}  // namespace

CLI::App* add_segment(CLI::App& program, SegmentRequest& request) {
  CLI::App* command = program.add_subcommand("segment", "Find structures in scans by name");
  ModelOptions& options = request.model;
  add_words(command, "SCAN", request.scans, "NIfTI files, folders of them, or .jsonl files with one request a line");
  add_prompts(command, request.prompts);
  add_modality(command, request.modality);
  command->add_option("-o,--output", request.output, "where the cases' folders go")->type_name("DIR")->required();
  add_file(command, "--model", options.model, "segmentation model (.safetensors, .pth); default: the shipped one");
  add_file(command, "--config", options.config, "JSON description of a model that has none of its own");
  CLI::Option* bank = add_file(command, "--bank", options.bank, "prompts encoded before (sat bank)");
  CLI::Option* vocabulary = add_file(command, "--vocab", options.vocabulary, "the text encoder's word pieces");
  add_file(command, "--text-model", options.text_model, "text encoder, to encode prompts now")
      ->excludes(bank)
      ->needs(vocabulary);
  command
      ->add_option("--orientation", request.orientation,
                   "axes that the network sees, such as ASR; default: the model's")
      ->type_name("CODE");
  add_geometry(command, request.result.geometry);
  command->add_flag("--strict", request.strict,
                    "refuse a scan that looks wrong (header, values, size)\nin place of warning of it");
  command->add_flag("--model-space", request.result.model_space,
                    "write masks on the network's own grid (resampled and\ncropped), and the image there");
  command->add_flag("--save-probabilities", request.result.probabilities,
                    "also write each structure's probabilities (f32, .nii):\n"
                    "8 bytes a voxel of disk while a case runs, 4 stay");
  command
      ->add_option_function<std::string>(
          "--format", [&request](const std::string& format) { request.result.mask_extension = "." + format; },
          "of masks; default: nii.gz")
      ->type_name("F")
      ->check(CLI::IsMember({"nii.gz", "nii"}));
  command->add_flag_callback(
      "--no-preview", [&request] { request.result.preview = false; }, "no preview.png");
  command->add_flag(
      "--overwrite", request.overwrite,
      "redo what is asked for, also where somebody changed files\nor masks made with other settings would go");
  command->add_flag("--check", request.check,
                    "hold finished cases against the hashes of their files,\nnot only their sizes");
  add_threads(command, request.session.threads);
  add_parsed(command, "--max-ram", request.session.max_ram, parse_bytes,
             "refuse what would need more memory, for example 6G;\n"
             "default: what the machine has or its control group allows")
      ->type_name("BYTES");
  CLI::Option* scratch = command->add_option("--scratch", request.session.scratch,
                                             "where features of many windows and prompts wait on disk\n"
                                             "once memory would pass --max-ram (without it: 6G, or\n"
                                             "less where the machine has less);\n"
                                             "default: the output folder");
  scratch->type_name("DIR");
  command->add_flag("--no-scratch", request.no_scratch, "keep everything in memory")->excludes(scratch);
  add_device(command, request.device, "auto");
  add_cpu(command, options.cpu);
  add_precision(command, options.precision);
  command->add_flag("--verify", request.verify,
                    "compute each scan's middle window in f32 on the CPU too,\nand say what differs");
  command->add_flag("--quiet", request.quiet, "nothing on stderr but errors");
  command->add_flag("--json", request.as_json, "one line of JSON a case on stdout, and nothing else there");
  command->footer(R"(Each case gets a folder DIR/NAME with masks/, a label map (labels.nii.gz) and its legends,
statistics.json, preview.png and manifest.json, all on the scan's own grid. NAME is that of the
scan's file; where that is another scan's already, or several scans of a run share it, a number made
from the scan's path follows.

Finished cases are skipped when the same command is given again, and masks of one scan, model and
settings add up: what was made before stays, and the label map, statistics and preview cover all. A
file that somebody changed since is never written over or removed without --overwrite. A result of
another scan, model or setting is made again, if every mask there is asked for. An interrupted run
leaves no partial case. What looks wrong with a scan is a warning, on the terminal and in
manifest.json, and ends its case with --strict.

A folder stands for the scans in it, not those in folders below; hidden files are passed over, and
a link to nowhere counts as a failed case. A line of a .jsonl file holds image, label, modality,
dataset, and perhaps orientation_code. A relative image is sought beside the file first, then from
the working folder, as SAT's own tool does; where both exist, the one beside the file is taken, with
a warning. Text files may begin with a byte order mark and end their lines in any way.

With --json a failed case's line holds "status": "failed" and "error": {"kind", "message", "file"};
what ends the run is one last line {"error": {...}}. A line that cannot be written stops no case,
but the run ends with status 1.

Examples:
  sat segment ct.nii.gz --prompts "spinal cord,brainstem" --modality ct -o results
  sat segment scans/ --prompts-file organs.txt --modality mri -o results --max-ram 6G --json
  sat segment ct.nii.gz --prompts liver --modality ct --model nano.safetensors \
      --text-model nano-text.safetensors --vocab vocab.txt -o results)");
  return command;
}

CLI::App* add_plan(CLI::App& program, PlanRequest& request) {
  CLI::App* command =
      program.add_subcommand("plan", "Tell the memory and the number of windows of a run before anything is loaded");
  command->add_option("SCAN", request.scan, "NIfTI file; only its header is read")->type_name("");
  add_modality(command, request.modality);
  add_prompts(command, request.prompts);
  command->add_option("--prompts-count", request.prompts_count, "how many prompts, in place of the prompts")
      ->type_name("N")
      ->check(CLI::Range(1, kMostPrompts))
      ->excludes("--prompts")
      ->excludes("--prompts-file");
  CLI::Option* model = add_file(command, "--model", request.model, "segmentation model; default: the shipped one");
  add_file(command, "--config", request.config, "JSON description of a model that has none of its own");
  command
      ->add_option("--architecture", request.architecture,
                   "a published model: UNET, UNET-L, UNET-H, UMamba or SwinUNETR")
      ->type_name("NAME")
      ->excludes(model);
  add_file(command, "--text-model", request.text_model, "the text encoder, where prompts are encoded in the run");
  command->add_option("--orientation", request.orientation, "as for sat segment")->type_name("CODE");
  add_geometry(command, request.geometry);
  command->add_flag("--model-space", request.model_space, "as for sat segment");
  command->add_flag("--save-probabilities", request.probabilities, "as for sat segment: what they take on disk");
  add_parsed(command, "--max-ram", request.max_ram, parse_bytes, "the limit, for example 6G")->type_name("BYTES");
  command->add_flag("--no-scratch", request.no_scratch, "as for sat segment");
  add_device(command, request.device, "auto");
  add_threads(command, request.context.threads);
  add_cpu(command, request.context.cpu);
  add_precision(command, request.context.precision);
  command->add_flag("--kernels", request.kernels, "how each convolution of the model would be computed");
  command->add_flag("--json", request.as_json, "print JSON");
  command->footer(R"(Reads only the headers of the scan and the model. With --max-ram it ends with status 1 when the
run would not fit, naming the figure needed. Without, it says what this process may use: the least of
the machine's memory and the limits of its control groups.

Examples:
  sat plan scan.nii.gz --modality ct --prompts-count 30 --architecture UNET
  sat plan --kernels --architecture UNET --cpu avx2)");
  return command;
}

}  // namespace sat::cli
