// Claims: ECAMP's pre-training network masks, restores and sharpens as its definition says, whatever the threads.
#include <doctest/doctest.h>

#include <cmath>

#include "tests/support/golden.h"
#include "tests/support/image/tiny_ecamp.h"
#include "tests/support/levels.h"

using namespace sat;
using namespace sat::test;

namespace {

std::vector<float> noise(const std::string& name, int64_t count) {
  const std::vector<double> draws = unit(name, count);
  return {draws.begin(), draws.end()};
}

TokenRows reports() {
  TokenRows texts;
  texts.append({2, 7, 3, 9, 3, 0, 0}, {1, 1, 1, 1, 1, 0, 0});
  texts.append({2, 3, 11, 16});
  return texts;
}

Tensor images(int64_t batch = 2) { return field("images", {batch, 128, 128, 3}, 1.5); }

EcampPretraining network() { return {Weights::from_tensors(tensors_of(tiny_ecamp())), tiny_ecamp()}; }

/// x W^T + b in double.
std::vector<double> dense(const Tensors& w, const std::string& name, const std::vector<double>& x) {
  const Tensor weight = w.at(name + ".weight"), bias = w.at(name + ".bias");
  const int64_t in = weight.shape[1], out = weight.shape[0];
  std::vector<double> y;
  for (size_t row = 0; row < x.size() / size_t(in); ++row) {
    for (int64_t o = 0; o < out; ++o) {
      double sum = double(bias.data<float>()[o]);
      for (int64_t i = 0; i < in; ++i)
        sum += double(weight.data<float>()[o * in + i]) * x[row * size_t(in) + size_t(i)];
      y.push_back(sum);
    }
  }
  return y;
}

std::vector<double> normed(const Tensors& w, const std::string& name, std::vector<double> x) {
  const Tensor gain = w.at(name + ".weight"), bias = w.at(name + ".bias");
  const auto C = size_t(gain.numel());
  for (size_t row = 0; row < x.size() / C; ++row) {
    double mean = 0, variance = 0;
    for (size_t c = 0; c < C; ++c) mean += x[row * C + c] / double(C);
    for (size_t c = 0; c < C; ++c) variance += (x[row * C + c] - mean) * (x[row * C + c] - mean) / double(C);
    for (size_t c = 0; c < C; ++c) {
      x[row * C + c] = (x[row * C + c] - mean) / std::sqrt(variance + 1e-12) * double(gain.data<float>()[c]) +
                       double(bias.data<float>()[c]);
    }
  }
  return x;
}

/// One head over all channels: the first `attended` rows of k and v count.
std::vector<double> attended(const std::vector<double>& q, const std::vector<double>& k, const std::vector<double>& v,
                             size_t C, size_t rows) {
  std::vector<double> y(q.size(), 0);
  for (size_t i = 0; i < q.size() / C; ++i) {
    std::vector<double> weight(rows);
    double total = 0;
    for (size_t j = 0; j < rows; ++j) {
      double product = 0;
      for (size_t c = 0; c < C; ++c) product += q[i * C + c] * k[j * C + c];
      total += weight[j] = std::exp(product / std::sqrt(double(C)));
    }
    for (size_t j = 0; j < rows; ++j) {
      for (size_t c = 0; c < C; ++c) y[i * C + c] += weight[j] / total * v[j * C + c];
    }
  }
  return y;
}

std::vector<double> sum(std::vector<double> a, const std::vector<double>& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] += b[i % b.size()];
  return a;
}

std::vector<double> values_of(const Tensor& x) { return {x.data<float>(), x.data<float>() + x.numel()}; }

}  // namespace

TEST_CASE("patches are kept, removed and restored as recorded for the recorded noise") {
  const PatchMasks masks = mask_patches(noise("noise", 392), 2);
  REQUIRE(masks.seen == 49);
  CHECK(std::vector<int64_t>(masks.kept.begin(), masks.kept.begin() + 8) ==
        std::vector<int64_t>{169, 116, 15, 113, 63, 192, 112, 34});
  CHECK(std::vector<uint8_t>(masks.removed.begin(), masks.removed.begin() + 16) ==
        std::vector<uint8_t>{1, 0, 1, 1, 0, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0});
  for (int64_t i = 0; i < 49; ++i) CHECK(masks.restore[size_t(masks.kept[size_t(i)])] == i);
}

