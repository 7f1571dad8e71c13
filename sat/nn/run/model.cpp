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
    const int64_t needed = bytes.loading + kProgramBytes;
    const int64_t most = options.max_ram > 0 ? options.max_ram : options.machine_bytes;
    if (most > 0 && needed > most) {
      fail_as<MemoryError>(options.model, ": loading this model needs ", in_bytes(needed), " of memory, the limit is ",
                           in_bytes(most));
    }
    read_text_side(file);
    if (const auto device = context.planned_memory()) device->reserve(bytes.on_device);
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
  SAT_CHECK(!options.model.empty(), "no model was named");
  SAT_CHECK(options.bank.empty() || options.text_model.empty(),
            "both a bank and a text encoder were named; one is used");
  if (options.max_ram > 0 && options.max_ram <= kProgramBytes) {
    fail_as<MemoryError>("the memory limit of ", in_bytes(options.max_ram), " is less than the program itself needs, ",
                         in_bytes(kProgramBytes));
  }
  auto state = std::make_unique<State>();
  state->options = options;
  if (!options.bank.empty()) state->bank = read_bank(options.bank);  // small; among what the program itself holds
  ContextOptions of_context;
  of_context.threads = options.threads;
  of_context.max_bytes = options.max_ram > 0 ? options.max_ram - kProgramBytes : 0;
  of_context.cpu = options.cpu;
  of_context.precision = options.precision;
  of_context.device = options.device;
  of_context.cancelled = options.cancelled;
  Context context(of_context);
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

ContextOptions Model::context_options() const {
  const ModelOptions& chosen = state_->options;
  ContextOptions options;
  options.cpu = chosen.cpu;
  options.precision = chosen.precision;
  if (chosen.device) options.device = device_beside(chosen.device, state_->bytes.on_device);
  return options;
}

}  // namespace sat
