// sat convert and sat inspect: files of weights.
#include "examples/sat/command_line/commands.h"
#include "examples/sat/command_line/options.h"

namespace sat::cli {

namespace {

DType parse_dtype(const std::string& name) {
  for (DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    if (name == name_of(dtype)) return dtype;
  }
  fail("'", name, "' is not f32, bf16 or f16");
}

void add_max_header(CLI::App* command, CheckpointLimits& limits) {
  add_parsed(command, "--max-header", limits.header, parse_bytes,
             "how large a header, directory or pickle may be (16M); its\n256th part bounds the number of tensors")
      ->type_name("BYTES");
}

}  // namespace

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

}  // namespace sat::cli