TEST_CASE("noise that cannot be sorted, and ratios that keep nothing, are refused") {
  CHECK_THROWS_WITH_AS(mask_patches({0.5f, NAN}, 1), doctest::Contains("not finite"), Error);
  CHECK_THROWS_WITH_AS(mask_patches({0.5f, 0.2f, 0.1f}, 2), doctest::Contains("3 numbers for 2 images"), Error);
  CHECK_THROWS_WITH_AS(mask_patches({0.5f, 0.2f}, 1, 0.9), doctest::Contains("keeps none of 2 patches"), Error);
  CHECK_THROWS_WITH_AS(mask_patches({0.5f, 0.2f}, 1, 1), doctest::Contains("a ratio of 1"), Error);
}

TEST_CASE("the position table has the recorded values, its first row zeros") {
  const Tensor table = fixed_positions(768, 14, 14);
  const float* row = table.data<float>() + (1 + 14 * 1 + 2) * 768;  // y 1, x 2
  const std::pair<int, double> recorded[] = {{0, .9092974},    {1, .9189599},   {191, .2010336}, {192, -.4161468},
                                             {193, -.3943511}, {383, .9795843}, {384, .8414710}, {385, .8349704},
                                             {575, .1010338},  {576, .5403023}, {577, .5502949}, {767, .9948830}};
  for (const auto& [index, value] : recorded) CHECK(double(row[index]) == doctest::Approx(value).epsilon(1e-6));
  for (int i = 0; i < 768; ++i) CHECK(table.data<float>()[i] == 0);
}

TEST_CASE("images are halved by four taps along each axis, edges repeated") {
  const Tensor x = field("x", {2, 6, 8, 3}, 1), y = halve_images(x);
  REQUIRE(y.shape == Shape({2, 3, 4, 3}));
  const double taps[4] = {-0.09375, 0.59375, 0.59375, -0.09375};
  Tensor want(y.shape);
  for (int64_t i = 0; i < y.numel(); ++i) {
    const int64_t c = i % 3, column = i / 3 % 4, row = i / 12 % 3, b = i / 36;
    double value = 0;
    for (int64_t a = 0; a < 4; ++a) {
      for (int64_t d = 0; d < 4; ++d) {
        const int64_t from_row = std::clamp<int64_t>(2 * row - 1 + a, 0, 5);
        const int64_t from_column = std::clamp<int64_t>(2 * column - 1 + d, 0, 7);
        value += taps[a] * taps[d] * double(x.data<float>()[((b * 6 + from_row) * 8 + from_column) * 3 + c]);
      }
    }
    want.data<float>()[i] = float(value);
  }
  CHECK(mismatch(y, want, {0, 1e-6}) == "");
  CHECK_THROWS_WITH_AS(halve_images(zeros({1, 3, 4, 3})), doctest::Contains("even H and W"), Error);
}

TEST_CASE("an encoder that sees all patches gives the plain transformer's rows, in the order of the noise") {
  const EcampPretraining whole = network();
  const PatchMasks masks = mask_patches(noise("all", 32), 2, 0);
  const EcampForward made = whole(images(), masks, reports());
  const VitRows rows = whole.encoder()(made.image, PositionRule::offset);
  const Tensor plain = whole.encoder().normed(rows.rows).reshape({2, 17, 64});
  for (int64_t b = 0; b < 2; ++b) {
    CHECK(mismatch(made.latent.select(b).select(0), plain.select(b).select(0), {0, 1e-5}) == "");
    for (int64_t i = 0; i < 16; ++i) {
      CHECK(mismatch(made.latent.select(b).select(1 + i), plain.select(b).select(1 + masks.kept[size_t(b * 16 + i)]),
                     {0, 1e-5}) == "");
    }
  }
}

TEST_CASE("the image decoder puts patches back into their places, whatever order they were seen in") {
  const EcampPretraining whole = network();
  const EcampForward one = whole(images(), mask_patches(noise("one", 32), 2, 0), reports());
  const EcampForward other = whole(images(), mask_patches(noise("other", 32), 2, 0), reports());
  CHECK(mismatch(one.predicted, other.predicted, {0, 1e-5}) == "");
  CHECK(mismatch(one.text, other.text, {0, 1e-5}) == "");
  const EcampForward masked = whole(images(), mask_patches(noise("one", 32), 2), reports());
  CHECK(masked.latent.shape == Shape({2, 5, 64}));
  CHECK(largest_difference(masked.predicted, one.predicted) > 1e-3);
}

