// The source of features as JSON, and the comparison of two.
#include "sat/io/features/feature_source.h"

#include "sat/io/words/text.h"

namespace sat {

namespace {

Json layers_json(const FeatureSource& source) {
  Json layers = Json::array();
  for (const int64_t layer : source.layers) layers.push(layer);
  return layers;
}

std::string told(const std::string& text) { return text.empty() ? "not recorded" : printable(text); }

}  // namespace

Json to_json(const FeatureSource& source) {
  return Json::object({{"model", source.model},
                       {"model_sha256", source.identity},
                       {"layers", layers_json(source)},
                       {"tokens", source.tokens},
                       {"norm", source.norm},
                       {"preprocessing", source.preprocessing},
                       {"remark", source.remark}});
}

FeatureSource feature_source_from_json(const Json& json, const std::string& where) {
  FeatureSource source;
  try {
    for (const auto& [key, value] : json.members()) {
      if (key == "model") {
        source.model = value.string();
      } else if (key == "model_sha256") {
        source.identity = value.string();
        SAT_CHECK(
            source.identity.empty() || (source.identity.size() == 64 &&
                                        source.identity.find_first_not_of("0123456789abcdef") == std::string::npos),
            "model_sha256 is ", quoted(source.identity), ", it should be 64 hex digits");
      } else if (key == "layers") {
        source.layers = value.integers();
      } else if (key == "tokens") {
        source.tokens = value.string();
      } else if (key == "norm") {
        source.norm = value.string();
      } else if (key == "preprocessing") {
        source.preprocessing = value;
      } else if (key == "remark") {
        source.remark = value.string();
      } else {
        fail("unknown key ", quoted(key));
      }
    }
  } catch (const Error& error) {
    fail(where, ": where features come from: ", error.what());
  }
  return source;
}

std::string difference(const FeatureSource& given, const FeatureSource& wanted) {
  const auto differ = [](const char* what, const std::string& is, const std::string& should) {
    return should.empty() || is == should ? "" : std::string(what) + told(is) + ", not " + told(should);
  };
  const auto list = [](const FeatureSource& one) { return one.layers.empty() ? "" : layers_json(one).dump(); };
  const auto steps = [](const FeatureSource& one) {
    return one.preprocessing.is_null() ? "" : one.preprocessing.dump();
  };
  for (const std::string& found :
       {differ("the model is ", given.model, wanted.model),
        differ("the model's file has SHA-256 ", given.identity, wanted.identity),
        differ("the layers are ", list(given), list(wanted)), differ("the tokens are ", given.tokens, wanted.tokens),
        differ("the norm is ", given.norm, wanted.norm),
        differ("the preprocessing is ", steps(given), steps(wanted))}) {
    if (!found.empty()) return found;
  }
  return "";
}

}  // namespace sat
