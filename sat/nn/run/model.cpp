// Loading a model and its text side.
#include "sat/nn/run/model.h"

#include <optional>
#include <utility>

#include "sat/nn/run/dry_run.h"
#include "sat/nn/sat/model_file.h"
#include "sat/nn/sat/sat_model.h"
#include "sat/nn/text/embedding_bank.h"
#include "sat/nn/text/text_file.h"
#include "sat/tensor/memory/block_allocator.h"
#include "sat/tensor/memory/memory.h"

namespace sat {

struct Model::State {
  ModelOptions options;
  std::optional<SatModel> network;
  ModelBytes bytes;
  std::optional<EmbeddingBank> bank;
  std::string identity, text_identity;
  int64_t text_bytes = 0;
  bool pairing_checked = false;

  /// In the context that the model is loaded in.
  void load(const Context& context) {
    const ModelFile file = open_model_file(options.model, options.config);
    identity = file.identity;
    bytes = plan_model(file.config);
    make_room(options, bytes);
    read_text_side(file);
    network.emplace(file.weights, file.config);
    context.memory()->reset_peak();  // what only loading needed goes back to the system
  }

  void read_text_side(const ModelFile& file) {
    if (bank) {
      text_identity = bank->text_identity;
      const std::string& made_for = bank->model_identity;
      SAT_CHECK(made_for.empty() || made_for == identity, options.bank, ": this bank was made for the model ",
                made_for.substr(0, 12), "..., not for ", options.model, " (", identity.substr(0, 12), "...)");
      pairing_checked = !made_for.empty();
    } else if (!options.text_model.empty()) {
      const TextFile text = open_text_file({options.text_model});
      text_identity = text.identity;
      text_bytes = TextEncoder::planned_bytes(text.weights, text.config);
    }
    if (text_identity.empty()) return;
    if (check_pairing(file, bank ? options.bank : options.text_model, text_identity)) pairing_checked = true;
  }
};

std::shared_ptr<const Model> Model::open(const ModelOptions& options) {
  const ContextOptions loading = loading_context(options);
  SAT_CHECK(options.bank.empty() || options.text_model.empty(),
            "both a bank and a text encoder were named; one is used");
  auto state = std::make_unique<State>();
  state->options = options;
  if (!options.bank.empty()) state->bank = read_bank(options.bank);  // small; among what the program itself holds
  Context context(loading);
  UseContext use(context);
  state->load(context);
  return std::shared_ptr<const Model>(new Model(std::move(state)));
}

Model::Model(std::unique_ptr<State> state) : state_(std::move(state)) {}
Model::~Model() = default;

const ModelOptions& Model::options() const { return state_->options; }
const SatConfig& Model::config() const { return state_->network->config(); }
const std::string& Model::identity() const { return state_->identity; }
const std::string& Model::text_identity() const { return state_->text_identity; }
bool Model::pairing_checked() const { return state_->pairing_checked; }
const SatModel& Model::network() const { return *state_->network; }
const ModelBytes& Model::bytes() const { return state_->bytes; }
const EmbeddingBank* Model::bank() const { return state_->bank ? &*state_->bank : nullptr; }
int64_t Model::text_bytes() const { return state_->text_bytes; }

ContextOptions Model::context_options() const { return running_context(state_->options, state_->bytes); }

}  // namespace sat
