// The SAT network against recorded values of the official code, and the claims of its configs.
#include <doctest/doctest.h>

#include "sat/nn/run/segment_volume.h"
#include "sat/nn/sat/recognise_config.h"
#include "sat/nn/sat/sat_model.h"
#include "sat/tensor/context.h"
#include "tests/support/golden.h"
#include "tests/support/levels.h"
#include "tests/support/parity/sat_parity.h"
#include "tests/support/tiny_model.h"

using namespace sat;
using namespace sat::test;

namespace {

void check_all(const std::vector<ParityLine>& lines) {
  CHECK(lines.size() > 5);
  for (const ParityLine& line : lines) {
    CAPTURE(line.quantity);
    CHECK(line.error <= line.limit);
  }
}

}  // namespace

TEST_CASE("UNET with generated weights gives the recorded encoder, tokens, mask vectors and logits") {
  Context context;
  UseContext use(context);
  check_all(compare_network(golden_path("sat/unet")));
}

TEST_CASE("the positional code has the published values") {
  const Tensor code = positional_code({9, 9, 3}, 768);
  const auto at = [&](int64_t i, int64_t j, int64_t k, int64_t c) {
    return double(code.data<float>()[((i * 9 + j) * 3 + k) * 768 + c]);
  };
  const auto near = [](double value) { return doctest::Approx(value).epsilon(1e-6).scale(1); };
  CHECK(at(1, 0, 0, 0) == near(0.841471));
  CHECK(at(1, 0, 0, 1) == near(0.5403023));
  CHECK(at(1, 0, 0, 2) == near(0.8019618));
  CHECK(at(1, 0, 0, 254) == near(0.0001075));
  CHECK(at(1, 0, 0, 511) == 1);
  CHECK(at(0, 2, 0, 257) == near(-0.4161468));
  CHECK(at(0, 2, 0, 510) == near(0.0002149));
  CHECK(at(0, 0, 1, 514) == near(0.8019618));
  CHECK(at(8, 8, 2, 1) == near(-0.1455));
  CHECK(at(8, 8, 2, 512) == near(0.9092974));
}

TEST_CASE("published parameter counts follow from the configs") {
  const auto count = [](const char* name, Heads heads) {
    ContextOptions options;
    options.dry = true;
    Context context(options);
    UseContext use(context);
    int64_t parameters = 0;
    const SatModel model(Weights::made([&](const std::string&, const Shape& shape) {
                           parameters += shape.numel();
                           return Tensor(shape);
                         }),
                         published_config(name), heads);
    return parameters;
  };
  CHECK(count("UNET", Heads::final_only) == 109194624);
  CHECK(count("UNET", Heads::all) == 110277568);
  CHECK(count("UNET-L", Heads::final_only) == 475561344);
  CHECK(count("UNET-L", Heads::all) == 477087360);
  CHECK(count("UNET-H", Heads::final_only) == 1154190592);
  CHECK(count("UNET-H", Heads::all) == 1160290048);
  CHECK(count("UMamba", Heads::final_only) == 116486976);
  CHECK(count("UMamba", Heads::all) == 117569920);
  CHECK(count("SwinUNETR", Heads::final_only) == 105227554);
  CHECK(count("SwinUNETR", Heads::all) == 106261234);
}

TEST_CASE("a query's mask does not depend on the others asked with it, nor on the threads") {
  const SatConfig config = tiny_config();
  const Tensor image = field("image", {16, 16, 8}, 1);
  Tensor together;
  for (int threads : {1, 2, 3, 4, 8}) {
    ContextOptions options;
    options.threads = threads;
    Context context(options);
    UseContext use(context);
    const SatModel model(generated_weights(""), config);
    const Tensor window = cut_window(image, {{0, 0, 0}, {16, 16, 8}}, {16, 16, 8});
    const Tensor queries = field("queries", {19, 12}, 1);
    const Tensor logits = model.logits(window, queries);
    if (together.empty()) together = logits;
    CHECK(mismatch(logits, together, {}) == "");
    const Tensor alone = model.logits(window, queries.slice(17, 18));
    bool same = true;
    for (int64_t v = 0; v < alone.numel(); ++v) {
      same = same && alone.data<float>()[v] == together.data<float>()[v * 19 + 17];
    }
    CHECK(same);
  }
}

