// Keys of task knowledge, their ranges, and the way back.
#include "examples/sat/train/knowledge/knowledge_config.h"

#include "sat/io/words/text.h"

namespace sat::cli {

namespace {

constexpr int64_t kMostPairs = 65536, kMostMonitored = 1000000, kLongestAxis = 4096;

RandomEncoderPart read_random(ConfigSection part) {
  RandomEncoderPart random;
  random.hidden = part.integer("hidden", random.hidden, 1, 4096);
  random.layers = part.integer("layers", random.layers, 1, 100);
  random.heads = part.integer("heads", random.heads, 1, 256);
  random.feedforward = part.integer("feedforward", random.feedforward, 1, 16384);
  if (random.hidden % random.heads != 0) part.refuse("heads", "does not divide \"hidden\"");
  part.finish();
  return random;
}

/// `relations`: whether the file has relations beside what "ratio" is of.
KnowledgeFilePart read_file_part(ConfigSection& of, const std::string& key, double ratio, double relations_ratio,
                                 bool relations) {
  KnowledgeFilePart file;
  if (!of.has(key)) {
    of.value(key);
    return file;
  }
  ConfigSection part = of.section(key);
  file.file = part.path("file");
  if (file.file.empty()) part.refuse("file", "is missing");
  file.ratio = part.number("ratio", ratio, 0, 1e6);
  if (relations) file.relations_ratio = part.number("relations_ratio", relations_ratio, 0, 1e6);
  part.finish();
  return file;
}

std::vector<int64_t> sizes_of(ConfigSection& part, const std::string& key, int64_t most) {
  const Json json = part.value(key);
  if (json.is_null()) return {};
  try {
    std::vector<int64_t> sizes = json.integers();
    for (int64_t size : sizes) SAT_CHECK(size >= 1 && size <= most, "out of range");
    SAT_CHECK(sizes.size() >= 2 && sizes.size() <= 8, "stages");
    return sizes;
  } catch (const Error&) {
    part.refuse(key, "is no list of two to eight whole numbers from 1 to " + std::to_string(most));
  }
}

KnowledgeScansPart read_scans(ConfigSection part) {
  KnowledgeScansPart scans;
  scans.data = part.paths("data");
  if (scans.data.empty()) part.refuse("data", "is missing: the lists of cases to learn from");
  scans.cache = part.new_path("cache");
  scans.encoder = part.choice("encoder", {"UNET", "UNET-L", "UNET-H"});
  scans.channels = sizes_of(part, "channels", 4096);
  scans.blocks = sizes_of(part, "blocks", 64);
  if (scans.channels.size() != scans.blocks.size()) part.refuse("blocks", "needs a number a stage, as \"channels\"");
  scans.crop = part.sizes("crop", scans.crop, kLongestAxis);
  const int64_t stride = int64_t(1) << (scans.channels.empty() ? 5 : scans.channels.size() - 1);
  for (int64_t size : scans.crop) {
    if (size % stride != 0)
      part.refuse("crop", "has " + std::to_string(size) + " voxels on an axis; the encoder takes multiples of " +
                              std::to_string(stride));
  }
  scans.crops = part.integer("crops", scans.crops, 1, 4096);
  scans.others = part.integer("others", scans.others, 0, 4096);
  scans.workers = part.integer("workers", scans.workers, 1, 64);
  scans.skip_problems = part.choice("on_error", {"skip", "stop"}) == "skip";
  part.finish();
  return scans;
}

Json to_json(const KnowledgeFilePart& file, bool relations) {
  Json json = Json::object({{"file", file.file}, {"ratio", file.ratio}});
  if (relations) json.set("relations_ratio", file.relations_ratio);
  return json;
}

template <class Items>
Json list_of(const Items& items) {
  Json list = Json::array();
  for (const auto& item : items) list.push(item);
  return list;
}

}  // namespace

KnowledgePart read_knowledge(ConfigSection part) {
  KnowledgePart knowledge;
  knowledge.encoder = part.paths("encoder");
  if (part.has("random_encoder")) knowledge.random_encoder = read_random(part.section("random_encoder"));
  if (knowledge.encoder.empty() == !knowledge.random_encoder) {
    part.refuse("encoder", knowledge.random_encoder ? "is given beside \"knowledge.random_encoder\""
                                                    : "is missing: the text encoder to start from");
  }
  knowledge.vocabulary = part.path("vocabulary");
  if (knowledge.vocabulary.empty()) part.refuse("vocabulary", "is missing; it is the encoder's vocab.txt");
  knowledge.encoder_config = part.value("encoder_config");
  if (knowledge.encoder_config.is_null()) knowledge.encoder_config = Json("file");
  if (knowledge.encoder_config.kind() != Json::Kind::object) part.choice("encoder_config", {"file", "native"});
  knowledge.open_bert_layer = part.integer("open_bert_layer", knowledge.open_bert_layer, -1, 1000);
  knowledge.pairs = part.integer("pairs", knowledge.pairs, 2, kMostPairs);
  knowledge.monitored_pairs = part.integer("monitored_pairs", knowledge.monitored_pairs, 1, kMostMonitored);
  knowledge.umls_definitions = read_file_part(part, "umls_definitions", 0.1, 0, false);
  knowledge.umls_graph = read_file_part(part, "umls_graph", 0.02, 0, false);
  knowledge.web = read_file_part(part, "web", 1, 0.5, true);
  knowledge.supplement = read_file_part(part, "supplement", 1, 1, true);
  if (part.has("scans")) knowledge.scans = read_scans(part.section("scans"));
  knowledge.compare = part.path("compare");
  part.finish();
  return knowledge;
}

Json to_json(const KnowledgePart& part) {
  Json json = Json::object();
  if (!part.encoder.empty()) json.set("encoder", list_of(part.encoder));
  if (part.random_encoder) {
    json.set("random_encoder", Json::object({{"hidden", part.random_encoder->hidden},
                                             {"layers", part.random_encoder->layers},
                                             {"heads", part.random_encoder->heads},
                                             {"feedforward", part.random_encoder->feedforward}}));
  }
  json.set("vocabulary", part.vocabulary).set("encoder_config", part.encoder_config);
  json.set("open_bert_layer", part.open_bert_layer).set("pairs", part.pairs);
  json.set("monitored_pairs", part.monitored_pairs);
  if (!part.umls_definitions.file.empty()) json.set("umls_definitions", to_json(part.umls_definitions, false));
  if (!part.umls_graph.file.empty()) json.set("umls_graph", to_json(part.umls_graph, false));
  if (!part.web.file.empty()) json.set("web", to_json(part.web, true));
  if (!part.supplement.file.empty()) json.set("supplement", to_json(part.supplement, true));
  if (part.scans) {
    const KnowledgeScansPart& scans = *part.scans;
    Json of = Json::object({{"data", list_of(scans.data)}, {"encoder", scans.encoder}});
    if (!scans.cache.empty()) of.set("cache", scans.cache);
    if (!scans.channels.empty()) of.set("channels", list_of(scans.channels)).set("blocks", list_of(scans.blocks));
    of.set("crop", list_of(scans.crop)).set("crops", scans.crops).set("others", scans.others);
    of.set("workers", scans.workers).set("on_error", scans.skip_problems ? "skip" : "stop");
    json.set("scans", std::move(of));
  }
  if (!part.compare.empty()) json.set("compare", part.compare);
  return json;
}

const std::vector<std::string>& free_knowledge_keys() {
  static const std::vector<std::string> keys{"knowledge.encoder",         "knowledge.vocabulary",
                                             "knowledge.monitored_pairs", "knowledge.umls_definitions.file",
                                             "knowledge.umls_graph.file", "knowledge.web.file",
                                             "knowledge.supplement.file", "knowledge.scans.data",
                                             "knowledge.scans.cache",     "knowledge.scans.workers",
                                             "knowledge.scans.on_error",  "knowledge.compare"};
  return keys;
}

}  // namespace sat::cli
