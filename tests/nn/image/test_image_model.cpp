// Image models from files: what is recognised, what they give, what is refused, and that results depend on the image
// alone.
#include <doctest/doctest.h>

#include <cmath>
#include <fstream>

#include "sat/io/checkpoints/safetensors.h"
#include "sat/nn/image/image_file.h"
#include "sat/nn/image/image_model.h"
#include "sat/tensor/memory/memory.h"
#include "tests/support/golden.h"
#include "tests/support/image/tiny_vit.h"

using namespace sat;
using namespace sat::test;

namespace {

void write(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

struct Files {
  TempDir folder;
  std::string model = folder / "model.safetensors";

  explicit Files(const Tensors& tensors = tiny_vit(), const std::map<std::string, std::string>& metadata = {}) {
    write_safetensors(model, tensors, metadata);
  }
  std::shared_ptr<const ImageModel> open(const std::string& config = "") const {
    ImageModelOptions options;
    options.model = model;
    options.config = config;
    return ImageModel::open(options);
  }
  std::string config(const std::string& text) const {
    write(folder / "given.json", text);
    return folder / "given.json";
  }
};

/// Heads are no part of the tensors: 48 / 64 would be none.
constexpr const char* kHeads = R"({"num_attention_heads": 3})";

Tensor images(int64_t batch, int64_t height = 56, int64_t width = 56) {
  return field("pixels", {batch, height, width, 3}, 1.5);
}

template <class Body>
std::string refusal(const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was wrong";
}

bool has(const std::string& text, const std::string& part) {
  CAPTURE(text);
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("an encoder is found behind any wrapper and under both namings, and gives the same bits") {
  const Files plain;
  const Tensor want = plain.open(plain.config(kHeads))->encode(images(1)).features;
  for (const char* prefix : {"dinov2.", "module.", "module.backbone.", "teacher.backbone.", "vit."}) {
    CAPTURE(prefix);
    const Files files(tiny_vit(VitNaming::hugging_face, prefix));
    Tensors renamed;
    for (const auto& [name, tensor] : tiny_vit()) renamed[prefix + name] = tensor;
    write_safetensors(files.model, renamed, {});
    CHECK(mismatch(files.open(files.config(kHeads))->encode(images(1)).features, want, {}) == "");
  }
  CHECK(open_image_file(plain.model).kind == "rad-dino");
  const Files timm(tiny_vit(VitNaming::timm));
  CHECK(timm.open(timm.config(kHeads))->kind() == "rad-dino");
  VitConfig config = tiny_vit_config();
  config.layer_scale = false;
  CHECK(open_image_file(Files(tiny_vit(VitNaming::timm, "", config)).model).kind == "ecamp");
}

TEST_CASE("of a student and a teacher the teacher is taken") {
  Tensors both = tiny_vit(VitNaming::timm, "student.backbone.");
  for (const auto& [name, tensor] : tiny_vit(VitNaming::timm, "teacher.backbone.")) both[name] = tensor;
  CHECK(open_image_file(Files(both).model).weights.prefix() == "teacher.backbone");
}

TEST_CASE("a config.json beside the model says what its tensors do not") {
  const Files files;
  write(files.folder / "config.json", R"({"num_attention_heads": 4, "image_size": 70, "interpolation": "offset"})");
  const auto model = files.open();
  CHECK(model->heads() == 4);
  CHECK(model->input_size() == 70);
  CHECK(open_image_file(files.model).positions == PositionRule::offset);
  CHECK(open_image_file(files.model, files.config(R"({"interpolate_offset": 0.1})")).positions == PositionRule::offset);
  CHECK(open_image_file(files.model, files.config("{}")).positions == PositionRule::size);
}

TEST_CASE("features have the shapes of their tokens, and layers are joined channel by channel") {
  const Files files;
  const auto model = files.open(files.config(kHeads));
  const auto shape = [&](ImageTokens tokens, const std::vector<int64_t>& layers) {
    EncodeOptions options;
    options.tokens = tokens;
    options.layers = layers;
    return model->encode(images(2, 42, 70), options).features.shape;
  };
  CHECK(shape(ImageTokens::cls, {}) == Shape{2, 48});
  CHECK(shape(ImageTokens::cls, {1, 2}) == Shape{2, 96});
  CHECK(shape(ImageTokens::patches, {2}) == Shape{2, 15, 48});
  CHECK(shape(ImageTokens::mean, {1}) == Shape{2, 48});
  CHECK(shape(ImageTokens::cls_mean, {1, 2}) == Shape{2, 144});
  CHECK(shape(ImageTokens::all, {}) == Shape{2, 16, 48});
}

TEST_CASE("all tokens hold the class token, then the patches, whose mean is the mean") {
  const Files files;
  const auto model = files.open(files.config(kHeads));
  const auto features = [&](ImageTokens tokens, bool normed) {
    EncodeOptions options;
    options.tokens = tokens;
    options.normed = normed;
    return model->encode(images(2), options).features;
  };
  for (const bool normed : {true, false}) {
    const Tensor all = features(ImageTokens::all, normed), patches = features(ImageTokens::patches, normed);
    CHECK(mismatch(features(ImageTokens::cls, normed).select(1), all.select(1).select(0), {}) == "");
    CHECK(mismatch(patches.select(1), all.select(1).slice(1, 17), {}) == "");
    Tensor mean = zeros({48});
    for (int64_t p = 0; p < 16; ++p) {
      for (int64_t c = 0; c < 48; ++c) mean.data<float>()[c] += patches.data<float>()[(16 + p) * 48 + c] / 16;
    }
    CHECK(mismatch(features(ImageTokens::mean, normed).select(1), mean, {0, 1e-5}) == "");
  }
}

TEST_CASE("features of an image have the same bits in any batch and with any number of threads") {
  const Files files;
  const auto model = files.open(files.config(kHeads));
  EncodeOptions options;
  options.tokens = ImageTokens::cls_mean;
  options.attention = 2;
  const EncodedImages batch = model->encode(images(5), options);
  for (const int threads : {1, 2, 3}) {
    ContextOptions chosen = model->context_options();
    chosen.threads = threads;
    Context context(chosen);
    UseContext use(context);
    for (int64_t image = 0; image < 5; ++image) {
      const EncodedImages alone = model->encode(images(5).slice(image, image + 1).clone(), options);
      CHECK(mismatch(alone.features, batch.features.slice(image, image + 1), {}) == "");
      CHECK(mismatch(alone.attention, batch.attention.slice(image, image + 1), {}) == "");
    }
  }
}

TEST_CASE("attention is a mean's weights, of all heads or one") {
  const Files files;
  const auto model = files.open(files.config(kHeads));
  EncodeOptions options;
  options.attention = 1;
  const Tensor all = model->encode(images(2), options).attention;
  CHECK(all.shape == Shape{2, 3, 17, 17});
  double sum = 0;
  for (int64_t key = 0; key < 17; ++key) sum += double(all.data<float>()[key]);
  CHECK(sum == doctest::Approx(1));
  options.head = 2;
  const Tensor one = model->encode(images(2), options).attention;
  CHECK(one.shape == Shape{2, 1, 17, 17});
  CHECK(mismatch(one.select(1).select(0), all.select(1).select(2), {}) == "");
}

TEST_CASE("a head gives maps of the images' size, a connector tokens of its language model's width") {
  const Files files;
  write_safetensors(files.folder / "head.safetensors", tiny_head("linear", 3), {});
  write_safetensors(files.folder / "connector.safetensors", tiny_connector(20), {});
  ImageModelOptions options;
  options.model = files.model;
  options.config = files.config(kHeads);
  options.head = files.folder / "head.safetensors";
  options.connector = files.folder / "connector.safetensors";
  const auto model = ImageModel::open(options);
  CHECK(model->classes() == 3);
  CHECK(model->head_layers() == std::vector<int64_t>{2});
  CHECK(model->segment(images(2)).shape == Shape{2, 56, 56, 3});
  CHECK(model->connect(images(2)).shape == Shape{2, 16, 20});
  options.head_layers = {1};
  CHECK(ImageModel::open(options)->head_layers() == std::vector<int64_t>{1});
}

TEST_CASE("what a run is planned to hold is what it holds") {
  const Files files;
  const auto model = files.open(files.config(kHeads));
  for (const int64_t batch : {1, 3}) {
    EncodeOptions options;
    options.tokens = ImageTokens::patches;
    options.layers = {1, 2};
    Context context(model->context_options());
    UseContext use(context);
    const int64_t planned = model->planned_bytes({batch, 56, 56, 3}, &options);
    const Tensor batch_of = images(batch);
    context.memory()->reset_peak();
    model->encode(batch_of, options);
    CHECK(planned - model->weight_bytes() == context.memory()->peak_bytes());
  }
}

TEST_CASE("weights that say they were generated are remarked on") {
  CHECK(open_image_file(Files(tiny_vit(), {{"generated", "by a rule"}}).model).remark == "untrained weights");
  CHECK(open_image_file(Files().model).remark.empty());
}

TEST_CASE("files that are no encoder are refused in a sentence") {
  const auto opened = [](const Tensors& tensors) { return refusal([&] { open_image_file(Files(tensors).model); }); };
  CHECK(has(opened({{"weight", zeros({2})}}), "no image encoder"));
  CHECK(has(opened({{"cls_token", zeros({1, 1, 4})}}), "no vision transformer"));
  Tensors two = tiny_vit(VitNaming::timm, "a.");
  for (const auto& [name, tensor] : tiny_vit(VitNaming::timm, "b.")) two[name] = tensor;
  CHECK(has(opened(two), "2 image encoders, of which none is the teacher's: 'a', 'b'"));

  const auto loaded = [](const Tensors& tensors, const std::string& config = kHeads) {
    return refusal([&] {
      const Files files(tensors);
      files.open(files.config(config))->encode(images(1));
    });
  };
  Tensors wrong = tiny_vit();
  wrong.erase("layernorm.weight");
  CHECK(has(loaded(wrong), "layernorm.weight"));
  wrong = tiny_vit();
  wrong.erase("encoder.layer.1.mlp.fc2.bias");
  CHECK(has(loaded(wrong), "fc2.bias"));
  wrong = tiny_vit();
  wrong["encoder.layer.1.layer_scale1.lambda1"] = zeros({47});
  CHECK(has(loaded(wrong), "the model needs [48]"));
  wrong = tiny_vit();
  wrong["embeddings.position_embeddings"] = zeros({1, 16, 48});
  CHECK(has(loaded(wrong), "no square grid"));
  wrong = tiny_vit();
  wrong["embeddings.cls_token"].data<float>()[5] = NAN;
  CHECK(has(loaded(wrong), "embeddings.cls_token"));
  CHECK(has(loaded(tiny_vit(), R"({"num_attention_heads": 5})"), "do not divide into 5 heads"));
  CHECK(has(loaded(tiny_vit(), R"({"hidden_size": 64})"), "hidden_size is 64, the tensors say 48"));
  CHECK(has(loaded(tiny_vit(), R"({"use_swiglu_ffn": true})"), "not supported"));
  CHECK(has(loaded(tiny_vit(), R"({"interpolation": "cubic"})"), "it should be"));
  CHECK(has(loaded(tiny_vit(), R"({"image_size": 7})"), "image_size is 7"));
  CHECK(has(loaded(tiny_vit(), R"({"layer_norm_eps": -1})"), "layer_norm_eps is -1"));
  CHECK(has(loaded(tiny_vit(), "{"), "given.json"));
  CHECK(has(refusal([] { ImageModel::open({}); }), "no model was named"));
}

TEST_CASE("layers, heads and files that do not fit the model are refused in a sentence") {
  const Files files;
  const auto model = files.open(files.config(kHeads));
  const auto encode = [&](const EncodeOptions& options) { return refusal([&] { model->encode(images(1), options); }); };
  EncodeOptions options;
  options.layers = {3};
  CHECK(has(encode(options), "there is no layer 3, the model has 1 to 2"));
  options.layers = {2, 1};
  CHECK(has(encode(options), "in ascending order"));
  options = {};
  options.attention = 3;
  CHECK(has(encode(options), "there is no layer 3"));
  options.attention = 1;
  options.head = 3;
  CHECK(has(encode(options), "there is no head 3"));
  CHECK(has(refusal([&] { model->encode(images(1, 13, 56)); }), "of at least 14 x 14 pixels"));
  CHECK(has(refusal([&] { model->segment(images(1)); }), "no segmentation head was opened"));
  CHECK(has(refusal([&] { model->connect(images(1)); }), "no connector was opened"));
  CHECK(has(refusal([] { parse_image_tokens("class"); }), "one of cls, patches, mean, cls+mean, all"));

  ImageModelOptions chosen;
  chosen.model = files.model;
  chosen.config = files.config(kHeads);
  chosen.connector = files.folder / "connector.safetensors";
  write_safetensors(chosen.connector, {{"connector.weight", zeros({4, 40})}, {"connector.bias", zeros({4})}}, {});
  CHECK(has(refusal([&] { ImageModel::open(chosen); }), "takes tokens of 40 channels, the encoder's have 48"));
  chosen.connector.clear();
  chosen.head = files.folder / "head.safetensors";
  write_safetensors(chosen.head, {{"conv.weight", zeros({2, 40, 1, 1})}, {"conv.bias", zeros({2})}}, {});
  CHECK(has(refusal([&] { ImageModel::open(chosen); }), "features of 40 channels, the encoder's have 48"));
  chosen.head.clear();
  chosen.max_ram = 1000;
  CHECK(has(refusal([&] { ImageModel::open(chosen); }), "less than the program itself needs"));
}
