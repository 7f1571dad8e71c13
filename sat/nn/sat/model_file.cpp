// Opening, describing and writing SAT models.
#include "sat/nn/sat/model_file.h"
#include "sat/nn/sat/recognise_config.h"

#include <sstream>

#include "sat/io/checkpoints/safetensors.h"
#include "sat/io/files/file.h"
#include "sat/io/files/hash.h"
#include "sat/nn/sat/sat_model.h"
#include "sat/nn/sat/stored_weights.h"
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

/// The name that `name`, already without wrappers, is an alias of, or itself.
std::string original_name(std::string name) {
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

/// What is wrong with tensors of one kind, as part of a sentence; every one is told of, the first 20 by name.
class Complaint {
 public:
  void add(const std::string& what) {
    if (++count_ <= kNamed) named_ += (named_.empty() ? "" : ", ") + what;
  }
  bool empty() const { return count_ == 0; }
  /// "tensor X is missing", "3 tensors are missing: X, Y, Z", "99 tensors are missing: X, Y, ... (the first 20 named)".
  std::string sentence(const std::string& one, const std::string& many) const {
    if (count_ == 1) return "tensor " + named_ + one;
    return std::to_string(count_) + " tensors " + many + ": " + named_ +
           (count_ > kNamed ? ", ... (the first " + std::to_string(kNamed) + " are named)" : "");
  }

 private:
  static constexpr int64_t kNamed = 20;
  int64_t count_ = 0;
  std::string named_;
};

std::string text_of(const Shape& shape) {
  std::ostringstream text;
  text << shape;
  return text.str();
}

/// Throws Error unless the tensors are exactly those of the network. `skipped`: what else the file holds.
void check_whole(const ModelFile& model, const std::map<std::string, std::string>& skipped) {
  const bool heads = (model.weights / "mid_mask_embed_proj").has_any();
  std::map<std::string, Shape> needed = needed_tensors(model.config, heads ? Heads::all : Heads::final_only);
  Complaint missing, shaped, typed, foreign;
  for (const Weights::Entry& entry : model.weights.entries()) {
    const auto wanted = needed.find(entry.name);
    const std::string name = "'" + entry.name + "'";
    if (wanted == needed.end()) {
      foreign.add(name);
      continue;
    }
    if (entry.shape != wanted->second) {
      shaped.add(name + " has shape " + text_of(entry.shape) + ", the model needs " + text_of(wanted->second));
    }
    if (entry.dtype != DType::f32 && entry.dtype != DType::bf16 && entry.dtype != DType::f16) {
      typed.add(name + " holds " + name_of(entry.dtype));
    }
    needed.erase(wanted);
  }
  std::map<std::string, std::string> objects;
  for (const auto& [name, what] : skipped) objects.emplace(original_name(without_wrappers(name)), what);
  for (const auto& [name, shape] : needed) {
    const auto object = objects.find(name);
    missing.add("'" + name + "' of shape " + text_of(shape) +
                (object == objects.end() ? "" : " (what has that name is " + object->second + ")"));
  }
  const std::string& path = model.path;
  SAT_CHECK(missing.empty(), path, ": ", missing.sentence(" is missing", "are missing"));
  SAT_CHECK(shaped.empty(), path, ": ", shaped.sentence("", "have other shapes than the model"));
  SAT_CHECK(typed.empty(), path, ": ", typed.sentence(" where the model needs a float type", "are of no float type"));
  SAT_CHECK(foreign.empty(), path, ": ",
            foreign.sentence(" does not belong to " + model.config.architecture,
                             "do not belong to " + model.config.architecture));
}

}  // namespace

std::map<std::string, Shape> needed_tensors(const SatConfig& config, Heads heads) {
  ContextOptions options;
  options.dry = true;
  Context dry(options);
  UseContext use(dry);
  std::map<std::string, Shape> needed;
  const auto ask = [&](const std::string& name, const Shape& shape) {
    needed.emplace(name, shape);
    return Tensor(shape);
  };
  const SatModel asked(Weights::made(ask), config, heads);
  return needed;
}

Weights canonical_weights(const Weights& weights) {
  struct Kept {
    size_t index;  // among the entries
    bool alias;
  };
  std::vector<Weights::Entry> entries = weights.entries(), named;
  std::map<std::string, Kept> kept;
  for (size_t i = 0; i < entries.size(); ++i) {
    const Weights::Entry& entry = entries[i];
    const std::string plain = without_wrappers(entry.name), name = original_name(plain);
    if (ends_with(name, "position_ids") || ends_with(name, "relative_position_index") || name == "n_averaged") continue;
    const bool alias = name != plain;
    const auto [found, added] = kept.emplace(name, Kept{i, alias});
    if (added) continue;
    const Weights::Entry& before = entries[found->second.index];
    SAT_CHECK(before.shape == entry.shape, weights.source(), ": '", entry.name, "' has shape ", entry.shape, ", '",
              before.name, "', which is the same tensor, has ", before.shape);
    SAT_CHECK(alias || found->second.alias, weights.source(), ": '", before.name, "' and '", entry.name, "' are both '",
              name, "' once the wrappers around the network are left out");
    if (!alias) found->second = {i, alias};
  }
  named.reserve(kept.size());
  for (const auto& [name, one] : kept) {
    named.push_back(std::move(entries[one.index]));
    named.back().name = name;
  }
  return Weights(std::move(named), weights.source());
}

ModelFile open_model_file(const std::string& path, const std::string& config_path, const CheckpointLimits& limits) {
  Checkpoint checkpoint = open_checkpoint(path, limits);
  ModelFile model;
  model.path = path;
  model.metadata = std::move(checkpoint.metadata);
  model.weights = canonical_weights(checkpoint.weights).finite();
  checkpoint.weights = {};
  model.text_identity = value_or_empty(model.metadata, "text_identity");
  model.identity = value_or_empty(model.metadata, "identity");
  if (model.identity.empty()) model.identity = sha256_of_file(path);

  const std::string described = value_or_empty(model.metadata, "config");
  if (!config_path.empty()) {
    model.config = config_from_json(Json::parse(read_file(config_path, kLargestConfig), config_path), config_path);
  } else if (!described.empty()) {
    model.config = config_from_json(Json::parse(described, path + " (config in its header)"), path);
  } else {
    const RecognisedConfig recognised = recognise_config(model.weights);
    SAT_CHECK(recognised.certain, path, ": a SAT model of sizes that were never published and without a description; ",
              "pass its config.json");
    model.config = recognised.config;
  }
  check_whole(model, checkpoint.skipped);
  return model;
}

void write_model_file(const std::string& path, const ModelFile& model, DType dtype, bool training_heads,
                      const std::string& text_identity) {
  std::map<std::string, Tensor> tensors;
  for (const Weights::Entry& entry : model.weights.entries()) {
    if (!training_heads && starts_with(entry.name, "mid_mask_embed_proj.")) continue;
    tensors[entry.name] = narrowed(model.weights.get(entry.name, entry.shape), dtype, entry.name, path);
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
