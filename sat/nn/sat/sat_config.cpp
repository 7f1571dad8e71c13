// SAT's sizes: the published ones, their JSON form, and reading them off a checkpoint.
#include "sat/nn/sat/sat_config.h"

#include <algorithm>
#include <cctype>
#include <numeric>

#include "sat/io/words/modality.h"

namespace sat {

namespace {

constexpr int64_t kLargestSize = 1 << 16;   // of any width or window: beyond every model, below any overflow
constexpr int64_t kLargestSwinWindow = 16;  // its bias has a number for each head and pair of its window^3 tokens

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return char(std::tolower(c)); });
  return text;
}

SatConfig published(const std::string& name, std::vector<int64_t> channels, int64_t blocks) {
  SatConfig config;
  config.architecture = name;
  config.channels = std::move(channels);
  config.encoder_blocks.assign(6, blocks);
  config.decoder_blocks.assign(5, blocks);
  config.modalities["ct"].normalisation = {Normalisation::Kind::clip, -500, 1000};
  config.modalities["*"].normalisation = {Normalisation::Kind::percentiles, 0.5, 99.5};
  return config;
}

/// The sizes that one kind of backbone has and the others lack.
void check_backbone(const SatConfig& config, const std::string& source) {
  const bool swin = config.backbone == BackboneKind::swin_unetr;
  if (!swin) {
    SAT_CHECK(config.encoder_blocks.size() == config.channels.size(), source,
              ": encoder_blocks needs one entry a stage, ", config.channels.size());
    SAT_CHECK(config.decoder_blocks.size() + 1 == config.channels.size(), source, ": decoder_blocks needs ",
              config.channels.size() - 1, " entries");
    SAT_CHECK(config.swin_blocks.empty() && config.swin_heads.empty() && config.swin_window == 0, source,
              ": swin_blocks, swin_heads and swin_window belong to the backbone SwinUNETR");
    const int64_t most = config.backbone == BackboneKind::umamba ? config.stages() : 0;
    SAT_CHECK(config.mamba_layers >= 0 && config.mamba_layers <= most, source, ": mamba_layers is ",
              config.mamba_layers, ", must be 0 to ", most);
    return;
  }
  SAT_CHECK(config.encoder_blocks.empty() && config.decoder_blocks.empty() && config.mamba_layers == 0, source,
            ": encoder_blocks, decoder_blocks and mamba_layers do not belong to the backbone SwinUNETR");
  SAT_CHECK(
      config.swin_blocks.size() + 2 == config.channels.size() && config.swin_heads.size() == config.swin_blocks.size(),
      source, ": swin_blocks and swin_heads need ", config.stages() - 2, " entries each, for ", config.stages(),
      " channels");
  SAT_CHECK(config.swin_window >= 1 && config.swin_window <= kLargestSwinWindow, source, ": swin_window is ",
            config.swin_window, ", must be 1 to ", kLargestSwinWindow);
  for (size_t s = 1; s < config.channels.size(); ++s) {
    const int64_t width = config.channels[0] << (s - 1);
    SAT_CHECK(config.channels[s] == width, source, ": channels of stage ", s, " are ", config.channels[s],
              ", SwinUNETR has ", width);
  }
  for (size_t s = 0; s < config.swin_heads.size(); ++s) {
    const int64_t width = config.channels[0] << s, heads = config.swin_heads[s];
    SAT_CHECK(heads >= 1 && width % heads == 0, source, ": swin_heads of stage ", s, " are ", heads,
              ", which does not divide ", width, " channels");
  }
}

