// Claims: ECAMP's fine-tuned networks follow their definitions, give an image the same bits in any batch and on any
// threads, and hold in a dry run what they hold in a real one.
#include <doctest/doctest.h>

#include <cmath>

#include "sat/tensor/memory/memory.h"
#include "tests/support/golden.h"
#include "tests/support/image/tiny_ecamp.h"
#include "tests/support/levels.h"

using namespace sat;
using namespace sat::test;

namespace {

Tensor images(int64_t batch) { return field("images", {batch, 64, 64, 3}, 1.5); }

template <class Network, class Config>
Network made_of(const Config& config) {
  return Network(Weights::from_tensors(tensors_of(config)), config);
}

/// Peak and live bytes of building a network and asking it, in the current context.
template <class Network, class Config, class Ask>
std::pair<int64_t, int64_t> held(const ContextOptions& options, const Config& config, const Ask& ask) {
  Context context(options);
  UseContext use(context);
  const Weights w = Weights::made([&](const std::string& name, const Shape& shape) {
    return context.dry() ? Tensor(shape)
                         : field(name, shape, 0.1, name.find("running_var") == std::string::npos ? 0 : 1);
  });
  const Network network(w, config);
  const Tensor result = ask(network, context.dry() ? Tensor({2, 64, 64, 3}) : images(2));
  return {context.memory()->peak_bytes(), context.memory()->live_bytes()};
}

template <class Network, class Config, class Ask>
void check_dry_run(const Config& config, const Ask& ask) {
  const ContextOptions options = options_of(best_cpu_level(), 1);
  const Context real(options);
  CHECK(held<Network>(real.dry_run(), config, ask) == held<Network>(options, config, ask));
}

/// [h, w, C] in double.
struct Map {
  int64_t h, w, C;
  std::vector<double> values;
  double at(int64_t y, int64_t x, int64_t c) const {
    return y >= 0 && y < h && x >= 0 && x < w ? values[size_t((y * w + x) * C + c)] : 0;
  }
};

Map convolved(const Map& x, const Tensor& weight, const Tensor& bias) {
  Map y{x.h, x.w, weight.shape[0], {}};
  for (int64_t i = 0; i < x.h * x.w * y.C; ++i) {
    const int64_t o = i % y.C, column = i / y.C % x.w, row = i / y.C / x.w;
    double sum = double(bias.data<float>()[o]);
    for (int64_t c = 0; c < x.C; ++c) {
      for (int64_t tap = 0; tap < 9; ++tap) {
        sum += double(weight.data<float>()[(o * x.C + c) * 9 + tap]) * x.at(row + tap / 3 - 1, column + tap % 3 - 1, c);
      }
    }
    y.values.push_back(sum);
  }
  return y;
}

/// Twice the size, first and last pixels' centres at one place.
Map doubled(const Map& x) {
  Map y{2 * x.h, 2 * x.w, x.C, {}};
  for (int64_t i = 0; i < y.h * y.w * y.C; ++i) {
    const int64_t c = i % y.C;
    const double row = double(i / y.C / y.w) * double(x.h - 1) / double(y.h - 1);
    const double column = double(i / y.C % y.w) * double(x.w - 1) / double(y.w - 1);
    const auto r = int64_t(row), s = int64_t(column);
    const double a = row - double(r), b = column - double(s);
    y.values.push_back((1 - a) * ((1 - b) * x.at(r, s, c) + b * x.at(r, s + 1, c)) +
                       a * ((1 - b) * x.at(r + 1, s, c) + b * x.at(r + 1, s + 1, c)));
  }
  return y;
}

}  // namespace

TEST_CASE("a classifier is the mean patch before the last norm, a norm and a dense layer") {
  const Tensors w = tensors_of(tiny_classifier());
  const EcampClassifier network = made_of<EcampClassifier>(tiny_classifier());
  const VitRows x = network.encoder().vit()(images(2), PositionRule::offset);
  const Tensor logits = network(images(2));
  REQUIRE(logits.shape == Shape({2, 5}));
  const auto value = [&](const char* name, int64_t i) { return double(w.at(name).data<float>()[i]); };
  for (int64_t b = 0; b < 2; ++b) {
    std::vector<double> mean(64, 0);
    for (int64_t p = 1; p < 17; ++p) {
      for (int64_t c = 0; c < 64; ++c) mean[size_t(c)] += double(x.rows.data<float>()[(b * 17 + p) * 64 + c]) / 16;
    }
    double centre = 0, variance = 0;
    for (double each : mean) centre += each / 64;
    for (double each : mean) variance += (each - centre) * (each - centre) / 64;
    for (int64_t k = 0; k < 5; ++k) {
      double want = value("head.bias", k);
      for (int64_t c = 0; c < 64; ++c) {
        const double normed = (mean[size_t(c)] - centre) / std::sqrt(variance + 1e-6);
        want += (normed * value("fc_norm.weight", c) + value("fc_norm.bias", c)) * value("head.weight", k * 64 + c);
      }
      CHECK(double(logits.data<float>()[b * 5 + k]) == doctest::Approx(want).epsilon(1e-4));
    }
  }
}

