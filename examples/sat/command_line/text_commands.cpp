// sat prompts and sat bank: the names of structures, and their embeddings.
#include "examples/sat/command_line/commands.h"
#include "examples/sat/command_line/options.h"

namespace sat::cli {

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

}  // namespace sat::cli
