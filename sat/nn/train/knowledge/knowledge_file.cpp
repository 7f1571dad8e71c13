// Files to weights and back.
#include "sat/nn/train/knowledge/knowledge_file.h"

#include <cmath>
#include <map>
#include <utility>

#include "sat/io/checkpoints/checkpoint.h"
#include "sat/io/checkpoints/safetensors.h"
#include "sat/io/files/hash.h"
#include "sat/nn/train/data/random.h"
#include "sat/nn/train/segmentation/initial_weights.h"
#include "sat/tensor/context.h"

namespace sat {

namespace {

constexpr uint32_t kProjectionStream = 0x6B6E6F00, kModalityStream = 0x6B6E6F10, kEncoderStream = 0x6B6E6F20;
constexpr double kEncoderDeviation = 0.02;

bool starts_with(const std::string& text, const std::string& start) {
  return text.compare(0, start.size(), start) == 0;
}

/// What a text encoder's file holds for pre-training alone.
bool belongs_to_pretraining(const std::string& name) {
  return name == "temperature" || starts_with(name, "atlas_tower.");
}

Tensor normal(const Shape& shape, uint64_t seed, uint32_t stream, double deviation) {
  KeyedRandom random(seed, 0, stream, Purpose::weights);
  Tensor x(shape);
  for (int64_t i = 0; i < x.numel() && !Context::current().dry(); ++i) {
    x.data<float>()[i] = float(deviation * random.normal());
  }
  return x;
}

/// Names and shapes that the model reads.
std::map<std::string, Shape> shapes_of(int64_t hidden, const std::optional<SatConfig>& atlas) {
  ContextOptions options;
  options.dry = true;
  Context dry(options);
  const UseContext use(dry);
  std::map<std::string, Shape> shapes;
  const KnowledgeModel model(Weights::made([&](const std::string& name, const Shape& shape) {
                               shapes[name] = shape;
                               return Tensor(shape);
                             }),
                             hidden, atlas);
  return shapes;
}

int64_t width_of(const Weights& text) {
  for (const Weights::Entry& entry : text.entries()) {
    const std::string end = "word_embeddings.weight";
    if (entry.name.size() < end.size() || entry.name.compare(entry.name.size() - end.size(), end.size(), end) != 0) {
      continue;
    }
    SAT_CHECK(entry.shape.rank() == 2, text.source(), ": ", entry.name, " has shape ", entry.shape, ", needs two axes");
    return entry.shape[1];
  }
  fail(text.source(), ": no word embeddings: not a text encoder");
}

/// A tensor that no file has.
Tensor first_value(const std::string& name, const Shape& shape, const Weights& others, uint64_t seed) {
  if (name == "temperature") return full(shape, float(kFirstTemperature));
  if (name == "modality_embed.weight") return normal(shape, seed, kModalityStream, 1);
  if (name == "projection_layer.0.weight" || name == "projection_layer.2.weight") {
    return normal(shape, seed, kProjectionStream + uint32_t(name[17] - '0'), 1 / std::sqrt(double(shape[1])));
  }
  const size_t dot = name.rfind('.');
  return (others / name.substr(0, dot)).get(name.substr(dot + 1), shape);
}

/// The file's rows, and one for microscopy.
Weights::Loader five_rows(const Weights::Entry& entry, uint64_t seed) {
  return [load = entry.load, shape = entry.shape, seed] {
    Tensor table = normal(shape.with(0, kModalityRows), seed, kModalityStream, 1);
    copy_into(table, 0, load());
    return table;
  };
}

using Entries = std::map<std::string, Weights::Entry>;

/// Adds what the model reads and no file has; drops what it does not read.
void complete(KnowledgeStart& start, Entries entries, int64_t hidden, const std::optional<SatConfig>& atlas,
              uint64_t seed) {
  const std::map<std::string, Shape> needed = shapes_of(hidden, atlas);
  const Weights drawn = initial_weights(needed, seed);
  for (const auto& [name, shape] : needed) {
    const auto known = entries.find(name);
    if (known == entries.end()) {
      start.drawn.push_back(name);
      entries[name] = {name, shape, DType::f32,
                       [name = name, shape = shape, drawn, seed] { return first_value(name, shape, drawn, seed); }};
    } else if (name == "modality_embed.weight" && known->second.shape == shape.with(0, kModalityRows - 1)) {
      known->second.load = five_rows(known->second, seed);
      known->second.shape = shape;
      start.drawn.push_back(name + " (row " + std::to_string(kModalityRows) + ")");
    }
  }
  std::vector<Weights::Entry> all;
  for (auto& [name, entry] : entries) {
    if (!belongs_to_pretraining(name) || needed.count(name) != 0) all.push_back(std::move(entry));
  }
  start.weights = Weights(std::move(all), start.source);
}

std::map<std::string, Shape> mpnet_shapes(const TextBackboneConfig& sizes) {
  ContextOptions options;
  options.dry = true;
  Context dry(options);
  const UseContext use(dry);
  std::map<std::string, Shape> shapes;
  const Mpnet model(Weights::made([&](const std::string& name, const Shape& shape) {
                      shapes["text_tower.biolord." + name] = shape;
                      return Tensor(shape);
                    }),
                    sizes);
  return shapes;
}

NamedTensors text_part_of(const NamedTensors& values) {
  NamedTensors of_text;
  for (const auto& [name, tensor] : values) {
    if (!belongs_to_pretraining(name)) of_text[name] = tensor;
  }
  return of_text;
}

}  // namespace

KnowledgeStart open_knowledge_start(const std::vector<std::string>& paths, const std::optional<TextEncoderConfig>& text,
                                    const std::optional<SatConfig>& atlas, uint64_t seed) {
  const TextFile file = open_text_file(paths);
  KnowledgeStart start;
  start.text = text.value_or(file.config);
  start.source = file.path;
  SAT_CHECK(!atlas || start.text.kind == TextKind::ours, file.path, ": a text encoder of kind ",
            name_of(start.text.kind), " has no projection; stage 2 takes kind ours");
  Entries entries;
  for (Weights::Entry& entry : file.weights.entries()) entries[entry.name] = entry;
  for (const std::string& path : paths) {
    for (Weights::Entry& entry : open_checkpoint(path).weights.finite().entries()) {
      if (starts_with(entry.name, "module.")) entry.name.erase(0, 7);
      if (belongs_to_pretraining(entry.name)) entries[entry.name] = entry;
    }
  }
  complete(start, std::move(entries), width_of(file.weights), atlas, seed);
  return start;
}

KnowledgeStart random_knowledge_start(const TextBackboneConfig& sizes, const std::optional<SatConfig>& atlas,
                                      uint64_t seed) {
  KnowledgeStart start;
  start.text = native_text_config(TextKind::ours);
  start.source = "a random text encoder";
  Entries entries;
  for (const auto& [name, shape] : mpnet_shapes(sizes)) {
    const auto stream = uint32_t(kEncoderStream + entries.size());
    entries[name] = {name, shape, DType::f32, [name = name, shape = shape, seed, stream] {
                       const bool norm = name.find("LayerNorm") != std::string::npos;
                       const bool bias = name.size() > 5 && name.compare(name.size() - 5, 5, ".bias") == 0;
                       if (norm || bias) return full(shape, norm && !bias ? 1.0F : 0.0F);
                       return normal(shape, seed, stream, kEncoderDeviation);
                     }};
    start.drawn.push_back(name);
  }
  complete(start, std::move(entries), sizes.hidden, atlas, seed);
  return start;
}

TextEncoder text_encoder_of(const KnowledgeStart& start, const NamedTensors& values, const WordPiece& vocabulary) {
  return TextEncoder(Weights::from_tensors(text_part_of(values), start.source), vocabulary, start.text);
}

void write_trained_text(const std::string& path, const KnowledgeStart& start, const NamedTensors& parameters,
                        const std::string& identity) {
  TextFile text;
  text.path = path;
  text.weights = Weights::from_tensors(text_part_of(parameters), path);
  text.config = start.text;
  text.identity = identity;
  write_text_file(path, text, DType::f32);
}

void write_pretraining(const std::string& path, const KnowledgeStart& start, const NamedTensors& parameters) {
  write_safetensors(path, parameters, {{"format", "sat-pretraining-1"}, {"text", to_json(start.text).dump()}});
}

}  // namespace sat
