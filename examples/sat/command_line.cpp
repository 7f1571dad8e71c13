// Every subcommand, option and help text of the program. The only file that sees CLI11.
#include "examples/sat/command_line.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <CLI/Validators.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <sstream>

#include "examples/sat/tools/nearest.h"
#include "sat/io/files/file.h"
#include "sat/io/words/modality.h"
#include "sat/tensor/context.h"

namespace sat::cli {

namespace {

constexpr int kMostThreads = 1024, kMostPrompts = 100000, kMostRounds = 1000;
constexpr int64_t kMostLength = 65536;  // of a benchmark along one axis

/// "6G", "500M", "1.5G", "4096"
int64_t parse_bytes(const std::string& text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string unit = CLI::detail::to_lower({end, text.data() + text.size()});
  double scale = 0;
  if (unit.empty() || unit == "b") scale = 1;
  if (unit == "k" || unit == "kb" || unit == "kib") scale = 1 << 10;
  if (unit == "m" || unit == "mb" || unit == "mib") scale = 1 << 20;
  if (unit == "g" || unit == "gb" || unit == "gib") scale = 1 << 30;
  const double total = number * scale;
  SAT_CHECK(error == std::errc() && std::isfinite(total) && total >= 1 && total <= 0x1p62, "'", text,
            "' is not an amount of memory such as 6G or 500M");
  return int64_t(total);
}

DType parse_dtype(const std::string& name) {
  for (DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    if (name == name_of(dtype)) return dtype;
  }
  fail("'", name, "' is not f32, bf16 or f16");
}

std::vector<std::string> parse_list(const std::string& text) {
  std::vector<std::string> names = CLI::detail::split(text, ',');
  for (const std::string& name : names) SAT_CHECK(!name.empty(), "an empty name in '", text, "'");
  return names;
}

/// "96x96x96", "64,64"
std::vector<int64_t> parse_lengths(const std::string& text, char separator) {
  std::vector<int64_t> lengths;
  for (const std::string& part : CLI::detail::split(text, separator)) {
    int64_t length = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), length);
    SAT_CHECK(error == std::errc() && end == part.data() + part.size() && length >= 1 && length <= kMostLength, "'",
              text, "' is not numbers from 1 to ", kMostLength, " with '", separator, "' between them");
    lengths.push_back(length);
  }
  return lengths;
}

/// An option whose value `parse` reads; what it throws is wrong usage.
template <class T, class Parse>
CLI::Option* add_parsed(CLI::App* command, const std::string& name, T& value, Parse parse, const std::string& help) {
  const auto read = [name, parse, &value](const std::string& text) {
    try {
      value = parse(text);
    } catch (const Error& error) {
      throw CLI::ValidationError(name, error.what());
    }
  };
  return command->add_option_function<std::string>(name, read, help);
}

CLI::Option* add_file(CLI::App* command, const std::string& name, std::string& path, const std::string& help) {
  return command->add_option(name, path, help)->type_name("FILE");
}

/// Words that belong to no option, at least one.
CLI::Option* add_words(CLI::App* command, const std::string& name, std::vector<std::string>& words,
                       const std::string& help) {
  return command->add_option(name, words, help)->type_name("")->required();
}

void add_prompts(CLI::App* command, PromptChoice& prompts) {
  CLI::Option* list = command->add_option("--prompts", prompts.list,
                                          "names of structures, separated by commas;\n"
                                          "a name with a comma in double quotes");
  list->type_name("LIST");
  add_file(command, "--prompts-file", prompts.file, "names of structures, one a line")->excludes(list);
}

DType parse_half(const std::string& name) {
  for (DType type : {DType::f16, DType::bf16}) {
    if (name == name_of(type)) return type;
  }
  fail("unknown half type '", name, "'; it is one of f16, bf16");
}

void add_geometry(CLI::App* command, NiftiForm& geometry) {
  add_parsed(command, "--geometry", geometry, parse_nifti_form,
             "which part of the header says where voxels lie: sform,\nqform or pixdim; default: auto (docs/scans.md)")
      ->type_name("FORM");
}