void check(const SatConfig& config, const std::string& source) {
  const auto positive = [&](int64_t size, const char* key) {
    SAT_CHECK(size >= 1 && size <= kLargestSize, source, ": ", key, " is ", size, ", must be 1 to ", kLargestSize);
  };
  const auto all_positive = [&](const std::vector<int64_t>& sizes, const char* key) {
    for (int64_t size : sizes) positive(size, key);
  };
  SAT_CHECK(config.stages() >= 2 && config.stages() <= 8, source, ": channels names ", config.stages(),
            " stages, must be 2 to 8");
  SAT_CHECK(config.mid_mask_hidden.size() < config.channels.size() - 1, source, ": mid_mask_hidden has ",
            config.mid_mask_hidden.size(), " entries for ", config.stages(), " stages");
  all_positive(config.channels, "channels");
  all_positive(config.encoder_blocks, "encoder_blocks");
  all_positive(config.decoder_blocks, "decoder_blocks");
  all_positive(config.mid_mask_hidden, "mid_mask_hidden");
  all_positive(config.swin_blocks, "swin_blocks");
  check_backbone(config, source);
  positive(config.in_channels, "in_channels");
  positive(config.text_dim, "text_dim");
  positive(config.query_dim, "query_dim");
  positive(config.heads, "heads");
  positive(config.decoder_layers, "decoder_layers");
  positive(config.feedforward, "feedforward");
  positive(config.token_hidden, "token_hidden");
  positive(config.mask_hidden, "mask_hidden");
  SAT_CHECK(config.query_dim % config.heads == 0, source, ": query_dim ", config.query_dim,
            " does not divide into heads ", config.heads);
  SAT_CHECK(config.query_dim % 2 == 0, source, ": query_dim ", config.query_dim, " is odd");
  for (const auto& [name, modality] : config.modalities) {
    for (size_t axis = 0; axis < 3; ++axis) {
      positive(modality.window[axis], "window");
      SAT_CHECK(modality.window[axis] % config.total_stride() == 0, source, ": window ", modality.window[axis], " of ",
                name, " is not a multiple of ", config.total_stride());
      SAT_CHECK(modality.spacing_mm[axis] > 1e-3 && modality.spacing_mm[axis] < 1e3, source, ": spacing ",
                modality.spacing_mm[axis], " mm of ", name, " is out of range");
    }
    SAT_CHECK(modality.normalisation.low < modality.normalisation.high, source, ": clip bounds of ", name,
              " are in the wrong order");
  }
}

template <size_t N, class T>
std::array<T, N> fixed(const std::vector<T>& values, const std::string& source, const char* key) {
  SAT_CHECK(values.size() == N, source, ": ", key, " has ", values.size(), " entries, needs ", N);
  std::array<T, N> array{};
  std::copy(values.begin(), values.end(), array.begin());
  return array;
}

ModalityConfig modality_from_json(const Json& json, const std::string& source) {
  ModalityConfig modality;
  for (const auto& [key, value] : json.members()) {
    if (key == "spacing") {
      modality.spacing_mm = fixed<3>(value.numbers(), source, "spacing");
    } else if (key == "window") {
      modality.window = fixed<3>(value.integers(), source, "window");
    } else if (key == "clip" || key == "clip_percentiles") {
      const auto bounds = fixed<2>(value.numbers(), source, "clip bounds");
      const auto kind = key == "clip" ? Normalisation::Kind::clip : Normalisation::Kind::percentiles;
      modality.normalisation = {kind, bounds[0], bounds[1]};
    } else if (key == "crop") {
      SAT_CHECK(value.string() == "> 0", source, ": crop is '", value.string(), "', only '> 0' is known");
    } else {
      SAT_CHECK(key == "normalise", source, ": unknown preprocess key '", key, "'");
    }
  }
  return modality;
}

struct BackboneName {
  BackboneKind kind;
  const char* name;
};
constexpr std::array<BackboneName, 3> kBackbones{
    {{BackboneKind::unet, "UNET"}, {BackboneKind::umamba, "UMamba"}, {BackboneKind::swin_unetr, "SwinUNETR"}}};

/// "UNET-L" and its like are U-Nets too.
BackboneKind parse_backbone(const std::string& name, const std::string& source) {
  for (const BackboneName& known : kBackbones) {
    if (name == known.name || (known.kind == BackboneKind::unet && name.compare(0, 4, known.name) == 0)) {
      return known.kind;
    }
  }
  fail(source, ": backbone is '", name, "', known are UNET (and its sizes), UMamba, SwinUNETR");
}

