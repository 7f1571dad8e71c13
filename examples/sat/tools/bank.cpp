// sat bank: prompts encoded once and for all.
#include "examples/sat/command_line/command_line.h"
#include "examples/sat/interrupt.h"
#include "examples/sat/output/output.h"
#include "examples/sat/tools/prompt_vocabulary.h"
#include "sat/io/files/file.h"
#include "sat/nn/sat/model_file.h"
#include "sat/nn/text/embedding_bank.h"
#include "sat/nn/text/text_file.h"
#include "sat/tensor/context.h"

namespace sat::cli {

namespace {

ModelCard read_card(const std::string& path) {
  constexpr int64_t most = 1 << 20;
  return model_card_from_json(Json::parse(read_file(path, most), path), path);
}

void write(const BankRequest& request, EmbeddingBank bank) {
  if (!request.card.empty()) bank.card = read_card(request.card);
  failing_as(FailureKind::output, [&] {
    remove_temporary_files(folder_of(request.output));
    write_bank(request.output, bank);
  });
  say(std::to_string(bank.phrases.size()) + " phrases in " + request.output);
}

}  // namespace

int run(const BankRequest& request) {
  if (!request.from.empty()) {
    const bool others = !request.prompts.list.empty() || !request.prompts.file.empty() || !request.pair_with.empty();
    if (others) throw UsageError("--from takes a bank over as it is: no prompts and no --pair-with");
    write(request, read_bank(request.from));
    return kDone;
  }
  if (request.text_model.empty()) throw UsageError("--text-model is required, or --from");
  if (request.vocabulary.empty()) throw UsageError("--vocab is required beside --text-model");
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
  write(request, bank);
  return kDone;
}

}  // namespace sat::cli
