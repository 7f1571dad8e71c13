// Opening, describing and writing SAT models.
#include "sat/nn/model_file.h"

#include "sat/io/checkpoint.h"
#include "sat/io/file.h"
#include "sat/io/hash.h"
#include "sat/io/safetensors.h"
#include "sat/nn/sat_model.h"
#include "sat/tensor/context.h"

namespace sat {

namespace {

constexpr const char* kFormat = "sat-model-1";
constexpr int64_t kLargestConfig = 1 << 20;  // bytes of JSON

bool starts_with(const std::string& text, const std::string& start) {
  return text.compare(0, start.size(), start) == 0;
}
bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

/// The name that `name` is an alias of, or itself.
std::string original_name(std::string name) {
  if (starts_with(name, "module.")) name.erase(0, 7);
  if (starts_with(name, "backbone.decoder.encoder.")) name.replace(0, 25, "backbone.encoder.");
  for (const auto& [alias, original] :
       {std::pair{".all_modules.0.", ".conv."}, std::pair{".all_modules.1.", ".norm."}}) {
    const size_t at = name.find(alias);
    if (at != std::string::npos) name.replace(at, std::string(alias).size(), original);
  }
  return name;
}

std::string value_or_empty(const std::map<std::string, std::string>& map, const std::string& key) {
  const auto found = map.find(key);
  return found == map.end() ? std::string() : found->second;
}

}  // namespace

Weights canonical_weights(const Weights& weights) {
  std::map<std::string, Weights::Entry> kept;
  for (Weights::Entry entry : weights.entries()) {
    const std::string name = original_name(entry.name);
    if (ends_with(name, "position_ids")) continue;
    const bool alias = name != entry.name && "module." + name != entry.name;
    const std::string stored = entry.name;
    entry.name = name;
    const auto [found, added] = kept.emplace(name, entry);
    if (added) continue;
    SAT_CHECK(found->second.shape == entry.shape, weights.source(), ": '", stored, "' has shape ", entry.shape,
              ", its original '", name, "' has ", found->second.shape);
    if (!alias) found->second = entry;
  }
  std::vector<Weights::Entry> entries;
  for (auto& [name, entry] : kept) entries.push_back(std::move(entry));
  return Weights(std::move(entries), weights.source());
}

ModelFile open_model_file(const std::string& path, const std::string& config_path) {
  Checkpoint checkpoint = open_checkpoint(path);
  ModelFile model;
  model.path = path;
  model.metadata = std::move(checkpoint.metadata);
  model.weights = canonical_weights(checkpoint.weights);
  model.text_identity = value_or_empty(model.metadata, "text_identity");
  model.identity = value_or_empty(model.metadata, "identity");
  if (model.identity.empty()) model.identity = sha256_of_file(path);

  const RecognisedConfig recognised = recognise_config(model.weights);
  const std::string described = value_or_empty(model.metadata, "config");
  if (!config_path.empty()) {
    model.config = config_from_json(Json::parse(read_file(config_path, kLargestConfig), config_path), config_path);
  } else if (!described.empty()) {
    model.config = config_from_json(Json::parse(described, path + " (config in its header)"), path);
  } else {
    SAT_CHECK(recognised.certain, path, ": a SAT U-Net of sizes that were never published and without a description; ",
              "pass its config.json");
    model.config = recognised.config;
  }
  // A rehearsal of the constructor finds what is missing or mis-shaped without reading any tensor.
  ContextOptions options;
  options.dry = true;
  Context dry(options);
  UseContext use(dry);
  std::vector<Weights::Entry> shapes = model.weights.entries();
  for (Weights::Entry& entry : shapes) {
    SAT_CHECK(entry.dtype == DType::f32 || entry.dtype == DType::bf16 || entry.dtype == DType::f16, path, ": tensor '",
              entry.name, "' holds ", entry.dtype, ", the model needs a float type");
    entry.load = [shape = entry.shape] { return Tensor(shape); };
  }
  const Weights probe(std::move(shapes), path);
  const bool heads = (probe / "mid_mask_embed_proj").has_any();
  const SatModel checked(probe, model.config, heads ? Heads::all : Heads::final_only);
  const std::vector<std::string> extra = probe.never_read();
  SAT_CHECK(extra.empty(), path, ": tensor '", extra.empty() ? "" : extra[0], "' does not belong to ",
            model.config.architecture, extra.size() > 1 ? " (and " + std::to_string(extra.size() - 1) + " more)" : "");
  return model;
}

void write_model_file(const std::string& path, const ModelFile& model, DType dtype, bool training_heads,
                      const std::string& text_identity) {
  std::map<std::string, Tensor> tensors;
  for (const Weights::Entry& entry : model.weights.entries()) {
    if (!training_heads && starts_with(entry.name, "mid_mask_embed_proj.")) continue;
    tensors[entry.name] = model.weights.get(entry.name, entry.shape).cast(dtype);
  }
  SatConfig config = model.config;
  if (!training_heads) config.mid_mask_hidden.clear();
  std::map<std::string, std::string> metadata{{"format", kFormat},
                                              {"architecture", config.architecture},
                                              {"config", to_json(config).dump()},
                                              {"identity", model.identity}};
  const std::string& pair = text_identity.empty() ? model.text_identity : text_identity;
  if (!pair.empty()) metadata["text_identity"] = pair;
  write_safetensors(path, tensors, metadata);
}

bool check_pairing(const ModelFile& model, const std::string& text_path, const std::string& text_identity) {
  if (model.text_identity.empty() || text_identity.empty()) return false;
  SAT_CHECK(model.text_identity == text_identity, text_path, ": this text encoder (", text_identity.substr(0, 12),
            "...) does not belong to the model ", model.path, ", which was paired with ",
            model.text_identity.substr(0, 12), "...");
  return true;
}

}  // namespace sat