TEST_CASE("a batch of windows gives the bits of its windows one after another") {
  const SatConfig config = tiny_config();
  const Tensor windows = field("windows", {2, 16, 16, 8, 3}, 1), grey = field("grey", {2, 16, 16, 8, 1}, 1);
  const Tensor shared = field("queries", {5, 12}, 1), own = field("own", {2, 5, 12}, 1);
  for (const CpuLevel level : levels()) {
    for (const Precision precision : {Precision::exact, Precision::fast}) {
      CAPTURE(name_of(level));
      CAPTURE(name_of(precision));
      ContextOptions options = options_of(level, 2);
      options.precision = precision;
      Context context(options);
      UseContext use(context);
      const SatModel model(generated_weights(""), config, Heads::all);
      for (const Tensor& images : {windows, grey}) {
        for (const Tensor& queries : {shared, own}) {
          for (const size_t scale : {size_t(0), size_t(1)}) {
            const Tensor both = model.logits(images, queries, scale);
            const ImageFeatures encoded = model.encode_image(images);
            for (int64_t b = 0; b < 2; ++b) {
              const Tensor one = images.slice(b, b + 1);
              const Tensor asked = queries.shape.rank() == 3 ? queries.slice(b, b + 1) : queries;
              CHECK(same_bits(model.logits(one, asked, scale), both.slice(b, b + 1)));
              CHECK(same_bits(model.encode_image(one).tokens, encoded.tokens.slice(b, b + 1)));
            }
          }
        }
      }
    }
  }
}

TEST_CASE("deep-supervision heads answer on the coarser grids") {
  const SatModel model(generated_weights(""), tiny_config(), Heads::all);
  const Tensor logits = model.logits(field("window", {1, 16, 16, 8, 3}, 1), field("queries", {2, 12}, 1), 1);
  CHECK(logits.shape == Shape({1, 8, 8, 4, 2}));
  const SatModel plain(generated_weights(""), tiny_config());
  CHECK_THROWS_WITH_AS(plain.logits(field("window", {1, 16, 16, 8, 3}, 1), field("queries", {2, 12}, 1), 1),
                       doctest::Contains("no mask head for scale 1"), Error);
}

TEST_CASE("a window that does not divide, or queries of another width, are refused with the numbers") {
  const SatModel model(generated_weights(""), tiny_config());
  CHECK_THROWS_WITH_AS(model.encode_image(field("window", {1, 16, 10, 8, 3}, 1)),
                       "tiny: windows of shape [1, 16, 10, 8, 3] are not a multiple of 4 voxels on axis 1", Error);
  CHECK_THROWS_WITH_AS(model.encode_image(field("window", {16, 8, 8, 3}, 1)),
                       doctest::Contains("windows have shape [16, 8, 8, 3], need [B, H, W, D, 3]"), Error);
  CHECK_THROWS_AS(model.encode_image(field("window", {1, 8, 8, 8, 2}, 1)), Error);
  const ImageFeatures image = model.encode_image(field("window", {1, 8, 8, 8, 3}, 1));
  CHECK_THROWS_WITH_AS(model.decode(field("queries", {2, 768}, 1), image.memory),
                       "tiny: queries have shape [2, 768], need [1, N, 12], or [N, 12] for every image", Error);
  CHECK_THROWS_WITH_AS(model.decode(field("queries", {2, 3, 12}, 1), image.memory),
                       "tiny: queries have shape [2, 3, 12], need [1, N, 12], or [N, 12] for every image", Error);
}

TEST_CASE("a config survives its JSON form, and a wrong one is refused by its key") {
  for (const std::string& name : published_architectures()) {
    const SatConfig config = published_config(name);
    CHECK(to_json(config_from_json(Json::parse(to_json(config).dump(2), name), name)).dump() == to_json(config).dump());
  }
  const auto refused = [](const char* key, Json value) {
    Json json = to_json(tiny_config());
    json.set(key, std::move(value));
    CHECK_THROWS_WITH_AS(config_from_json(json, "x.json"), doctest::Contains(key), Error);
  };
  refused("heads", 7);
  refused("heads", 0);
  refused("channels", Json::array({64}));
  refused("channels", Json::array({4, 6, int64_t(1) << 40}));
  refused("decoder_blocks", Json::array({1}));
  refused("importance", "f64");
  refused("chanels", 3);
  refused("backbone", "SwinUNET");
  Json swin = to_json(tiny_config());
  swin.set("backbone", "SwinUNETR");
  CHECK_THROWS_WITH_AS(config_from_json(swin, "x.json"), "x.json: key 'swin_blocks' is missing", Error);
}

TEST_CASE("a checkpoint of a published model is recognised from its shapes") {
  ContextOptions options;
  options.dry = true;
  Context context(options);
  UseContext use(context);
  for (const std::string& name : published_architectures()) {
    std::map<std::string, Tensor> tensors;
    const SatModel model(
        Weights::made([&](const std::string& key, const Shape& shape) { return tensors[key] = Tensor(shape); }),
        published_config(name), Heads::all);
    const RecognisedConfig found = recognise_config(Weights::from_tensors(tensors));
    CHECK(found.certain);
    CHECK(found.config.architecture == name);
    tensors.erase("projection_layer.0.weight");
    CHECK_THROWS_AS(recognise_config(Weights::from_tensors(tensors)), Error);
  }
  CHECK_THROWS_WITH_AS(recognise_config(Weights::from_tensors({{"conv.weight", Tensor({3})}}, "some.pth")),
                       doctest::Contains("some.pth: not a SAT checkpoint"), Error);
}
