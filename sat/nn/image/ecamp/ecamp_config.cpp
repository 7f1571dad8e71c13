// Published sizes, sizes that tensors show, and the position table.
#include "sat/nn/image/ecamp/ecamp_config.h"

#include <algorithm>
#include <cmath>

#include "sat/tensor/parallel.h"

namespace sat {

namespace {

/// How many of `names` there are one behind another: name(0), name(1), ...
template <class Place>
int64_t count_layers(const Place& place, const char* tensor) {
  int64_t layers = 0;
  while (place(layers).has(tensor)) ++layers;
  return layers;
}

/// Rows of a tensor of rank 2.
int64_t rows_of(const Weights& w, const char* name) {
  const Shape shape = w.shape_of(name);
  SAT_CHECK(shape.rank() == 2, w.source(), ": tensor '", w.prefix(), ".", name, "' has shape ", shape,
            ", needs two axes");
  return shape[0];
}

int64_t heads_of(const Weights& w, const char* what, int64_t width, int64_t head_width) {
  const int64_t heads = std::max<int64_t>(1, width / head_width);
  SAT_CHECK(width > 0 && width % heads == 0, w.source(), ": ", what, " has ", width,
            " channels, which do not divide into ", heads, " heads");
  return heads;
}

}  // namespace

EcampConfig ecamp_base() {
  EcampConfig config;
  config.encoder.patch = 16;
  config.encoder.table = {14, 14};
  config.encoder.layer_scale = false;
  config.decoder = config.encoder;
  config.decoder.width = 512;
  config.decoder.depth = 4;
  config.decoder.heads = 16;
  config.decoder.hidden = 2048;
  config.text = {30000, 768, 6, 6, 1536, 256, 1e-12f};
  return config;
}

VitConfig recognise_ecamp_encoder(const Weights& w) {
  const VitFound found = recognise_vit(w);
  SAT_CHECK(found.naming == VitNaming::timm && !found.config.layer_scale && found.config.registers == 0 &&
                found.config.qkv_bias,
            w.source(), ": a vision transformer that is not ECAMP's, which has timm's names, biases for queries, keys ",
            "and values, no LayerScale and no registers");
  return found.config;
}

EcampConfig recognise_ecamp_config(const Weights& w) {
  EcampConfig config;
  config.encoder = recognise_ecamp_encoder(w);
  config.decoder = config.encoder;
  config.decoder.width = rows_of(w / "decoder_embed", "weight");
  config.decoder.depth = count_layers([&](int64_t i) { return w / "decoder_blocks" / i / "norm1"; }, "weight");
  SAT_CHECK(config.decoder.depth > 0, w.source(), ": an image decoder without blocks (decoder_blocks.0 is missing)");
  config.decoder.heads = heads_of(w, "the image decoder", config.decoder.width, 32);
  config.decoder.hidden = rows_of(w / "decoder_blocks" / 0 / "mlp" / "fc1", "weight");
  const Weights bert = w / "bert_encoder" / "model" / "bert";
  const Weights words = bert / "embeddings" / "word_embeddings", places = bert / "embeddings" / "position_embeddings";
  config.text.vocabulary = rows_of(words, "weight");
  config.text.hidden = words.shape_of("weight")[1];
  config.text.positions = rows_of(places, "weight");
  const auto layer = [&](int64_t i) { return bert / "encoder" / "layer" / i; };
  config.text.layers = count_layers([&](int64_t i) { return layer(i) / "intermediate" / "dense"; }, "weight");
  SAT_CHECK(config.text.layers > 0, w.source(), ": a report encoder without layers (", bert.prefix(),
            ".encoder.layer.0 is missing)");
  config.text.feedforward = rows_of(layer(0) / "intermediate" / "dense", "weight");
  config.text.heads = heads_of(w, "the report encoder", config.text.hidden, 128);
  SAT_CHECK(config.text.hidden == config.encoder.width, w.source(), ": the report encoder has ", config.text.hidden,
            " channels, the image encoder ", config.encoder.width, "; image tokens go to it as they are");
  return config;
}

Tensor fixed_positions(int64_t width, int64_t rows, int64_t columns) {
  SAT_CHECK(width > 0 && width % 4 == 0 && rows > 0 && columns > 0, "fixed positions: ", width, " channels for ", rows,
            " x ", columns, " patches, need a multiple of 4");
  const int64_t group = width / 4;
  Tensor table = zeros({1, 1 + rows * columns, width});
  float* values = table.address<float>();
  parallel_for(rows * columns, 1, [&](int64_t place, int64_t) {
    float* to = values + (1 + place) * width;
    for (int64_t j = 0; j < group; ++j) {
      const double frequency = std::pow(10000., -double(j) / double(width));
      const double x = double(place % columns) * frequency, y = double(place / columns) * frequency;
      to[j] = float(std::sin(x));
      to[group + j] = float(std::cos(x));
      to[2 * group + j] = float(std::sin(y));
      to[3 * group + j] = float(std::cos(y));
    }
  });
  return table;
}

}  // namespace sat
