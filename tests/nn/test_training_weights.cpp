// Weights of a model that is going to be trained: every tensor of the checkpoint under its published name, its bytes
// shared with the layers; and nothing of it where a model only computes.
#include <doctest/doctest.h>

#include <map>
#include <memory>

#include "sat/nn/sat/backbones/conv_block.h"
#include "sat/nn/sat/sat_model.h"
#include "sat/tensor/autograd/tape.h"
#include "sat/tensor/context.h"
#include "sat/tensor/memory/memory.h"
#include "tests/support/golden.h"
#include "tests/support/levels.h"
#include "tests/support/parity/sat_parity.h"
#include "tests/support/tiny_model.h"

using namespace sat;
using namespace sat::test;

namespace {

/// Names and shapes of the whole checkpoint of the tiny model.
std::map<std::string, Shape> tiny_checkpoint() {
  std::map<std::string, Shape> shapes;
  const SatModel model(Weights::made([&](const std::string& name, const Shape& shape) {
                         shapes[name] = shape;
                         return generated_weight(name, shape);
                       }),
                       tiny_config(), Heads::all);
  return shapes;
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("every tensor of a checkpoint is reachable by its published name, once, with its bytes held by its layer") {
  const std::map<std::string, Shape> checkpoint = tiny_checkpoint();
  Tape tape;
  RecordOn recording(&tape);
  const Weights weights = generated_weights("").for_training();
  CHECK(weights.training());
  const SatModel model(weights, tiny_config(), Heads::all);
  const std::map<std::string, Tensor>& parameters = weights.parameters();
  CHECK(parameters.size() == checkpoint.size());
  CHECK(parameters.count("backbone.encoder.stages.0.0.convs.0.conv.bias") == 1);
  CHECK(parameters.count("transformer_decoder.layers.0.norm1.weight") == 1);
  CHECK(parameters.count("mid_mask_embed_proj.0.2.bias") == 1);
  for (const auto& [name, shape] : checkpoint) {
    CAPTURE(name);
    REQUIRE(parameters.count(name) == 1);
    const Tensor& tensor = parameters.at(name);
    CHECK(tensor.shape == shape);
    CHECK(same_bits(tensor, generated_weight(name, shape)));
    CHECK((tensor.buffer.use_count() > 1) == !contains(name, ".norm1."));  // which nothing reads
    CHECK(weights.get(name, shape).buffer == tensor.buffer);
  }
}

TEST_CASE("under a tape a layer has its weights as published, in the bytes that training writes, and nothing packed") {
  Tape tape;
  RecordOn recording(&tape);
  const Weights weights = generated_weights("").for_training();
  const auto bytes = [&](const std::string& name) { return weights.parameters().at(name).buffer.get(); };
  const Linear linear(weights / "linear", 6, 4);
  CHECK(linear.weight.published.buffer.get() == bytes("linear.weight"));
  CHECK(linear.weight.panels.empty());
  CHECK(linear.bias.buffer.get() == bytes("linear.bias"));
  const LayerNorm norm(weights / "norm", 6);
  CHECK(norm.gain.buffer.get() == bytes("norm.weight"));

  BackboneLayer planned;
  planned.channels = {6, 4};
  const ConvBlock block(weights / "block", planned, true);
  CHECK(block.weight.published.buffer.get() == bytes("block.conv.weight"));
  CHECK(block.weight.panels.empty());
  CHECK(block.norm.cancelled.buffer.get() == bytes("block.conv.bias"));
  CHECK(block.norm.gain.buffer.get() == bytes("block.norm.weight"));
  CHECK_FALSE(block.grey);  // a second copy that training would leave behind
  planned.channels = {9, 4, 5};
  const UpBlock joining(weights / "up", weights / "joining", 7, planned);
  CHECK(joining.weight.up.published.buffer.get() == bytes("up.weight"));
  CHECK(joining.weight.up_bias.buffer.get() == bytes("up.bias"));
  CHECK(joining.weight.conv.published.buffer.get() == bytes("joining.conv.weight"));
}

TEST_CASE("tapes watch what learns, and nothing else") {
  const Weights weights =
      generated_weights("").for_training([](const std::string& name) { return name != "linear.bias"; });
  const Linear linear(weights / "linear", 6, 4);
  CHECK(weights.parameters().at("linear.weight").history != 0);
  CHECK(weights.parameters().at("linear.bias").history == 0);
}

TEST_CASE("a model for training answers with the bits of one that only computes") {
  const Tensor window = field("window", {1, 16, 16, 8, 3}, 1), queries = field("queries", {3, 12}, 1);
  const SatModel plain(generated_weights(""), tiny_config());
  const SatModel trained(generated_weights("").for_training(), tiny_config());
  CHECK(same_bits(plain.logits(window, queries), trained.logits(window, queries)));
}

TEST_CASE("a model that only computes keeps nothing of the checkpoint beside its packed weights") {
  const Linear linear(generated_weights(""), 6, 4);
  CHECK(linear.weight.published.empty());
  BackboneLayer planned;
  planned.channels = {6, 4};
  const ConvBlock block(generated_weights(""), planned);
  CHECK(block.weight.published.empty());
  CHECK(block.norm.cancelled.empty());

  const std::map<std::string, Shape> checkpoint = tiny_checkpoint();
  int64_t live[2], packed = 0;
  for (const bool training : {false, true}) {
    Context context(options_of(CpuLevel::plain, 1));
    UseContext use(context);
    std::map<std::string, std::weak_ptr<Buffer>> given;
    const Weights made = Weights::made([&](const std::string& name, const Shape& shape) {
      Tensor weight = generated_weight(name, shape);
      given[name] = weight.buffer;
      return weight;
    });
    const Weights weights = training ? made.for_training() : made;
    const SatModel model(weights, tiny_config(), Heads::all);
    CHECK(weights.parameters().empty() == !training);
    live[int(training)] = context.memory()->live_bytes();
    for (const auto& [name, bytes] : given) {
      CAPTURE(name);
      const bool is_packed = checkpoint.at(name).rank() > 1;
      const bool is_read =
          !contains(name, ".norm1.") && !contains(name, ".conv.bias") && !contains(name, "in_proj_bias");
      CHECK(bytes.expired() == (!training && (is_packed || !is_read)));
      if (!training && is_packed) packed += checkpoint.at(name).numel() * 4;
    }
  }
  CHECK(live[1] - live[0] > packed * 9 / 10);
}
