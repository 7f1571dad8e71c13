// sat bank: prompts encoded once and for all.
#include "examples/sat/command_line.h"
#include "examples/sat/interrupt.h"
#include "examples/sat/output.h"
#include "examples/sat/prompt_vocabulary.h"
#include "sat/nn/embedding_bank.h"
#include "sat/nn/model_file.h"
#include "sat/nn/text_file.h"
#include "sat/tensor/context.h"

namespace sat::cli {

int run(const BankRequest& request) {
  std::vector<std::string> phrases = prompts_of(request.prompts);
  if (phrases.empty()) {
    for (const KnownPrompt& known : read_prompt_vocabulary()) phrases.push_back(known.name);
  }

  ContextOptions options;
  options.threads = request.threads;
  options.cpu = request.cpu;
  Context context(options);
  UseContext use(context);
  const std::string text_identity = open_text_file({request.text_model}).identity;
  std::string model_identity;
  if (!request.pair_with.empty()) {
    const ModelFile model = open_model_file(request.pair_with, request.config);
    check_pairing(model, request.text_model, text_identity);
    model_identity = model.identity;
  }
  const EmbeddingBank bank =
      make_bank(open_text_encoder(request.text_model, request.vocabulary), phrases, text_identity, model_identity);
  watch_for_interrupts();
  context.set_cancelled(interrupted);
  failing_as(FailureKind::output, [&] { write_bank(request.output, bank); });
  say(std::to_string(bank.phrases.size()) + " phrases in " + request.output);
  return kDone;
}

}  // namespace sat::cli
