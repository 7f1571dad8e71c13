// The text encoders' settings as data: as published, as trained natively, and as JSON.
#include "sat/io/words/text.h"
#include "sat/nn/text/text_encoder.h"

namespace sat {

const char* name_of(TextKind kind) {
  switch (kind) {
    case TextKind::ours: return "ours";
    case TextKind::medcpt: return "medcpt";
    case TextKind::basebert: return "basebert";
  }
  return "unknown";
}

TextKind parse_text_kind(const std::string& name) {
  for (TextKind kind : {TextKind::ours, TextKind::medcpt, TextKind::basebert}) {
    if (name == name_of(kind)) return kind;
  }
  fail("text encoder ", quoted(name), " is not known; there are ours, medcpt and basebert");
}

TextEncoderConfig published_text_config(TextKind kind) {
  TextEncoderConfig config;
  config.kind = kind;
  if (kind != TextKind::ours) {
    config.max_tokens = 64;
    config.pooling = Pooling::first;
    config.zero_is_padding = false;
    config.spaced_mask_is_unknown = false;
  }
  return config;
}

TextEncoderConfig native_text_config(TextKind kind) {
  TextEncoderConfig config;
  config.kind = kind;
  if (kind == TextKind::ours) {
    config.start = "<s>";
    config.end = "</s>";
  }
  config.max_tokens = 512;
  config.zero_is_padding = false;
  config.spaced_mask_is_unknown = false;
  config.lower_case = false;
  return config;
}

TextEncoderConfig text_config_from_json(const Json& json, const std::string& source) {
  const Json* kind = json.find("kind");
  SAT_CHECK(kind, source, ": a text encoder's description needs \"kind\": ours, medcpt or basebert");
  TextEncoderConfig config = published_text_config(parse_text_kind(kind->string()));
  for (const auto& [key, value] : json.members()) {
    if (key == "kind") continue;
    if (key == "heads") {
      config.heads = value.integer();
    } else if (key == "start") {
      config.start = value.string();
    } else if (key == "end") {
      config.end = value.string();
    } else if (key == "max_tokens") {
      config.max_tokens = value.integer();
    } else if (key == "pooling") {
      SAT_CHECK(value.string() == "mean" || value.string() == "first", source, ": pooling is ", quoted(value.string()),
                ", it can be mean or first");
      config.pooling = value.string() == "mean" ? Pooling::mean : Pooling::first;
    } else if (key == "zero_is_padding") {
      config.zero_is_padding = value.boolean();
    } else if (key == "spaced_mask_is_unknown") {
      config.spaced_mask_is_unknown = value.boolean();
    } else if (key == "lower_case") {
      config.lower_case = value.boolean();
    } else {
      fail(source, ": a text encoder's description has no key ", quoted(key));
    }
  }
  return config;
}

Json to_json(const TextEncoderConfig& config) {
  Json json = Json::object();
  json.set("kind", name_of(config.kind));
  if (config.heads > 0) json.set("heads", config.heads);
  json.set("start", config.start).set("end", config.end).set("max_tokens", config.max_tokens);
  json.set("pooling", config.pooling == Pooling::mean ? "mean" : "first");
  json.set("zero_is_padding", config.zero_is_padding);
  json.set("spaced_mask_is_unknown", config.spaced_mask_is_unknown);
  json.set("lower_case", config.lower_case);
  return json;
}

}  // namespace sat