void read_sliding(const Json& json, const std::string& source) {
  const Json* stride = json.find("stride");
  SAT_CHECK(!stride || stride->number() == 0.5, source, ": sliding stride must be half the window");
  const Json* threshold = json.find("threshold");
  SAT_CHECK(!threshold || threshold->number() == 0.5, source, ": sliding threshold must be 0.5");
}

}  // namespace

int64_t SatConfig::pooled_channels() const { return std::accumulate(channels.begin(), channels.end(), int64_t(0)); }

const ModalityConfig& SatConfig::modality(const std::string& name) const {
  auto found = modalities.find(lower(name));
  if (found == modalities.end()) found = modalities.find(name_of(parse_modality(name)));
  if (found == modalities.end()) found = modalities.find("*");
  if (found != modalities.end()) return found->second;
  std::string known;
  for (const auto& [key, unused] : modalities) known += (known.empty() ? "" : ", ") + key;
  fail(architecture, ": not made for modality '", name, "'; it knows ", known);
}

SatConfig published_config(const std::string& architecture) {
  if (architecture == "UNET") {
    SatConfig config = published(architecture, {64, 64, 128, 256, 512, 768}, 2);
    config.mid_mask_hidden = {256, 384, 512};
    return config;
  }
  if (architecture == "UNET-L") {
    SatConfig config = published(architecture, {128, 128, 256, 512, 1024, 1536}, 3);
    config.token_hidden = 1536;
    config.mask_hidden = 384;
    config.mid_mask_hidden = {384, 512, 512};
    return config;
  }
  if (architecture == "UNET-H") {
    SatConfig config = published(architecture, {256, 256, 512, 1024, 1536, 2048}, 3);
    config.query_dim = 1536;
    config.token_hidden = 3072;
    config.mask_hidden = 768;
    config.mid_mask_hidden = {768, 1024, 1024};
    return config;
  }
  if (architecture == "UMamba") {
    SatConfig config = published_config("UNET");
    config.architecture = architecture;
    config.backbone = BackboneKind::umamba;
    config.encoder_blocks.assign(6, 1);
    config.decoder_blocks.assign(5, 1);
    config.mamba_layers = 3;
    return config;
  }
  if (architecture == "SwinUNETR") {
    SatConfig config = published(architecture, {48, 48, 96, 192, 384, 768}, 0);
    config.backbone = BackboneKind::swin_unetr;
    config.encoder_blocks.clear();
    config.decoder_blocks.clear();
    config.swin_blocks = {2, 2, 2, 2};
    config.swin_heads = {3, 6, 12, 24};
    config.swin_window = 7;
    config.mid_mask_hidden = {256, 384, 512};
    return config;
  }
  std::string known;
  for (const std::string& name : published_architectures()) known += (known.empty() ? "" : ", ") + name;
  fail("unknown architecture '", architecture, "'; published ones are ", known);
}

const std::vector<std::string>& published_architectures() {
  static const std::vector<std::string> names{"UNET", "UNET-L", "UNET-H", "UMamba", "SwinUNETR"};
  return names;
}