void add_modality(CLI::App* command, std::string& modality) {
  const auto meaning = [](const std::string& word) { return std::string(name_of(parse_modality(word))); };
  add_parsed(command, "--modality", modality, meaning,
             "what made the scan: ct, mri (also mr, t1, t2, flair, dwi,\nadc, swi and the like), pet or us")
      ->type_name("M");
}

void add_threads(CLI::App* command, int& threads) {
  command
      ->add_option("--threads", threads,
                   "default: 0, as many processors as this process may use\n(affinity, control groups)")
      ->type_name("N")
      ->check(CLI::Range(0, kMostThreads));
}

void add_cpu(CLI::App* command, CpuLevel& cpu) {
  add_parsed(command, "--cpu", cpu, parse_cpu_level, "plain, avx2, avx512 or amx; default: the best of this processor")
      ->type_name("LEVEL");
}

void add_precision(CLI::App* command, Precision& precision) {
  add_parsed(
      command, "--precision", precision, parse_precision,
      "exact (default): as f32; fast: the largest features held in\nf16, and bf16 matrix units where there are some")
      ->type_name("P");
}

void add_half(CLI::App* command, DType& half) {
  add_parsed(command, "--half", half, parse_half,
             "how fast precision holds features on a device: f16\n"
             "(default) or bf16")
      ->type_name("TYPE");
}

std::string parse_conv(const std::string& name) {
  constexpr const char* kVariants[] = {"automatic", "plain", "tiled", "mma", "composed", "wgmma", "cudnn"};
  std::string known;
  for (const char* variant : kVariants) {
    if (name == variant) return name;
    known += (known.empty() ? "" : ", ") + std::string(variant);
  }
  fail("unknown convolution '", name, "'; it is one of ", known);
}

/// Where it computes. Devices hold what `fast` rounds in one of two half types.
void add_device(CLI::App* command, DeviceChoice& device, const char* fallback) {
  command
      ->add_option("--device", device.names,
                   std::string("cpu, cuda, cuda:1, auto, or several devices with commas,\nwhich share the cases; "
                               "default: ") +
                       fallback)
      ->type_name("D");
  add_parsed(command, "--max-vram", device.max_vram, parse_bytes,
             "refuse what would need more memory on a device, for\nexample 8G; default: what is free there")
      ->type_name("BYTES");
  add_half(command, device.half);
  add_parsed(command, "--conv", device.conv, parse_conv,
             "how a device convolves: automatic (default), which takes\nwgmma on sm_90 if it passes its self-test; "
             "composed, the\nsame without wgmma; plain, tiled, mma, wgmma or cudnn")
      ->type_name("VARIANT");
}

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
  command->add_option("--architecture", request.architecture, "a published model: UNET, UNET-L or UNET-H")
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

CLI::App* add_prompts_command(CLI::App& program, PromptsRequest& request) {
  CLI::App* command = program.add_subcommand("prompts", "List, search and check the names that SAT knows");
  command->require_subcommand(1);
  command->footer(R"(SAT was trained on 451 names of structures, each labelled in scans of certain modalities. Other
words may work where the text encoder knows them, but nobody has measured how well. check ends
with status 1 when a prompt is unknown or was never labelled in the modality.

Examples:
  sat prompts list --modality mri
  sat prompts search kidny
  sat prompts check --prompts "liver,left kidnei" --modality ct)");

  using Action = PromptsRequest::Action;
  const auto add = [&](const char* name, const char* help, Action action) {
    CLI::App* part = command->add_subcommand(name, help);
    part->callback([&request, action] { request.action = action; });
    add_modality(part, request.modality);
    if (action != Action::check) part->add_flag("--json", request.as_json, "print JSON");
    return part;
  };
  add("list", "All names, or those of one modality", Action::list);
  CLI::App* search = add("search", "The names most like some words", Action::search);
  add_words(search, "WORD", request.words, "words to look for, in any order");
  add_prompts(add("check", "Judge prompts by the names", Action::check), request.prompts);
  return command;
}

