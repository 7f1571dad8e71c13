// Options that several commands share.
#include "examples/sat/command_line/options.h"

#include <charconv>
#include <cmath>

#include "sat/io/words/modality.h"
#include "sat/tensor/context.h"

namespace sat::cli {

namespace {

constexpr int kMostThreads = 1024;

DType parse_half(const std::string& name) {
  for (DType type : {DType::f16, DType::bf16}) {
    if (name == name_of(type)) return type;
  }
  fail("unknown half type '", name, "'; it is one of f16, bf16");
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

}  // namespace

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

std::vector<std::string> parse_list(const std::string& text) {
  std::vector<std::string> names = CLI::detail::split(text, ',');
  for (const std::string& name : names) SAT_CHECK(!name.empty(), "an empty name in '", text, "'");
  return names;
}

CLI::Option* add_file(CLI::App* command, const std::string& name, std::string& path, const std::string& help) {
  return command->add_option(name, path, help)->type_name("FILE");
}

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

}  // namespace sat::cli