TEST_CASE("a segmentation decoder doubles its map stage by stage, corners aligned") {
  const Tensors w = tensors_of(tiny_segmenter());
  const EcampSegmenter network = made_of<EcampSegmenter>(tiny_segmenter());
  const Tensor map = field("map", {1, 4, 4, 64}, 1), logits = network.logits(map);
  REQUIRE(logits.shape == Shape({1, 64, 64, 1}));
  Map x{4, 4, 64, {map.data<float>(), map.data<float>() + map.numel()}};
  for (int stage = 1; stage <= 4; ++stage) {
    const std::string at = "decoder.decoder_" + std::to_string(stage) + ".";
    x = convolved(x, w.at(at + "0.weight"), w.at(at + "0.bias"));
    const auto value = [&](const char* name, int64_t c) { return double(w.at(at + "1." + name).data<float>()[c]); };
    for (size_t i = 0; i < x.values.size(); ++i) {
      const int64_t c = int64_t(i) % x.C;
      x.values[i] = std::max(0., (x.values[i] - value("running_mean", c)) / std::sqrt(value("running_var", c) + 1e-5) *
                                         value("weight", c) +
                                     value("bias", c));
    }
    x = doubled(x);
  }
  x = convolved(x, w.at("decoder.final_out.weight"), w.at("decoder.final_out.bias"));
  Tensor want(logits.shape);
  for (size_t i = 0; i < x.values.size(); ++i) want.data<float>()[i] = float(x.values[i]);
  CHECK(mismatch(logits, want, {1e-5, 1e-6}) == "");
}

TEST_CASE("a disc and a cup are two decoders on one map") {
  const EcampSegmenter network = made_of<EcampSegmenter>(tiny_disc_and_cup());
  CHECK(network.masks() == std::vector<std::string>{"disc", "cup"});
  const Tensor logits = network(images(1));
  REQUIRE(logits.shape == Shape({1, 64, 64, 2}));
  Tensors disc;
  for (const auto& [name, tensor] : tensors_of(tiny_disc_and_cup())) {
    if (name.rfind("decoder_cup", 0) == 0) continue;
    disc[name.rfind("decoder_disc", 0) == 0 ? "decoder" + name.substr(12) : name] = tensor;
  }
  const Tensor alone = EcampSegmenter(Weights::from_tensors(disc), tiny_segmenter())(images(1));
  for (int64_t i = 0; i < alone.numel(); ++i) CHECK(alone.data<float>()[i] == logits.data<float>()[2 * i]);
}

TEST_CASE("a detector has three grids, from half the patches' grid to twice") {
  const EcampDetector network = made_of<EcampDetector>(tiny_detector());
  const std::array<Tensor, 3> grids = network(images(2));
  CHECK(grids[0].shape == Shape({2, 2, 2, 21}));
  CHECK(grids[1].shape == Shape({2, 4, 4, 21}));
  CHECK(grids[2].shape == Shape({2, 8, 8, 21}));
  const std::vector<std::vector<Detection>> found = network.detect(images(2), 0, 1);
  REQUIRE(found.size() == 2);
  CHECK(found[0].size() == 3 * (4 + 16 + 64));
  CHECK_THROWS_WITH_AS(network.detect(images(1), 1.5, 0.5), doctest::Contains("a confidence of 1.5"), Error);
}

TEST_CASE("sizes are recognised from the tensors") {
  const EcampDetectorConfig found = recognise_ecamp_detector(Weights::from_tensors(tensors_of(tiny_detector())));
  const EcampDetectorConfig want = tiny_detector();
  CHECK(found.pyramid == want.pyramid);
  CHECK(found.bottleneck == want.bottleneck);
  CHECK(found.head == want.head);
  CHECK(found.branch == want.branch);
  CHECK(found.classes == 2);
  const auto segmenter = recognise_ecamp_segmenter(Weights::from_tensors(tensors_of(tiny_disc_and_cup())));
  CHECK(segmenter.channels == tiny_segmenter().channels);
  CHECK(segmenter.decoders.size() == 2);
  CHECK(recognise_ecamp_classifier(Weights::from_tensors(tensors_of(tiny_classifier()))).classes == 5);
}

TEST_CASE("results have the same bits for any number of threads, and in any batch") {
  const auto each = [&](const auto& ask) {
    const Tensor three = ask(images(3));
    CHECK(same_bits(ask(images(3).slice(1, 2).clone()), three.slice(1, 2)));
    CHECK(difference_by_threads([&] { return ask(images(3)); }) == "");
  };
  each([](const Tensor& x) { return made_of<EcampClassifier>(tiny_classifier())(x); });
  each([](const Tensor& x) { return made_of<EcampSegmenter>(tiny_segmenter())(x); });
  for (size_t scale = 0; scale < 3; ++scale) {
    each([&](const Tensor& x) { return made_of<EcampDetector>(tiny_detector())(x)[scale]; });
  }
}

TEST_CASE("a dry run holds what a real run holds") {
  check_dry_run<EcampClassifier>(tiny_classifier(), [](const auto& network, const Tensor& x) { return network(x); });
  check_dry_run<EcampSegmenter>(tiny_disc_and_cup(), [](const auto& network, const Tensor& x) { return network(x); });
  check_dry_run<EcampDetector>(tiny_detector(), [](const auto& network, const Tensor& x) {
    network.detect(x, 0.5, 0.5);
    return network(x)[2];
  });
  check_dry_run<EcampPretraining>(tiny_ecamp(), [](const auto& network, const Tensor& x) {
    TokenRows texts;
    texts.append({2, 7, 3, 0}, {1, 1, 1, 0});
    texts.append({2, 3});
    std::vector<float> noise;
    for (int i = 0; i < 32; ++i) noise.push_back(float(i * 7 % 32));
    const Tensor large = resample2d(x, nearest_taps(64, 128), nearest_taps(64, 128));
    return network(large, mask_patches(noise, 2), texts).logits;
  });
}

TEST_CASE("images of another size are refused, for positions are fixed") {
  const EcampClassifier network = made_of<EcampClassifier>(tiny_classifier());
  for (const Shape& shape : {Shape{1, 80, 64, 3}, Shape{1, 64, 64, 1}, Shape{64, 64, 3}, Shape{0, 64, 64, 3}}) {
    CHECK_THROWS_WITH_AS(network(zeros(shape)), doctest::Contains("images have shape"), Error);
  }
}
