// Loading a model and its text side.
#include "sat/nn/run/model.h"

#include "sat/nn/sat/model_file.h"
#include "sat/nn/text/text_file.h"
#include "sat/tensor/memory/block_allocator.h"
#include "sat/tensor/memory/memory.h"

namespace sat {

std::shared_ptr<const Model> Model::open(const ModelOptions& options) {
  SAT_CHECK(!options.model.empty(), "no model was named");
  SAT_CHECK(options.bank.empty() || options.text_model.empty(),
            "both a bank and a text encoder were named; one is used");
  if (options.max_ram > 0 && options.max_ram <= kProgramBytes) {
    fail_as<MemoryError>("the memory limit of ", in_bytes(options.max_ram), " is less than the program itself needs, ",
                         in_bytes(kProgramBytes));
  }
  const std::shared_ptr<Model> model(new Model(options));
  if (!options.bank.empty()) model->bank_ = read_bank(options.bank);  // small; among what the program itself holds
  ContextOptions of_context;
  of_context.threads = options.threads;
  of_context.max_bytes = options.max_ram > 0 ? options.max_ram - kProgramBytes : 0;
  of_context.cpu = options.cpu;
  of_context.precision = options.precision;
  of_context.device = options.device;
  of_context.cancelled = options.cancelled;
  Context context(of_context);
  UseContext use(context);
  model->load(context);
  return model;
}

void Model::load(const Context& context) {
  const ModelFile file = open_model_file(options_.model, options_.config);
  identity_ = file.identity;
  bytes_ = plan_model(file.config);
  const int64_t needed = bytes_.loading + kProgramBytes;
  const int64_t most = options_.max_ram > 0 ? options_.max_ram : options_.machine_bytes;
  if (most > 0 && needed > most) {
    fail_as<MemoryError>(options_.model, ": loading this model needs ", in_bytes(needed), " of memory, the limit is ",
                         in_bytes(most));
  }
  read_text_side(file);
  if (const auto device = context.planned_memory()) device->reserve(bytes_.on_device);
  network_.emplace(file.weights, file.config);
  context.memory()->reset_peak();  // what only loading needed goes back to the system
}

void Model::read_text_side(const ModelFile& file) {
  if (bank_) {
    text_identity_ = bank_->text_identity;
    const std::string& made_for = bank_->model_identity;
    SAT_CHECK(made_for.empty() || made_for == identity_, options_.bank, ": this bank was made for the model ",
              made_for.substr(0, 12), "..., not for ", options_.model, " (", identity_.substr(0, 12), "...)");
    pairing_checked_ = !made_for.empty();
  } else if (!options_.text_model.empty()) {
    const TextFile text = open_text_file({options_.text_model});
    text_identity_ = text.identity;
    text_bytes_ = TextEncoder::planned_bytes(text.weights, text.config);
  }
  if (text_identity_.empty()) return;
  if (check_pairing(file, bank_ ? options_.bank : options_.text_model, text_identity_)) pairing_checked_ = true;
}

ContextOptions Model::context_options() const {
  ContextOptions options;
  options.cpu = options_.cpu;
  options.precision = options_.precision;
  if (options_.device) options.device = device_beside(options_.device, bytes_.on_device);
  return options;
}

}  // namespace sat
