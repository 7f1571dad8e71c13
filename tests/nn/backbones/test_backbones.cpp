// U-Mamba and SwinUNETR against their definitions in double, and what is promised of every backbone: the same bits for
// any threads and batch, memory as a dry run counts it, all weights by their published names.
#include <doctest/doctest.h>

#include "sat/nn/sat/backbones/swin/swin_windows.h"
#include "sat/nn/sat/recognise_config.h"
#include "sat/nn/sat/sat_model.h"
#include "sat/tensor/autograd/tape.h"
#include "sat/tensor/context.h"
#include "sat/tensor/memory/memory.h"
#include "tests/support/definitions/backbone_definitions.h"
#include "tests/support/golden.h"
#include "tests/support/levels.h"
#include "tests/support/parity/sat_parity.h"
#include "tests/support/tiny_model.h"

using namespace sat;
using namespace sat::test;

namespace {

constexpr BackboneKind kNew[] = {BackboneKind::umamba, BackboneKind::swin_unetr};

std::string name_of(BackboneKind kind) { return kind == BackboneKind::umamba ? "U-Mamba" : "SwinUNETR"; }

/// "" or where a volume differs from its definition by more than `most` of the definition's largest magnitude.
std::string difference(const Tensor& got, const DoubleVolume& want, double most) {
  Tensor defined({1, want.size[0], want.size[1], want.size[2], want.channels});
  double largest = 0;
  for (int64_t i = 0; i < defined.numel(); ++i) {
    defined.data<float>()[i] = float(want.values[size_t(i)]);
    largest = std::max(largest, std::abs(want.values[size_t(i)]));
  }
  return mismatch(got, defined, {0, most * largest});
}

void check_definition(BackboneKind kind, const Shape& window, double most) {
  const SatConfig config = tiny_config(kind);
  NamedTensors tensors;
  const Tensor image = field("image", window.with(4, 3), 1);
  make_backbone(Weights::made([&](const std::string& name, const Shape& shape) {
                  return tensors[name] = generated_weight(name, shape);
                }),
                config);
  const DefinedOutput want = kind == BackboneKind::umamba ? defined_umamba(tensors, config, image)
                                                          : defined_swin_unetr(tensors, config, image);
  for (const CpuLevel level : levels()) {
    CAPTURE(std::string(sat::name_of(level)));
    Context context(options_of(level, 2));
    UseContext use(context);
    const auto backbone = make_backbone(Weights::from_tensors(tensors), config);
    std::vector<std::string> heard;
    const BackboneOutput got = (*backbone)(image, true, {}, [&](const std::string& name, const Tensor& value) {
      heard.push_back(name);
      if (name.compare(0, 8, "encoder ") != 0) return;
      CAPTURE(name);
      CHECK(difference(value, want.encoder[size_t(name.back() - '0')], most) == "");
    });
    CHECK(heard.size() == 2 * config.channels.size() - 1);
    REQUIRE(got.per_voxel.size() == want.decoder.size());
    for (size_t s = 0; s < want.decoder.size(); ++s) {
      CHECK(difference(materialize(got.per_voxel[s]), want.decoder[s], most) == "");
    }
  }
}

}  // namespace

TEST_CASE("U-Mamba is what its definition says, at every level") {
  check_definition(BackboneKind::umamba, {1, 16, 16, 8, 3}, 2e-5);
}

TEST_CASE("SwinUNETR is what its definition says: shifted windows, padding, a window shorter than seven, merging") {
  check_definition(BackboneKind::swin_unetr, {1, 24, 16, 8, 3}, 2e-5);
}

TEST_CASE("a grey window gives what three equal channels give, up to rounding") {
  for (const BackboneKind kind : kNew) {
    CAPTURE(name_of(kind));
    const SatModel model(generated_weights(""), tiny_config(kind));
    const Tensor grey = field("grey", {1, 24, 16, 8, 1}, 1), queries = field("queries", {3, 12}, 1);
    const Tensor three = concat_channels({grey, grey, grey});
    CHECK(mismatch(model.logits(grey, queries), model.logits(three, queries), {0, 2e-4}) == "");
  }
}