TEST_CASE("the super-resolution head follows its definition, and gives nothing negative") {
  const Tensors w = tensors_of(tiny_ecamp());
  const SuperResolution head(Weights::from_tensors(w) / "super_res", 3);
  const int64_t h = 3, width = 4;
  const Tensor x = field("x", {1, h, width, 3}, 1), y = head(x);
  REQUIRE(y.shape == Shape({1, 2 * h, 2 * width, 3}));
  using Image = std::vector<double>;
  const auto at = [&](const Image& image, int64_t row, int64_t column, int64_t c) {
    const bool inside = row >= 0 && row < 2 * h && column >= 0 && column < 2 * width;
    return inside ? image[size_t((row * 2 * width + column) * 3 + c)] : 0;
  };
  Image u;
  for (int64_t row = 0; row < 2 * h; ++row) {
    for (int64_t column = 0; column < 2 * width; ++column) {
      for (int64_t c = 0; c < 3; ++c) {
        const double r = std::max(0., (double(row) + 0.5) / 2 - 0.5),
                     s = std::max(0., (double(column) + 0.5) / 2 - 0.5);
        const auto pixel = [&](int64_t i, int64_t j) {
          return double(x.data<float>()[(std::min(i, h - 1) * width + std::min(j, width - 1)) * 3 + c]);
        };
        const auto i = int64_t(r), j = int64_t(s);
        const double a = r - double(i), b = s - double(j);
        u.push_back((1 - a) * ((1 - b) * pixel(i, j) + b * pixel(i, j + 1)) +
                    a * ((1 - b) * pixel(i + 1, j) + b * pixel(i + 1, j + 1)));
      }
    }
  }
  const auto conv = [&](const Image& image, const std::string& name) {
    const Tensor weight = w.at("super_res." + name + ".weight"), bias = w.at("super_res." + name + ".bias");
    Image out;
    for (int64_t i = 0; i < int64_t(image.size()); ++i) {
      const int64_t o = i % 3, column = i / 3 % (2 * width), row = i / 3 / (2 * width);
      double sum = double(bias.data<float>()[o]);
      for (int64_t tap = 0; tap < 27; ++tap) {
        sum += double(weight.data<float>()[o * 27 + tap]) *
               at(image, row + tap % 9 / 3 - 1, column + tap % 3 - 1, tap / 9);
      }
      out.push_back(sum);
    }
    return out;
  };
  const auto relu = [](Image image) {
    for (double& value : image) value = std::max(0., value);
    return image;
  };
  const Image want = relu(sum(conv(relu(conv(u, "conv1")), "conv2"), u));
  for (int64_t i = 0; i < y.numel(); ++i) {
    CHECK(double(y.data<float>()[i]) == doctest::Approx(want[size_t(i)]).epsilon(1e-5));
  }
}

TEST_CASE("the fusion layer follows its definition") {
  Tensors w;
  const std::string fusion = "bert_encoder.model.bert.context_fusion_layer.";
  for (const auto& [name, tensor] : tensors_of(tiny_ecamp())) {
    if (name.compare(0, fusion.size(), fusion) == 0) w[name.substr(fusion.size())] = tensor;
  }
  const TextBackboneConfig config = tiny_ecamp().text;
  const ContextFusion layer(Weights::from_tensors(w), config);
  TokenRows text;
  text.append({2, 7, 3, 0}, {1, 1, 1, 0});
  const size_t C = 64;
  const Tensor x = field("x", {4, 64}, 1), tokens = field("tokens", {3, 64}, 1), pooled = field("pooled", {1, 64}, 1);
  Tensor bias({16});  // one head; the last token is not attended
  for (int64_t i = 0; i < 16; ++i) bias.data<float>()[i] = i % 4 == 3 ? -1e30f : 0;
  const Tensor got = layer(x, text, bias, {tokens, pooled, {0, 3}});

  const std::vector<double> in = values_of(x), image = values_of(tokens);
  const std::string self = "attention.self.", cross = "cross_self_attention.";
  const std::vector<double> mixed =
      attended(dense(w, self + "query", in), dense(w, self + "key", in), dense(w, self + "value", in), C, 3);
  const std::vector<double> a =
      normed(w, "attention.output.LayerNorm", sum(dense(w, "attention.output.dense", mixed), in));
  const std::vector<double> fine =
      attended(dense(w, cross + "query", a), dense(w, cross + "key", image), dense(w, cross + "value", image), C, 3);
  const std::vector<double> c = sum(fine, dense(w, "gap_mlp", values_of(pooled)));
  const std::vector<double> b = normed(w, "out_layer.LayerNorm", sum(dense(w, "out_layer.dense", c), a));
  std::vector<double> hidden = dense(w, "intermediate.dense", b);
  for (double& value : hidden) value *= 0.5 * (1 + std::erf(value / std::sqrt(2.)));
  const std::vector<double> want = normed(w, "output.LayerNorm", sum(dense(w, "output.dense", hidden), b));
  for (int64_t i = 0; i < got.numel(); ++i) {
    CHECK(double(got.data<float>()[i]) == doctest::Approx(want[size_t(i)]).epsilon(1e-4));
  }
}

