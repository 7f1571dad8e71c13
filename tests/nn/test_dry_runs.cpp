// Whole models in a dry context: they run through, hold what they hold in a real one, and their results have no
// elements.
#include <doctest/doctest.h>

#include "sat/nn/run/blender.h"
#include "sat/nn/sat/sat_model.h"
#include "sat/nn/text/bert.h"
#include "sat/nn/text/mpnet.h"
#include "sat/nn/text/text_encoder.h"
#include "sat/tensor/context.h"
#include "sat/tensor/memory/memory.h"
#include "tests/support/golden.h"
#include "tests/support/levels.h"
#include "tests/support/parity/sat_parity.h"
#include "tests/support/text_model.h"
#include "tests/support/tiny_model.h"

using namespace sat;
using namespace sat::test;

namespace {

/// Weights with bytes, or in a dry context without.
Weights weights_here() {
  if (!Context::current().dry()) return generated_weights("");
  return Weights::made([](const std::string&, const Shape& shape) { return Tensor(shape); });
}

Tensor input_here(const std::string& name, const Shape& shape) {
  return Context::current().dry() ? Tensor(shape) : field(name, shape, 1);
}

/// What `body` holds at most, and what of it lives while its result does; the result is not to be read in a dry
/// context.
struct Held {
  int64_t peak, live;
  Shape shape;
};

template <class Body>
Held held_by(Context& context, const Body& body) {
  UseContext use(context);
  context.memory()->reset_peak();
  const Tensor result = body();
  if (context.dry()) {
    CHECK_THROWS_WITH_AS(result.data<float>(), doctest::Contains("no bytes in a dry run"), Error);
  } else {
    CHECK(result.data<float>() != nullptr);
  }
  return {context.memory()->peak_bytes(), context.memory()->live_bytes(), result.shape};
}

/// `body` in a real context and in a dry run of it, on the level that `options` say.
template <class Body>
void check_same(const ContextOptions& options, const Body& body) {
  Context real(options), dry(real.dry_run());
  const Held a = held_by(real, body), b = held_by(dry, body);
  CHECK(b.peak == a.peak);
  CHECK(b.live == a.live);
  CHECK(b.shape == a.shape);
}

TextBackboneConfig small_text(int64_t vocabulary = 1000) {
  TextBackboneConfig sizes;
  sizes.vocabulary = vocabulary;
  sizes.hidden = 32;
  sizes.layers = 2;
  sizes.heads = 4;
  sizes.feedforward = 40;
  sizes.positions = 514;
  return sizes;
}

}  // namespace

TEST_CASE("the network holds in a dry context what it holds in a real one, for one window and for two") {
  for (const CpuLevel level : levels()) {
    for (const Precision precision : {Precision::exact, Precision::fast}) {
      CAPTURE(std::string(name_of(level)));
      CAPTURE(std::string(name_of(precision)));
      ContextOptions options = options_of(level, 1);
      options.precision = precision;
      for (const int64_t batch : {1, 2}) {
        check_same(options, [&] {
          const SatModel model(weights_here(), tiny_config(), Heads::all);
          const ImageFeatures image = model.encode_image(input_here("x", {batch, 16, 16, 8, 3}));
          CHECK(image.tokens.shape == Shape({batch, 32, 24}));
          const Tensor decoded = model.decode(input_here("queries", {5, 12}), image.memory);
          CHECK(decoded.shape == Shape({batch, 5, 24}));
          return model.mask_vectors(decoded, 1);
        });
        check_same(options, [&] {
          const SatModel model(weights_here(), tiny_config());
          return model.logits(input_here("x", {batch, 16, 16, 8, 1}), input_here("queries", {batch, 5, 12}));
        });
      }
    }
  }
}

TEST_CASE("text backbones hold in a dry context what they hold in a real one") {
  TokenRows texts;
  texts.append({5, 6, 7, 8, 9}, {1, 1, 1, 0, 1});
  texts.append({12, 3});
  check_same(options_of(best_cpu_level(), 1), [&] { return Bert(weights_here(), small_text())(texts); });
  check_same(options_of(best_cpu_level(), 1), [&] { return Mpnet(weights_here(), small_text())(texts); });
}

TEST_CASE("what encoding prompts is planned to hold is what it holds at most, and no exaggeration") {
  for (const TextKind kind : {TextKind::ours, TextKind::medcpt}) {
    CAPTURE(std::string(name_of(kind)));
    const WordPiece words = published_vocabulary(kind);
    const Weights weights = text_weights({generated_text_weights(text_encoder_shapes(small_text(words.size()), kind))});
    TextEncoderConfig config = published_text_config(kind);
    config.heads = 4;
    std::string longest;
    for (int i = 0; i < 300; ++i) longest += "liver ";
    std::vector<std::string> prompts;
    for (int i = 0; i < 16; ++i) prompts.push_back(longest.substr(size_t(i)));
    Context context(options_of(best_cpu_level(), 1)), dry(context.dry_run());
    int64_t planned = 0;
    {
      UseContext use(dry);
      planned = TextEncoder::planned_bytes(weights, config);
    }
    UseContext use(context);
    CHECK(TextEncoder::planned_bytes(weights, config) == planned);
    CHECK(context.memory()->peak_bytes() == 0);
    const TextEncoder encoder(weights, words, config);
    encoder.encode(prompts, "ct");
    CHECK(context.memory()->peak_bytes() <= planned + int64_t(prompts.size()) * 3 * 32 * 4);
    CHECK(double(context.memory()->peak_bytes()) >= 0.8 * double(planned));
  }
}

TEST_CASE("blending holds in a dry context what it holds in a real one, however windows wait") {
  const std::array<int64_t, 3> size{37, 20, 9}, box{16, 16, 8};
  constexpr int64_t kChannels = 5, kPrompts = 70;
  for (const Waiting waiting : {Waiting::scores, Waiting::features}) {
    for (int axis = 0; axis < 3; ++axis) {
      CAPTURE(std::string(name_of(waiting)));
      CAPTURE(axis);
      check_same(options_of(best_cpu_level(), 1), [&] {
        int64_t rows = 0;
        Blender blender(size, box, Rounding::f16, kPrompts, {axis, waiting, ""},
                        [&](const Tensor& scores, const std::array<int64_t, 3>&, int64_t first, int64_t last, int64_t) {
                          rows += last - first;
                          if (Context::current().dry()) CHECK_THROWS_AS(scores.data<float>(), Error);
                        });
        for (int64_t i = 0; i < blender.windows().size(); ++i) {
          blender.add({Tensor({1, box[0], box[1], box[2], kChannels}), input_here("center", {1, kChannels}),
                       input_here("factor", {1, kChannels}), input_here("shift", {1, kChannels}), 0.01f},
                      input_here("masks", {kPrompts, kChannels}));
        }
        CHECK(rows >= size[size_t(axis)]);
        return Tensor({1});
      });
    }
  }
}