SatConfig config_from_json(const Json& json, const std::string& source) {
  SatConfig config;
  config.architecture = "U-Net";
  config.importance = Rounding::f32;
  const std::map<std::string, int64_t*> sizes{
      {"in_channels", &config.in_channels},       {"text_dim", &config.text_dim},
      {"query_dim", &config.query_dim},           {"heads", &config.heads},
      {"decoder_layers", &config.decoder_layers}, {"feedforward", &config.feedforward},
      {"token_hidden", &config.token_hidden},     {"mask_hidden", &config.mask_hidden},
      {"mamba_layers", &config.mamba_layers},     {"swin_window", &config.swin_window}};
  const std::map<std::string, std::vector<int64_t>*> lists{{"channels", &config.channels},
                                                           {"encoder_blocks", &config.encoder_blocks},
                                                           {"decoder_blocks", &config.decoder_blocks},
                                                           {"mid_mask_hidden", &config.mid_mask_hidden},
                                                           {"swin_blocks", &config.swin_blocks},
                                                           {"swin_heads", &config.swin_heads}};
  if (const Json* named = json.find("backbone")) {
    config.backbone = parse_backbone(named->string(), source);
  } else if (const Json* architecture = json.find("architecture")) {
    for (const BackboneName& known : kBackbones) {
      if (architecture->string() == known.name) config.backbone = known.kind;
    }
  }
  const bool swin = config.backbone == BackboneKind::swin_unetr;
  const std::vector<const char*> all_need{"channels", "preprocess"}, of_unets{"encoder_blocks", "decoder_blocks"},
      of_swin{"swin_blocks", "swin_heads", "swin_window"};
  for (const auto& keys : {all_need, swin ? of_swin : of_unets}) {
    for (const char* needed : keys) SAT_CHECK(json.find(needed), source, ": key '", needed, "' is missing");
  }
  for (const auto& [key, value] : json.members()) {
    if (const auto size = sizes.find(key); size != sizes.end()) {
      *size->second = value.integer();
    } else if (const auto list = lists.find(key); list != lists.end()) {
      *list->second = value.integers();
    } else if (key == "architecture") {
      config.architecture = value.string();
    } else if (key == "orientation") {
      config.orientation = value.string();
    } else if (key == "importance") {
      SAT_CHECK(value.string() == "f16" || value.string() == "f32", source, ": importance is '", value.string(),
                "', must be f16 or f32");
      config.importance = value.string() == "f16" ? Rounding::f16 : Rounding::f32;
    } else if (key == "preprocess") {
      for (const auto& [name, part] : value.members())
        config.modalities[lower(name)] = modality_from_json(part, source);
    } else if (key == "text") {
      if (const Json* width = value.find("dim")) config.text_dim = width->integer();
    } else if (key == "sliding") {
      read_sliding(value, source);
    } else {
      SAT_CHECK(key == "train" || key == "modalities" || key == "backbone", source, ": unknown key '", key, "'");
    }
  }
  check(config, source);
  return config;
}

Json to_json(const SatConfig& config) {
  const auto list = [](const auto& values) {
    Json array = Json::array();
    for (const auto value : values) array.push(value);
    return array;
  };
  Json preprocess = Json::object();
  for (const auto& [name, modality] : config.modalities) {
    const bool clip = modality.normalisation.kind == Normalisation::Kind::clip;
    const std::array<double, 2> bounds{modality.normalisation.low, modality.normalisation.high};
    preprocess.set(name, Json::object({{"spacing", list(modality.spacing_mm)},
                                       {"window", list(modality.window)},
                                       {clip ? "clip" : "clip_percentiles", list(bounds)}}));
  }
  Json json = Json::object({{"architecture", config.architecture},
                            {"in_channels", config.in_channels},
                            {"channels", list(config.channels)}});
  if (config.backbone != BackboneKind::swin_unetr) {
    json.set("encoder_blocks", list(config.encoder_blocks)).set("decoder_blocks", list(config.decoder_blocks));
  }
  json.set("text_dim", config.text_dim).set("query_dim", config.query_dim).set("heads", config.heads);
  json.set("decoder_layers", config.decoder_layers).set("feedforward", config.feedforward);
  json.set("token_hidden", config.token_hidden).set("mask_hidden", config.mask_hidden);
  json.set("mid_mask_hidden", list(config.mid_mask_hidden)).set("orientation", config.orientation);
  json.set("importance", config.importance == Rounding::f16 ? "f16" : "f32").set("preprocess", preprocess);
  if (config.backbone == BackboneKind::umamba) json.set("backbone", "UMamba").set("mamba_layers", config.mamba_layers);
  if (config.backbone == BackboneKind::swin_unetr) {
    json.set("backbone", "SwinUNETR").set("swin_blocks", list(config.swin_blocks));
    json.set("swin_heads", list(config.swin_heads)).set("swin_window", config.swin_window);
  }
  return json;
}

}  // namespace sat
