// Where the encoder's tensors lie in a file, and what the file's config says of them.
#include "sat/nn/image/image_file.h"

#include <algorithm>
#include <filesystem>
#include <vector>

#include "sat/io/files/file.h"
#include "sat/io/files/hash.h"
#include "sat/io/words/json.h"
#include "sat/io/words/text.h"
#include "sat/nn/sat/stored_weights.h"

namespace sat {

namespace {

constexpr int64_t kLargestConfig = 1 << 20;  // bytes of JSON
constexpr const char* kToken = "cls_token";
constexpr const char* kEmbeddings = "embeddings";  // Hugging Face's step before it

/// "a.b.cls_token" -> "a.b"; "cls_token" -> "".
std::string without_last_step(const std::string& name) {
  const size_t dot = name.rfind('.');
  return dot == std::string::npos ? "" : name.substr(0, dot);
}

std::string last_step(const std::string& name) {
  const size_t dot = name.rfind('.');
  return dot == std::string::npos ? name : name.substr(dot + 1);
}

bool has_step(const std::string& name, const std::string& step) {
  return ("." + name + ".").find("." + step + ".") != std::string::npos;
}

std::string list(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + sat::quoted(name);
  return text;
}

/// Where an encoder's tensors begin.
std::string find_place(const Weights& all) {
  std::vector<std::string> places, teachers;
  for (const Weights::Entry& entry : all.entries()) {
    if (last_step(entry.name) != kToken) continue;
    std::string place = without_last_step(entry.name);
    if (last_step(place) == kEmbeddings) place = without_last_step(place);
    places.push_back(place);
    if (has_step(place, "teacher")) teachers.push_back(place);
  }
  if (teachers.size() == 1) return teachers[0];
  SAT_CHECK(!places.empty(), all.source(), ": no image encoder (it has no cls_token)");
  SAT_CHECK(places.size() == 1, all.source(), ": ", places.size(),
            " image encoders, of which none is the teacher's: ", list(places));
  return places[0];
}

/// A config says the same of a size as the tensors.
void check_same(const Json& config, const char* key, int64_t value, const std::string& where) {
  const Json* said = config.find(key);
  if (!said) return;
  SAT_CHECK(said->integer() == value, where, ": ", key, " is ", said->integer(), ", the tensors say ", value);
}

PositionRule read_rule(const Json& config, const std::string& where) {
  if (const Json* rule = config.find("interpolation")) {
    try {
      return parse_position_rule(rule->string());
    } catch (const Error& error) {
      fail(where, ": ", error.what());
    }
  }
  const Json* offset = config.find("interpolate_offset");
  return offset && offset->number() > 0 ? PositionRule::offset : PositionRule::size;
}

void read_config(ImageFile& file, const std::string& path) {
  const Json config = Json::parse(read_file(path, kLargestConfig), path);
  check_same(config, "hidden_size", file.config.width, path);
  check_same(config, "num_hidden_layers", file.config.depth, path);
  check_same(config, "patch_size", file.config.patch, path);
  check_same(config, "num_channels", file.config.channels, path);
  if (const Json* swiglu = config.find("use_swiglu_ffn")) {
    SAT_CHECK(!swiglu->boolean(), path, ": use_swiglu_ffn is true, which is not supported");
  }
  if (const Json* heads = config.find("num_attention_heads")) {
    const int64_t count = heads->integer();
    SAT_CHECK(count > 0 && file.config.width % count == 0, path, ": ", file.config.width,
              " channels do not divide into ", count, " heads");
    file.config.heads = count;
  }
  if (const Json* eps = config.find("layer_norm_eps")) {
    SAT_CHECK(eps->number() > 0 && eps->number() < 1, path, ": layer_norm_eps is ", eps->number());
    file.config.eps = float(eps->number());
  }
  if (const Json* size = config.find("image_size")) {
    file.input = size->integer();
    SAT_CHECK(file.input >= file.config.patch && file.input <= 65535, path, ": image_size is ", file.input,
              ", the patches have ", file.config.patch, " pixels");
  }
  if (file.config.registers == 0) file.positions = read_rule(config, path);
}

std::string value_of(const std::map<std::string, std::string>& map, const char* key) {
  const auto found = map.find(key);
  return found == map.end() ? std::string() : found->second;
}

}  // namespace

ImageFile open_image_file(const std::string& path, const std::string& config, const CheckpointLimits& limits) {
  const Checkpoint checkpoint = open_checkpoint(path, limits);
  std::vector<Weights::Entry> entries = checkpoint.weights.entries();
  for (Weights::Entry& entry : entries) entry.name = without_wrappers(entry.name);
  const Weights all = Weights(std::move(entries), path).finite();
  const std::string place = find_place(all);

  ImageFile file;
  file.path = path;
  file.weights = place.empty() ? all : all / place;
  const VitFound found = recognise_vit(file.weights);
  file.config = found.config;
  file.naming = found.naming;
  file.kind = found.config.layer_scale ? "rad-dino" : "ecamp";
  const Weights norm = file.weights / (found.naming == VitNaming::timm ? "norm" : "layernorm");
  file.config.final_norm = file.kind != "ecamp" || norm.has("weight");
  file.input = found.config.patch * found.config.table[0];
  if (found.config.registers > 0) file.positions = PositionRule::size_antialiased;

  const std::string beside = (std::filesystem::path(path).parent_path() / "config.json").string();
  if (!config.empty()) {
    read_config(file, config);
  } else if (std::filesystem::is_regular_file(beside)) {
    read_config(file, beside);
  }
  file.identity = value_of(checkpoint.metadata, "identity");
  if (file.identity.empty()) file.identity = sha256_of_file(path);
  if (!value_of(checkpoint.metadata, "generated").empty()) file.remark = "untrained weights";
  return file;
}

}  // namespace sat