TEST_CASE("the backbones give the same bits for any number of threads, and for a window whatever it is batched with") {
  for (const BackboneKind kind : kNew) {
    CAPTURE(name_of(kind));
    const Tensor windows = field("windows", {2, 24, 16, 8, 1}, 1), queries = field("queries", {3, 12}, 1);
    Tensor first;
    for (const int threads : {1, 2, 3, 8}) {
      Context context(options_of(best_cpu_level(), threads));
      UseContext use(context);
      const SatModel model(generated_weights(""), tiny_config(kind));
      const Tensor both = model.logits(windows, queries);
      if (first.empty()) first = both;
      CHECK(same_bits(both, first));
      for (int64_t b = 0; b < 2; ++b) {
        CHECK(same_bits(model.logits(windows.slice(b, b + 1), queries), both.slice(b, b + 1)));
      }
    }
  }
}

TEST_CASE("a dry run of the backbones holds what a real one holds") {
  for (const BackboneKind kind : kNew) {
    for (const Precision precision : {Precision::exact, Precision::fast}) {
      CAPTURE(name_of(kind));
      ContextOptions options = options_of(best_cpu_level(), 1);
      options.precision = precision;
      Context real(options), dry(real.dry_run());
      int64_t peak[2], live[2];
      for (Context* context : {&real, &dry}) {
        UseContext use(*context);
        const bool is_dry = context->dry();
        const SatModel model(Weights::made([&](const std::string& name, const Shape& shape) {
                               return is_dry ? Tensor(shape) : generated_weight(name, shape);
                             }),
                             tiny_config(kind));
        const Tensor window = is_dry ? Tensor({1, 24, 16, 8, 1}) : field("window", {1, 24, 16, 8, 1}, 1);
        context->memory()->reset_peak();
        const ImageFeatures image = model.encode_image(window);
        peak[int(is_dry)] = context->memory()->peak_bytes();
        live[int(is_dry)] = context->memory()->live_bytes();
      }
      CHECK(peak[1] == peak[0]);
      CHECK(live[1] == live[0]);
    }
  }
}

TEST_CASE("a model for training reaches every tensor by its published name, keeps it, and answers with the same bits") {
  for (const BackboneKind kind : kNew) {
    CAPTURE(name_of(kind));
    std::map<std::string, Shape> published;
    const SatModel plain(Weights::made([&](const std::string& name, const Shape& shape) {
                           CHECK(published.count(name) == 0);
                           published[name] = shape;
                           return generated_weight(name, shape);
                         }),
                         tiny_config(kind), Heads::all);
    const Weights weights = generated_weights("").for_training();
    Tape tape;
    const SatModel trained = [&] {
      RecordOn recording(&tape);
      return SatModel(weights, tiny_config(kind), Heads::all);
    }();
    CHECK(weights.parameters().size() == published.size());
    for (const auto& [name, shape] : published) {
      CAPTURE(name);
      REQUIRE(weights.parameters().count(name) == 1);
      CHECK(weights.parameters().at(name).shape == shape);
      const bool is_read =
          name.find("decoder.layers") == std::string::npos || name.find(".norm1.") == std::string::npos;
      CHECK((weights.parameters().at(name).buffer.use_count() > 1) == is_read);
    }
    const Tensor window = field("window", {1, 24, 16, 8, 3}, 1), queries = field("queries", {3, 12}, 1);
    CHECK(same_bits(plain.logits(window, queries), trained.logits(window, queries)));
  }
}

TEST_CASE("U-Mamba answers at full resolution alone, SwinUNETR on every grid that has a head") {
  const Tensor window = field("window", {1, 16, 16, 8, 3}, 1), queries = field("queries", {2, 12}, 1);
  const SatModel swin(generated_weights(""), tiny_config(BackboneKind::swin_unetr), Heads::all);
  CHECK(swin.logits(window, queries, 1).shape == Shape({1, 8, 8, 4, 2}));
  const SatModel umamba(generated_weights(""), tiny_config(BackboneKind::umamba), Heads::all);
  CHECK(umamba.logits(window, queries, 0).shape == Shape({1, 16, 16, 8, 2}));
  CHECK_THROWS_WITH_AS(umamba.logits(window, queries, 1),
                       "tiny: its backbone gives no features for scale 1; it gives 1", Error);
}