CLI::App* add_bank(CLI::App& program, BankRequest& request) {
  CLI::App* command =
      program.add_subcommand("bank", "Encode prompts once, so that segmentation runs without the text encoder");
  CLI::Option* text_model = add_file(command, "--text-model", request.text_model, "the text encoder");
  add_file(command, "--vocab", request.vocabulary, "its word pieces (vocab.txt)");
  add_prompts(command, request.prompts);
  add_file(command, "--from", request.from, "a bank to take over as it is, in place of encoding")->excludes(text_model);
  add_file(command, "--card", request.card, "JSON that says which scans the model is for (below)");
  add_file(command, "--pair-with", request.pair_with, "record the segmentation model that the bank belongs to");
  add_file(command, "--config", request.config, "JSON description of that model, if it has none of its own");
  add_threads(command, request.threads);
  add_cpu(command, request.cpu);
  add_file(command, "-o,--output", request.output, "the bank to write (.safetensors)")->required();
  command->footer(R"(Without prompts all names of the vocabulary are encoded. A card names, by modality, the part of the
body that the model knows, and the millimetres that scans of it extend left-right, back-front and
feet-head; sat segment warns of scans of less than half or more than twice that:
  {"ct": {"region": "head and neck", "field_of_view_mm": [[300, 700], [300, 700], [150, 450]]}}

Examples:
  sat bank --text-model text.safetensors --vocab vocab.txt -o bank.safetensors
  sat bank --from bank.safetensors --card card.json -o with-card.safetensors)");
  return command;
}

void add_max_header(CLI::App* command, CheckpointLimits& limits) {
  add_parsed(command, "--max-header", limits.header, parse_bytes,
             "how large a header, directory or pickle may be (16M); its\n256th part bounds the number of tensors")
      ->type_name("BYTES");
}

