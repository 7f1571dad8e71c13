// Segmentation heads and the connector: recorded values, which head a file holds, and what is refused.
#include <doctest/doctest.h>

#include "sat/nn/image/heads/connector.h"
#include "sat/nn/image/heads/segmentation_head.h"
#include "sat/tensor/context.h"
#include "tests/support/golden.h"
#include "tests/support/parity/heads/segmentation_heads_parity.h"

using namespace sat;
using namespace sat::test;

namespace {

using Tensors = std::map<std::string, Tensor>;

void add_conv(Tensors& tensors, const std::string& name, int64_t out, int64_t in, int64_t side, bool bias) {
  tensors[name + ".weight"] = field(name + ".weight", {out, in, side, side}, 0.3);
  if (bias) tensors[name + ".bias"] = field(name + ".bias", {out}, 0.1);
}

void add_norm(Tensors& tensors, const std::string& name, int64_t channels) {
  tensors[name + ".weight"] = field(name + ".weight", {channels}, 0.1, 1);
  tensors[name + ".bias"] = field(name + ".bias", {channels}, 0.1);
  tensors[name + ".running_mean"] = field(name + ".running_mean", {channels}, 0.1);
  tensors[name + ".running_var"] = field(name + ".running_var", {channels}, 0.1, 1);
  tensors[name + ".num_batches_tracked"] = from_ids({1}, {7});
}

Tensors linear_head(int64_t width = 6, int64_t classes = 3) {
  Tensors tensors;
  add_conv(tensors, "conv", classes, width, 1, true);
  return tensors;
}

Tensors upernet(const std::string& head = "head", int64_t width = 6, int64_t channels = 4) {
  Tensors tensors;
  const auto add = [&](const std::string& name, int64_t in, int64_t side) {
    add_conv(tensors, head + "." + name + ".conv", channels, in, side, false);
    add_norm(tensors, head + "." + name + ".batch_norm", channels);
  };
  for (const char* up : {"pyramid.fpn1.0", "pyramid.fpn1.3", "pyramid.fpn2.0"}) {
    add_conv(tensors, up, width, width, 2, true);
  }
  add_norm(tensors, "pyramid.fpn1.1", width);
  for (int i = 0; i < 4; ++i) add("psp_modules." + std::to_string(i) + ".1", width, 1);
  add("bottleneck", width + 4 * channels, 3);
  for (int i = 0; i < 3; ++i) {
    add("lateral_convs." + std::to_string(i), width, 1);
    add("fpn_convs." + std::to_string(i), channels, 3);
  }
  add("fpn_bottleneck", 4 * channels, 3);
  add_conv(tensors, head + ".classifier", 2, channels, 1, true);
  return tensors;
}

std::unique_ptr<const SegmentationHead> made(const Tensors& tensors, const std::vector<int64_t>& scales = {}) {
  return make_head(recognise_head(Weights::from_tensors(tensors, "head.pth"), scales));
}

std::string refusal(const Tensors& tensors, const std::vector<int64_t>& scales = {}) {
  try {
    made(tensors, scales);
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was wrong";
}

std::string connector_refusal(const Tensors& tensors) {
  try {
    const Connector read(Weights::from_tensors(tensors, "connector.bin"));
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was wrong";
}

Tensors connector(const std::string& name, int64_t second_in = 5) {
  return {{name + ".0.weight", field("w0", {5, 6}, 0.4)},
          {name + ".0.bias", field("b0", {5}, 0.1)},
          {name + ".2.weight", field("w2", {8, second_in}, 0.4)},
          {name + ".2.bias", field("b2", {8}, 0.1)}};
}

bool has(const std::string& text, const std::string& part) {
  CAPTURE(text);
  return text.find(part) != std::string::npos;
}

std::vector<Tensor> maps_of(int64_t batch) {
  std::vector<Tensor> maps;
  for (int i = 0; i < 4; ++i) maps.push_back(field("map_" + std::to_string(i), {batch, 5, 4, 6}, 1));
  return maps;
}

}  // namespace

TEST_CASE("segmentation heads have the recorded logits and losses") {
  Context context;
  UseContext use(context);
  const auto lines = compare_segmentation_heads(golden_path("rad-dino-heads"), Recorded::statistics);
  CHECK(lines.size() == 9);
  for (const ParityLine& line : lines) {
    CAPTURE(line.quantity);
    CHECK(line.error <= line.limit);
  }
}

TEST_CASE("a head is known by its tensors, under any of the published names") {
  const auto kind = [](const Tensors& tensors) {
    return std::string(name_of(recognise_head(Weights::from_tensors(tensors)).config.kind));
  };
  CHECK(kind(linear_head()) == "linear");
  CHECK(kind(upernet()) == "upernet");
  CHECK(kind(upernet("decode_head")) == "upernet");
  Tensors dinov2;
  add_conv(dinov2, "decode_head.conv_seg", 3, 12, 1, true);
  add_norm(dinov2, "decode_head.bn", 12);
  CHECK(kind(dinov2) == "linear_bn");
  const auto head = made(dinov2);
  CHECK(head->classes() == 3);
  CHECK(usual_blocks(*head, 6, 12, "x") == std::vector<int64_t>{11, 12});
  CHECK(usual_blocks(*made(upernet()), 6, 12, "x") == std::vector<int64_t>{3, 6, 9, 12});
}

TEST_CASE("UPerNet gives four times the grid, whatever the grid") {
  const auto head = made(upernet());
  const Tensor logits = head->logits(maps_of(2));
  CHECK(logits.shape == Shape{2, 20, 16, 2});
}

TEST_CASE("an image's logits depend neither on its neighbours nor on threads") {
  const auto head = made(upernet());
  const Tensor both = head->logits(maps_of(2));
  ContextOptions options;
  options.threads = 3;
  Context context(options);
  UseContext use(context);
  const auto again = made(upernet());
  for (int64_t image = 0; image < 2; ++image) {
    std::vector<Tensor> alone;
    for (const Tensor& map : maps_of(2)) alone.push_back(map.slice(image, image + 1).clone());
    CHECK(mismatch(again->logits(alone), both.slice(image, image + 1), {}) == "");
  }
}

TEST_CASE("a connector is a multilayer perceptron with GELU between, under each published name") {
  Tensors named = connector("connector");
  const Connector ours(Weights::from_tensors(named));
  const Tensor tokens = field("tokens", {7, 6}, 1), got = ours(tokens);
  CHECK(got.shape == Shape{7, 8});
  const Tensor hidden = gelu(linear(tokens, pack_linear(named["connector.0.weight"]), named["connector.0.bias"]));
  const Tensor want = linear(hidden, pack_linear(named["connector.2.weight"]), named["connector.2.bias"]);
  CHECK(mismatch(got, want, {}) == "");
  for (const char* name : {"mm_projector", "model.mm_projector"}) {
    CHECK(mismatch(Connector(Weights::from_tensors(connector(name)))(tokens), want, {}) == "");
  }
  const Connector one(Weights::from_tensors(
      {{"mm_projector.weight", field("w0", {5, 6}, 0.4)}, {"mm_projector.bias", field("b0", {5}, 0.1)}}));
  CHECK(one.depth() == 1);
  CHECK(one.out() == 5);
}

TEST_CASE("heads and connectors that do not fit are refused in a sentence") {
  CHECK(has(refusal({{"something", zeros({2})}}), "head.pth: no segmentation head"));
  Tensors wrong = linear_head();
  wrong["conv.weight"] = zeros({3, 6, 3, 3});
  CHECK(has(refusal(wrong), "a linear head has [classes, channels, 1, 1]"));
  wrong = linear_head();
  wrong.erase("conv.bias");
  CHECK(has(refusal(wrong), "conv.bias"));
  wrong = linear_head();
  wrong["optimizer.state"] = zeros({2});
  CHECK(has(refusal(wrong), "'optimizer.state' does not belong"));
  wrong = upernet();
  wrong.erase("head.classifier.weight");
  CHECK(has(refusal(wrong), "without 'head.classifier.weight'"));
  wrong = upernet();
  wrong["head.bottleneck.conv.weight"] = zeros({4, 6, 3, 3});
  CHECK(has(refusal(wrong), "the model needs [4, 22, 3, 3]"));
  wrong = upernet();
  wrong["head.bottleneck.batch_norm.running_var"] = full({4}, -1);
  CHECK(has(refusal(wrong), "is -1 at channel 0"));
  CHECK(has(refusal(upernet(), {1, 2}), "pools at 4 scales, but 2 are given"));
  CHECK(has(connector_refusal({{"proj.weight", zeros({2, 2})}}), "no connector"));
  CHECK(has(connector_refusal(connector("connector", 4)), "takes 4 channels, the layer before it gives 5"));
  const auto head = made(linear_head());
  CHECK_THROWS_WITH_AS(usual_blocks(*head, 4, 12, "head.pth"),
                       "head.pth: this head takes features of 6 channels, the encoder's have 4", Error);
}