TEST_CASE("progress rises to the whole") {
  for (const BackboneKind kind : kNew) {
    CAPTURE(name_of(kind));
    const SatModel model(generated_weights(""), tiny_config(kind));
    double heard = 0;
    model.encode_image(field("window", {1, 16, 16, 8, 1}, 1), [&](double share) {
      CHECK(share > heard);
      heard = share;
    });
    CHECK(heard == doctest::Approx(1));
  }
}

TEST_CASE("windows take every token once, in windows of their neighbours, and give it back to its place") {
  for (const Grid3& grid : {Grid3{7, 7, 7}, Grid3{9, 4, 3}, Grid3{1, 20, 8}}) {
    for (const bool shifted : {false, true}) {
      const SwinWindows cut = swin_windows(2, grid, 7, shifted);
      const int64_t tokens = grid[0] * grid[1] * grid[2];
      CHECK(int64_t(cut.give.size()) == 2 * tokens);
      CHECK(int64_t(cut.take.size()) == cut.segments.count() * cut.tokens());
      bool right = true;
      for (int64_t token = 0; token < 2 * tokens; ++token) {
        right = right && cut.take[size_t(cut.give[size_t(token)])] == token;
      }
      CHECK(right);
      CHECK(std::count(cut.take.begin(), cut.take.end(), -1) == int64_t(cut.take.size()) - 2 * tokens);
      CHECK(cut.segments.regions.empty() == !(shifted && *std::max_element(grid.begin(), grid.end()) > 7));
    }
  }
}

TEST_CASE("descriptions of backbones that do not fit together are refused by what is wrong") {
  const auto refused = [](BackboneKind kind, const char* key, Json value, const char* sentence) {
    Json json = to_json(tiny_config(kind));
    json.set(key, std::move(value));
    CHECK_THROWS_WITH_AS(config_from_json(json, "x.json"), sentence, Error);
  };
  const BackboneKind swin = BackboneKind::swin_unetr, umamba = BackboneKind::umamba;
  refused(umamba, "mamba_layers", 4, "x.json: mamba_layers is 4, must be 0 to 3");
  refused(umamba, "mamba_layers", -1, "x.json: mamba_layers is -1, must be 0 to 3");
  refused(umamba, "swin_window", 7, "x.json: swin_blocks, swin_heads and swin_window belong to the backbone SwinUNETR");
  refused(BackboneKind::unet, "mamba_layers", 1, "x.json: mamba_layers is 1, must be 0 to 0");
  refused(swin, "swin_window", 17, "x.json: swin_window is 17, must be 1 to 16");
  refused(swin, "swin_window", int64_t(1) << 40, "x.json: swin_window is 1099511627776, must be 1 to 16");
  refused(swin, "swin_heads", Json::array({2, 3}),
          "x.json: swin_heads of stage 1 are 3, which does not divide 8 channels");
  refused(swin, "swin_heads", Json::array({2, 0}),
          "x.json: swin_heads of stage 1 are 0, which does not divide 8 channels");
  refused(swin, "swin_blocks", Json::array({2}),
          "x.json: swin_blocks and swin_heads need 2 entries each, for 4 channels");
  refused(swin, "channels", Json::array({4, 4, 8, 8}), "x.json: channels of stage 3 are 8, SwinUNETR has 16");
  refused(swin, "encoder_blocks", Json::array({1}),
          "x.json: encoder_blocks, decoder_blocks and mamba_layers do not belong to the backbone SwinUNETR");
}

TEST_CASE("sizes of a checkpoint that was never published are read off its tensors") {
  for (const BackboneKind kind : kNew) {
    CAPTURE(name_of(kind));
    std::map<std::string, Tensor> tensors;
    const SatModel model(Weights::made([&](const std::string& name, const Shape& shape) {
                           return tensors[name] = generated_weight(name, shape);
                         }),
                         tiny_config(kind), Heads::all);
    const RecognisedConfig found = recognise_config(Weights::from_tensors(tensors));
    CHECK_FALSE(found.certain);
    SatConfig want = tiny_config(kind);
    want.text_dim = found.config.text_dim;
    want.architecture = found.config.architecture;
    want.modalities = found.config.modalities;
    want.heads = found.config.heads;
    want.importance = found.config.importance;
    CHECK(to_json(found.config).dump() == to_json(want).dump());
  }
}
