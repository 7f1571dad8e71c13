// sat bank: prompts encoded once and for all.
#include <algorithm>
#include <cstdio>

#include "examples/sat/command.h"
#include "examples/sat/prompt_vocabulary.h"
#include "sat/nn/embedding_bank.h"
#include "sat/nn/model_file.h"
#include "sat/nn/text_file.h"
#include "sat/tensor/context.h"

namespace sat::cli {

namespace {

int run(const Arguments& arguments) {
  if (!arguments.words().empty()) throw UsageError("bank takes no '" + arguments.words()[0] + "'");
  const std::string text_model = arguments.needed("--text-model"), vocabulary = arguments.needed("--vocab");
  const std::string output = arguments.needed("--output");
  std::vector<std::string> phrases = prompts_of(arguments);
  if (phrases.empty()) {
    for (const KnownPrompt& known : read_prompt_vocabulary()) phrases.push_back(known.name);
  }

  ContextOptions options;
  options.threads = int(arguments.integer("--threads", 0, 0, 1024));
  Context context(options);
  UseContext use(context);
  const std::string text_identity = open_text_file({text_model}).identity;
  std::string model_identity;
  if (arguments.has("--pair-with")) {
    const ModelFile model = open_model_file(arguments.value("--pair-with"), arguments.value("--config"));
    check_pairing(model, text_model, text_identity);
    model_identity = model.identity;
  }
  const EmbeddingBank bank =
      make_bank(open_text_encoder(text_model, vocabulary), phrases, text_identity, model_identity);
  write_bank(output, bank);
  std::fprintf(stderr, "%zu phrases in %s\n", bank.phrases.size(), output.c_str());
  return 0;
}

}  // namespace

Command bank_command() {
  return {"bank",
          "encode prompts once, so that segmentation runs without the text encoder",
          "--text-model T --vocab V [--prompts LIST | --prompts-file F] [--pair-with MODEL] -o BANK.safetensors",
          "Without prompts all names of the vocabulary are encoded.",
          {{"--text-model", "FILE", "the text encoder"},
           {"--vocab", "FILE", "its word pieces (vocab.txt)"},
           {"--prompts", "LIST", "prompts, separated by commas"},
           {"--prompts-file", "FILE", "prompts, one a line"},
           {"--pair-with", "MODEL", "record the segmentation model that the bank belongs to"},
           {"--config", "FILE", "JSON description of that model, if it has none of its own"},
           {"--threads", "N", "0: as many as the machine has (default)"},
           {"-o, --output", "FILE", "the bank to write (.safetensors)"}},
          "  sat bank --text-model text.safetensors --vocab vocab.txt -o bank.safetensors\n",
          run};
}

}  // namespace sat::cli