CLI::App* add_convert(CLI::App& program, ConvertRequest& request) {
  CLI::App* command =
      program.add_subcommand("convert", "Turn a PyTorch or safetensors checkpoint into a sat model or text encoder");
  add_words(command, "FILE", request.files, "the files to read, and last the one to write (.safetensors)");
  add_file(command, "--config", request.config, "JSON description of a model whose sizes were never published");
  add_parsed(command, "--dtype", request.dtype, parse_dtype, "f32 (default), bf16 or f16")->type_name("TYPE");
  add_file(command, "--pair-with", request.pair_with,
           "record the text encoder (or a bank made with it) that the\nmodel belongs to");
  command->add_flag("--training-heads", request.training_heads,
                    "keep the deep-supervision heads, which only training needs");
  add_parsed(command, "--text-kind", request.text_kind, parse_text_kind,
             "which encoder this is, where tensors cannot tell: ours,\nmedcpt or basebert")
      ->type_name("KIND");
  add_file(command, "--text-config", request.text_config, "JSON description of how prompts are encoded");
  command->add_flag("--native", request.native, "a sentence encoder with its own start and end tokens, not SAT's");
  add_max_header(command, request.limits);
  command->footer(R"(What the input is follows from its tensors. A text encoder may come in several files, for example
an encoder and, apart from it, its projection and modality table; its identity is that of the file
with the modality table. Names lose the wrappers of training (module., _orig_mod.,
_fsdp_wrapped_module., Lightning's model.). Of a whole checkpoint the state dict is taken: the first of
model_state_dict, state_dict, network_weights, model, net, ema, ema_state_dict and model_ema that holds
tensors. Values that are not finite, or not in the new type, are refused.

Examples:
  sat convert nano.pth nano.safetensors --dtype f16 --pair-with nano_text_encoder.pth
  sat convert nano_text_encoder.pth nano-text.safetensors --text-kind ours)");
  return command;
}

CLI::App* add_inspect(CLI::App& program, InspectRequest& request) {
  CLI::App* command = program.add_subcommand(
      "inspect", "Say what a checkpoint is: model, text encoder or bank, its tensors, hashes and pairing");
  command->add_option("FILE", request.file, "a checkpoint, safetensors or PyTorch's")->type_name("")->required();
  add_file(command, "--config", request.config, "JSON description of a model whose sizes were never published");
  command->add_flag("--all", request.all, "list every tensor");
  command->add_flag("--json", request.as_json, "print JSON");
  add_max_header(command, request.limits);
  command->footer(R"(The identity of a model or text encoder is the sha256 of the file it was published in, kept through
conversions. Ends with status 1 for a checkpoint that is no whole SAT model, naming what is missing
or extra, and for one with values that are not finite. "skipped" names what else a file holds (other
dicts, objects of Python's): it is read over, and nothing of it is run.

Examples:
  sat inspect nano.pth --all)");
  return command;
}

CLI::App* add_bench(CLI::App& program, BenchRequest& request) {
  CLI::App* command = program.add_subcommand("bench", "Measure kernels and stages against what this machine can do");
  add_parsed(command, "--op", request.operations, parse_list, "operations or cases, separated by commas (--list)")
      ->type_name("NAMES");
  add_parsed(command, "--variant", request.variants, parse_list,
             "variants to run; default: all but those that are too slow\nto wait for")
      ->type_name("NAMES");
  const auto with = [](char separator) {
    return [separator](const std::string& t) { return parse_lengths(t, separator); };
  };
  add_parsed(command, "--size", request.size, with('x'), "in place of the cases' own, for example 48x48x48")
      ->type_name("HxWxD");
  add_parsed(command, "--channels", request.channels, with(','), "likewise, for example 64,128")->type_name("IN,OUT");
  BenchSettings& settings = request.settings;
  command->add_option("--device", request.device.names, "cpu (default), cuda, cuda:1 or auto")->type_name("D");
  add_half(command, request.device.half);
  add_threads(command, settings.threads);
  add_cpu(command, settings.cpu);
  command->add_option("--repeat", settings.repeat, "rounds; default: 5, or 3 where a call takes over 2 s")
      ->type_name("N")
      ->check(CLI::Range(1, kMostRounds));
  command->add_option("--seconds", settings.seconds, "that a measurement takes at least; default: 0.1")
      ->type_name("S")
      ->check(CLI::Range(1e-4, 60.0));
  command->add_flag("--list", request.list, "only name what can be measured");
  command->add_option("--json", request.json, "write JSON; - writes it to stdout in place of the table")
      ->type_name("FILE");
  add_file(command, "--chart", request.chart, "draw a bar chart (.png)")->check([](const std::string& path) {
    return has_extension(path, ".png") ? std::string() : "'" + path + "' must end in .png";
  });
  command->footer(R"(All variants of a case take turns on the same random data, and so do the roofs, of which the best
round counts: the peak of multiply-adds in registers, and the bandwidth of a copy in memory or,
where all the data fit there, in the L2 caches. A rate is the work counted the plain way over the
median time; its share is of the roof that is lower for this work. A variant that needs fewer
operations than the plain one (Winograd), or data that stay in the last cache, may pass 100 %. The
spread is the whole range of the rounds.

On a CUDA device the roofs are dense layers of cuBLAS, in f32 and in the half type, and a copy in its
memory. The name of a kernel variant alone computes in the half type, NAME-f32 in f32.

Examples:
  sat bench
  sat bench --op conv3d --channels 64,64 --size 48x48x48 --variant direct,plain
  sat bench --op unet,conv3d/64-64 --json bench.json --chart bench.png
  sat bench --device cuda --op conv3d_norm,attention
  sat bench --device cuda --op conv3d_norm/64-64 --variant tiled-f32,tiled,mma,wgmma --half bf16)");
  return command;
}

/// A sentence about the first word that CLI11 could not place, or "": a misspelt option says more than the option that
/// is then missing.
std::string unplaced(const CLI::App& program) {
  const CLI::App* command = &program;
  while (!command->get_subcommands().empty()) command = command->get_subcommands().front();
  for (const std::string& word : program.remaining(true)) {
    if (word == "--") continue;
    const bool is_option = word.size() > 1 && word[0] == '-';
    std::vector<std::string> known;
    if (is_option) {
      for (const CLI::Option* option : command->get_options()) {
        if (option->nonpositional()) known.push_back(option->get_name());
      }
    } else {
      for (const CLI::App* each : command->get_subcommands([](const CLI::App*) { return true; })) {
        known.push_back(each->get_name());
      }
      if (known.empty()) return "'" + word + "' is one word too many";
    }
    const std::string name = word.substr(0, is_option ? word.find('=') : word.size());
    const std::vector<std::string> near = nearest_names(name, known, 1);
    return (is_option ? "unknown option " + name : "there is no command '" + name + "'") +
           (near.empty() ? "" : "; did you mean " + near[0] + "?");
  }
  return "";
}

}  // namespace

Request read_command_line(int count, const char* const* words) {
  CLI::App program("Segment medical scans by name, without Python and without a framework", "sat");
  program.set_help_flag("-h,--help", "this page");
  program.set_version_flag("--version", std::string("sat " SAT_VERSION " (") + name_of(best_cpu_level()) + ")",
                           "the version, and what of this processor is used");
  program.require_subcommand(0, 1);
  program.get_formatter()->label("Positionals", "Arguments");
  program.footer(R"(sat COMMAND --help explains a command.

Status at the end:
  0    done
  1    something failed
  2    of several cases some failed
  64   wrong usage
  129, 130, 143  ended by SIGHUP, SIGINT (Ctrl-C), SIGTERM

With --json whatever fails prints {"error": {"kind", "message", "file"}} on stdout. The kinds are usage,
input, memory, device, output, interrupted and internal; file is null where no file is to blame.

Examples:
  sat segment scan.nii.gz --modality ct --prompts "spinal cord,brainstem" -o results)");

  SegmentRequest segment;
  PlanRequest plan;
  PromptsRequest prompts;
  BankRequest bank;
  ConvertRequest convert;
  InspectRequest inspect;
  BenchRequest bench;
  const CLI::App* segment_command = add_segment(program, segment);
  const CLI::App* plan_command = add_plan(program, plan);
  const CLI::App* prompts_command = add_prompts_command(program, prompts);
  const CLI::App* bank_command = add_bank(program, bank);
  const CLI::App* convert_command = add_convert(program, convert);
  const CLI::App* inspect_command = add_inspect(program, inspect);
  const CLI::App* bench_command = add_bench(program, bench);
  try {
    program.parse(count, words);
  } catch (const CLI::Success& page) {
    std::ostringstream text;
    program.exit(page, text, text);
    return Page{text.str()};
  } catch (const CLI::ParseError& error) {
    const std::string word = unplaced(program);
    throw UsageError(word.empty() ? error.what() : word);
  }
  if (*segment_command) return segment;
  if (*plan_command) return plan;
  if (*prompts_command) return prompts;
  if (*bank_command) return bank;
  if (*convert_command) return convert;
  if (*inspect_command) return inspect;
  if (*bench_command) return bench;
  return Page{program.help(), false};
}

bool wants_json(int count, const char* const* words) {
  for (int i = 1; i < count; ++i) {
    const std::string_view word = words[i];
    const bool bench = std::string_view(words[1]) == "bench";
    if (word == "--json=-" ||
        (word == "--json" && (!bench || (i + 1 < count && std::string_view(words[i + 1]) == "-")))) {
      return true;
    }
  }
  return false;
}

std::vector<std::string> paths_of(const Request& request) {
  struct Paths {
    using List = std::vector<std::string>;
    List operator()(const SegmentRequest& one) const {
      List paths = one.scans;
      const ModelOptions& options = one.model;
      for (const std::string& path : {one.prompts.file, one.output, options.model, options.config, options.bank,
                                      options.text_model, options.vocabulary, one.session.scratch}) {
        paths.push_back(path);
      }
      return paths;
    }
    List operator()(const PlanRequest& one) const {
      return {one.scan, one.prompts.file, one.model, one.config, one.text_model};
    }
    List operator()(const PromptsRequest& one) const { return {one.prompts.file}; }
    List operator()(const BankRequest& one) const {
      return {one.text_model, one.vocabulary, one.pair_with, one.config, one.output, one.prompts.file};
    }
    List operator()(const ConvertRequest& one) const {
      List paths = one.files;
      for (const std::string& path : {one.config, one.pair_with, one.text_config}) paths.push_back(path);
      return paths;
    }
    List operator()(const InspectRequest& one) const { return {one.file, one.config}; }
    List operator()(const BenchRequest& one) const { return {one.json, one.chart}; }
    List operator()(const Page&) const { return {}; }
  };
  return std::visit(Paths(), request);
}

}  // namespace sat::cli