TEST_CASE("older names, and the words' bias under either of its names, give the same words") {
  const Tensors w = tensors_of(tiny_ecamp());
  const PatchMasks masks = mask_patches(noise("one", 32), 2);
  const Tensor want = network()(images(), masks, reports()).logits;
  Tensors renamed;
  const std::string fusion = "context_fusion_layer", bias = "cls.predictions.bias";
  for (const auto& [published, tensor] : w) {
    std::string name = published;
    const size_t at = name.find(fusion), end = name.find(bias);
    if (at != std::string::npos) name.replace(at, fusion.size(), "cross_attn_layer");
    if (end != std::string::npos) name.replace(end, bias.size(), "cls.predictions.decoder.bias");
    renamed[name] = tensor;
  }
  renamed["bert_encoder.model.bert.embeddings.position_ids"] = from_ids({1, 2}, {0, 1});
  renamed["bert_encoder.model.bert.pooler.dense.bias"] = zeros({64});
  const Weights weights = Weights::from_tensors(renamed);
  const EcampPretraining other(weights, tiny_ecamp());
  CHECK(weights.never_read().empty());
  CHECK(mismatch(other(images(), masks, reports()).logits, want, {}) == "");
}

TEST_CASE("sizes are recognised from the tensors") {
  const EcampConfig found = recognise_ecamp_config(Weights::from_tensors(tensors_of(tiny_ecamp())));
  const EcampConfig want = tiny_ecamp();
  CHECK(found.encoder.width == want.encoder.width);
  CHECK(found.encoder.depth == want.encoder.depth);
  CHECK(found.decoder.width == want.decoder.width);
  CHECK(found.decoder.depth == want.decoder.depth);
  CHECK(found.decoder.hidden == want.decoder.hidden);
  CHECK(found.decoder.heads == 1);
  CHECK(found.text.vocabulary == 40);
  CHECK(found.text.layers == 2);
  CHECK(found.text.positions == 12);
  CHECK(found.text.feedforward == 96);
}

TEST_CASE("the forward pass has the same bits for any number of threads, and images do not see each other") {
  const EcampPretraining whole = network();
  const PatchMasks masks = mask_patches(noise("one", 32), 2);
  for (const auto part : {&EcampForward::sharpened, &EcampForward::logits}) {
    CHECK(difference_by_threads([&] { return network()(images(), masks, reports()).*part; }) == "");
  }
  const EcampForward both = whole(images(), masks, reports());
  TokenRows second;
  second.append({2, 3, 11, 16});
  const std::vector<float> draws = noise("one", 32);
  const EcampForward alone =
      whole(images().slice(1, 2).clone(), mask_patches({draws.begin() + 16, draws.end()}, 1), second);
  CHECK(mismatch(alone.sharpened, both.sharpened.slice(1, 2), {}) == "");
  CHECK(mismatch(alone.logits, both.logits.slice(7, 11), {}) == "");
}

TEST_CASE("images, masks and reports that do not belong together are refused") {
  const EcampPretraining whole = network();
  const PatchMasks masks = mask_patches(noise("one", 32), 2);
  CHECK_THROWS_WITH_AS(whole(zeros({2, 64, 64, 3}), masks, reports()), doctest::Contains("need [2, 128, 128, 3]"),
                       Error);
  CHECK_THROWS_WITH_AS(whole(images(), mask_patches(noise("one", 18), 2), reports()),
                       doctest::Contains("masks of 9 patches, an image has 16"), Error);
  TokenRows one;
  one.append({2, 3});
  CHECK_THROWS_WITH_AS(whole(images(), masks, one), doctest::Contains("1 reports for 2 images"), Error);
}
