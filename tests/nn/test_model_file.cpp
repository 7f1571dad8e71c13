// A model's file is opened under whatever names training gave its tensors, or refused with all that is wrong with it;
// and what is not a number never becomes an empty mask.
#include "sat/nn/sat/model_file.h"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "sat/io/checkpoints/safetensors.h"
#include "sat/io/masks/restore.h"
#include "sat/nn/run/session.h"
#include "sat/nn/sat/sat_model.h"
#include "sat/nn/text/embedding_bank.h"
#include "tests/support/checkpoint_bytes.h"
#include "tests/support/golden.h"
#include "tests/support/tiny_model.h"

namespace {

using namespace sat;
using namespace sat::test;

using Tensors = std::map<std::string, Tensor>;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInfinite = std::numeric_limits<float>::infinity();

const std::string kDescription = [] {
  SatConfig config = tiny_config();
  config.mid_mask_hidden.clear();
  return to_json(config).dump();
}();

Tensors tiny_tensors() {
  Tensors tensors;
  SatConfig config = tiny_config();
  config.mid_mask_hidden.clear();
  const SatModel model(Weights::made([&](const std::string& name, const Shape& shape) {
                         return tensors[name] = generated_weight(name, shape);
                       }),
                       config);
  return tensors;
}

void write(const std::string& path, const Tensors& tensors) {
  write_safetensors(path, tensors, {{"config", kDescription}});
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::vector<std::string> names_of(const Weights& weights) {
  std::vector<std::string> names;
  for (const Weights::Entry& entry : weights.entries()) names.push_back(entry.name);
  return names;
}

/// "accepted" if a small scan is segmented, else the message.
std::string segment(const std::string& model, const std::string& bank, Precision precision = Precision::exact) {
  ModelOptions options;
  options.model = model;
  options.bank = bank;
  options.precision = precision;
  RunOptions run;
  run.modality = "mri";
  return message_of([&] { Session(Model::open(options)).run(tiny_scan({20, 18, 12}), {"prompt 0", "prompt 3"}, run); });
}

}  // namespace

TEST_CASE("wrappers around the network are taken off in any order, wherever they stand") {
  const Tensors tensors = tiny_tensors();
  const TempDir folder;
  write(folder / "plain", tensors);
  const std::vector<std::string> plain = names_of(open_model_file(folder / "plain").weights);
  CHECK(plain.size() == tensors.size());
  for (const char* prefix : {"module.", "_orig_mod.", "_fsdp_wrapped_module.", "model.", "module._orig_mod.",
                             "_orig_mod.module.", "module.module.", "model._orig_mod.module.", "module.model.",
                             "_fsdp_wrapped_module._checkpoint_wrapped_module."}) {
    CAPTURE(prefix);
    Tensors wrapped;
    for (const auto& [name, tensor] : tensors) wrapped[prefix + name] = tensor;
    write(folder / "wrapped", wrapped);
    CHECK(names_of(open_model_file(folder / "wrapped").weights) == plain);
  }
  Tensors inside;
  for (const auto& [name, tensor] : tensors) {
    std::string wrapped = name;
    if (name.rfind("backbone.", 0) == 0) wrapped.replace(0, 9, "_orig_mod.backbone._fsdp_wrapped_module.");
    inside[wrapped] = tensor;
  }
  inside["n_averaged"] = from_ids({}, {3});
  write(folder / "inside", inside);
  CHECK(names_of(open_model_file(folder / "inside").weights) == plain);
}

TEST_CASE("two tensors that become one without their wrappers are refused, and an alias is not") {
  Tensors tensors = tiny_tensors();
  const TempDir folder;
  const std::string name = "mask_embed_proj.0.weight";
  REQUIRE(tensors.count(name) == 1);
  tensors["module." + name] = tensors[name];
  write(folder / "twice", tensors);
  const std::string message = message_of([&] { open_model_file(folder / "twice"); });
  CHECK(contains(message, "'" + name + "' and 'module." + name + "' are both"));
  tensors.erase("module." + name);
  const std::string conv = "backbone.encoder.stages.0.0.convs.0.conv.weight";
  REQUIRE(tensors.count(conv) == 1);
  tensors["backbone.decoder.encoder.stages.0.0.convs.0.conv.weight"] = tensors[conv];
  tensors["backbone.encoder.stages.0.0.convs.0.all_modules.0.weight"] = tensors[conv];
  write(folder / "alias", tensors);
  CHECK(message_of([&] { open_model_file(folder / "alias"); }) == "accepted");
}

TEST_CASE("all that a file lacks is named at once, and what has its place") {
  Tensors tensors = tiny_tensors();
  const TempDir folder;
  const std::string first = tensors.begin()->first, second = std::next(tensors.begin())->first;
  Tensors few = tensors;
  few.erase(first);
  write(folder / "few", few);
  CHECK(contains(message_of([&] { open_model_file(folder / "few"); }), "tensor '" + first + "' of shape ["));
  few.erase(second);
  write(folder / "few", few);
  const std::string two = message_of([&] { open_model_file(folder / "few"); });
  CHECK(contains(two, "2 tensors are missing: '" + first + "'"));
  CHECK(contains(two, "'" + second + "'"));
  CHECK(contains(message_of([&] {
                   write(folder / "one", {{"x", full({1}, 1)}});
                   open_model_file(folder / "one");
                 }),
                 ", ... (the first 20 are named)"));
  few = tensors;
  few[first] = full({1, 1, 1}, 1);
  few[second] = full({1, 1, 1}, 1);
  write(folder / "shapes", few);
  CHECK(
      contains(message_of([&] { open_model_file(folder / "shapes"); }), "2 tensors have other shapes than the model"));
  few = tensors;
  few["more.a"] = few["more.b"] = full({1}, 1);
  write(folder / "more", few);
  CHECK(contains(message_of([&] { open_model_file(folder / "more"); }),
                 "2 tensors do not belong to tiny: 'more.a', 'more.b'"));
  // An object where the first tensor should be.
  write_bytes(folder / "config.json", kDescription);
  const std::string object =
      pickle::dict({{first, pickle::global("argparse", "Namespace") + ")R"}, {second, pickle::tensor()}});
  write_bytes(folder / "object", torch_zip(pickle::whole(object), {{"0", std::string(24, '\0')}}));
  CHECK(contains(message_of([&] { open_model_file(folder / "object", folder / "config.json"); }),
                 "(what has that name is argparse.Namespace)"));
}

TEST_CASE("weights that are not finite are refused at load and at conversion, by name and number") {
  const TempDir folder;
  write_tiny_model(folder / "plain", folder / "bank", 4);
  CHECK(segment(folder / "plain", folder / "bank") == "accepted");
  for (const auto& spoilt : {std::pair{"backbone.encoder.stages.0.0.convs.0.conv.weight", kNan},
                             {"transformer_decoder.norm.weight", kInfinite},
                             {"mask_embed_proj.0.weight", -kInfinite}}) {
    const char* name = spoilt.first;
    const float value = spoilt.second;
    CAPTURE(name);
    Tensors tensors = tiny_tensors();
    tensors[name] = tensors[name].clone();
    tensors[name].data<float>()[1] = value;
    tensors[name].data<float>()[3] = value;
    write(folder / "bad", tensors);
    const std::string found = std::string("tensor '") + name + "' holds 2 of ";
    CHECK(contains(segment(folder / "bad", folder / "bank"), found));
    const ModelFile model = open_model_file(folder / "bad");
    CHECK(contains(message_of([&] { write_model_file(folder / "out", model, DType::f32, false); }), found));
  }
  Tensors large = tiny_tensors();
  Tensor& scale = large["transformer_decoder.norm.weight"] = large["transformer_decoder.norm.weight"].clone();
  scale.data<float>()[0] = 1e6f;
  write(folder / "large", large);
  const ModelFile model = open_model_file(folder / "large");
  CHECK(contains(message_of([&] { write_model_file(folder / "out", model, DType::f16, false); }),
                 "'transformer_decoder.norm.weight' holds 1 of 24 values that are beyond the range of f16"));
  write_model_file(folder / "out", model, DType::bf16, false);
}

TEST_CASE("numbers that grow beyond all bounds in the network are an error in any precision, and no empty mask") {
  const TempDir folder;
  write_tiny_model(folder / "plain", folder / "bank", 4);
  const std::vector<std::vector<std::string>> grown{{"mask_embed_proj.0.weight", "mask_embed_proj.2.weight"},
                                                    {"transformer_decoder.norm.weight", "mask_embed_proj.0.weight"},
                                                    {"projection_layer.0.weight"}};
  for (const std::vector<std::string>& names : grown) {
    Tensors tensors = tiny_tensors();
    for (const std::string& name : names) {
      REQUIRE(tensors.count(name) == 1);
      Tensor& weight = tensors[name] = tensors[name].clone();
      for (int64_t i = 0; i < weight.numel(); ++i) weight.data<float>()[i] *= 1e38f;
    }
    write(folder / "huge", tensors);
    for (const Precision precision : {Precision::exact, Precision::fast}) {
      CAPTURE(names[0]);
      CHECK(contains(segment(folder / "huge", folder / "bank", precision), "not finite"));
    }
  }
}

TEST_CASE("a score that is no number is refused where masks are made, wherever it lies among the prompts") {
  ModelGrid grid;
  grid.scan.size = grid.resampled.size = grid.model.size = {2, 3, 4};
  for (size_t a = 0; a < 3; ++a) grid.crop[a] = {0, grid.model.size[a]};
  for (const int64_t prompts : {1, 5, 70}) {
    for (const int64_t bad : {int64_t(0), prompts - 1}) {
      BitMasks masks(grid.scan.size, prompts);
      Tensor scores = full({2, 3, 4, prompts}, -0.5f);
      restore_rows(masks, grid, scores, {0, 0, 0}, 0, 0, 2, 0);
      scores.data<float>()[7 * prompts + bad] = kNan;
      CHECK(contains(message_of([&] { restore_rows(masks, grid, scores, {0, 0, 0}, 0, 0, 2, 0); }), "not finite"));
    }
  }
}
