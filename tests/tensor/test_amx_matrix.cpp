// Dense layers and attention on AMX tiles, emulated where the processor has none: against definitions of the rounded
// operands, by threads and batches, and the processor's code against its portable twin.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "sat/nn/image/vit.h"
#include "sat/tensor/cpu/amx/voxels/voxel_piece.h"
#include "sat/tensor/half.h"
#include "sat/tensor/memory/memory.h"
#include "sat/tensor/ops.h"
#include "tests/support/amx/tile_emulator.h"
#include "tests/support/golden.h"
#include "tests/support/image/tiny_vit.h"
#include "tests/support/levels.h"
#include "tests/support/parity/recorded.h"

using namespace sat;
using namespace sat::test;

namespace {

ContextOptions fast(int threads = 1, const cpu::AmxLoops* loops = &cpu::kEmulatedTiles) {
  ContextOptions options;
  options.threads = threads;
  options.precision = Precision::fast;
  options.host = cpu::make_backend(0, false, loops);
  return options;
}

template <class Compute>
Tensor on_tiles(Compute compute, int threads = 1, const cpu::AmxLoops* loops = &cpu::kEmulatedTiles) {
  Context context(fast(threads, loops));
  UseContext use(context);
  return compute();
}

Tensor rounded(const Tensor& x) { return x.cast(DType::bf16).cast(DType::f32); }

double deviation(const Tensor& x) {
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < x.numel(); ++i) {
    const double value = double(x.data<float>()[i]);
    sum += value;
    squares += value * value;
  }
  return std::sqrt(squares / double(x.numel()) - sum * sum / double(x.numel() * x.numel()));
}

/// Root mean square of what two tensors differ by.
double difference(const Tensor& a, const Tensor& b) {
  double squares = 0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    const double off = double(a.data<float>()[i]) - double(b.data<float>()[i]);
    squares += off * off;
  }
  return std::sqrt(squares / double(a.numel()));
}

constexpr DenseSite kImage{1370};

/// One dense layer.
struct Layer {
  int64_t rows, in, out;
  Activation act = Activation::none;
  bool biased = true, added = false, scaled = false;

  Tensor x() const { return field("x", {rows, in}, 1.5, 0.2); }
  Tensor weight() const { return field("weight", {out, in}, 2 / std::sqrt(double(in))); }
  Tensor bias() const { return biased ? field("bias", {out}, 1) : Tensor(); }
  Tensor residual() const { return field("residual", {rows, out}, 2); }
  Tensor scale() const { return scaled ? field("scale", {out}, 1) : Tensor(); }

  Tensor computed(const DenseSite& site = kImage) const { return computed(x(), residual(), site); }
  Tensor computed(const Tensor& from, Tensor onto, const DenseSite& site = kImage) const {
    const PackedMatrix packed = pack_linear(weight(), site);
    return added ? linear_add(std::move(onto), from, packed, bias(), scale()) : linear(from, packed, bias(), act);
  }
  Tensor defined() const {
    const Tensor a = rounded(x()), b = rounded(weight()), shift = bias(), before = residual(), factor = scale();
    Tensor y({rows, out});
    for (int64_t i = 0; i < rows * out; ++i) {
      double sum = 0;
      for (int64_t k = 0; k < in; ++k) {
        sum += double(a.data<float>()[i / out * in + k]) * double(b.data<float>()[i % out * in + k]);
      }
      if (biased) sum += double(shift.data<float>()[i % out]);
      if (act == Activation::relu) sum = std::max(sum, 0.0);
      if (act == Activation::gelu) sum = 0.5 * sum * std::erfc(-sum / std::sqrt(2.0));
      if (added) sum = double(before.data<float>()[i]) + sum * (scaled ? double(factor.data<float>()[i % out]) : 1);
      y.data<float>()[i] = float(sum);
    }
    return y;
  }
};

std::ostream& operator<<(std::ostream& out, const Layer& l) {
  return out << l.rows << " x " << l.in << " -> " << l.out << ", activation " << int(l.act)
             << (l.biased ? ", bias" : "") << (l.added ? ", added" : "") << (l.scaled ? ", scaled" : "");
}

constexpr Activation kNone = Activation::none, kRelu = Activation::relu, kGelu = Activation::gelu;

const Layer kLayers[] = {
    {1, 1, 1},
    {1, 32, 32, kGelu},
    {47, 3072, 3},
    {49, 33, 65, kRelu},
    {97, 800, 40},
    {145, 65, 257, kGelu},
    {1370, 33, 35, kGelu},
    {1370, 31, 17, kNone, true, true, true},
    {16, 416, 31},
    {33, 500, 64, kNone, false},
    {48, 64, 32, kRelu},
    {50, 96, 70, kNone, false, true, false},
    {300, 70, 90, kNone, true, true, false},
};

/// Attention of some segments.
struct Mixing {
  int64_t heads, width;
  std::vector<int64_t> queries, tokens;  // of each segment
  bool biased = false, regions = false;

  Segments segments() const {
    Segments s{{0}, {0}};
    for (size_t i = 0; i < queries.size(); ++i) {
      s.queries.push_back(s.queries.back() + queries[i]);
      s.keys.push_back(s.keys.back() + tokens[i]);
    }
    for (int64_t row = 0; regions && row < s.queries.back(); ++row) s.regions.push_back(uint8_t(row / 40 % 3));
    return s;
  }
  Tensor q() const { return field("q", {segments().queries.back(), heads * width}, 2); }
  Tensor k() const { return field("k", {segments().keys.back(), heads * width}, 2); }
  Tensor v() const { return field("v", {segments().keys.back(), heads * width}, 1, 0.3); }
  Tensor bias() const { return biased ? field("bias", {heads, queries[0], tokens[0]}, 3) : Tensor(); }

  Tensor computed() const { return attention(q(), k(), v(), heads, segments(), bias()); }
  /// Of rounded operands and rounded weights.
  Tensor defined() const {
    const Segments s = segments();
    const Tensor a = rounded(q()), b = rounded(k()), c = rounded(v()), added = bias();
    const int64_t C = heads * width;
    Tensor y(a.shape);
    for (size_t i = 0; i < queries.size(); ++i) {
      for (int64_t row = 0; row < queries[i] * heads; ++row) {
        const int64_t n = s.queries[i] + row / heads, head = row % heads;
        std::vector<double> weights;
        for (int64_t t = s.keys[i]; t < s.keys[i + 1]; ++t) {
          double dot = 0;
          for (int64_t ch = head * width; ch < (head + 1) * width; ++ch) {
            dot += double(a.data<float>()[n * C + ch]) * double(b.data<float>()[t * C + ch]);
          }
          dot /= std::sqrt(double(width));
          if (biased) dot += double(added.data<float>()[(head * queries[0] + row / heads) * tokens[0] + t - s.keys[i]]);
          if (regions && s.regions[size_t(n)] != s.regions[size_t(t)]) dot -= 100;
          weights.push_back(dot);
        }
        const double largest = *std::max_element(weights.begin(), weights.end());
        double total = 0;
        for (double& weight : weights) total += weight = std::exp(weight - largest);
        for (int64_t ch = head * width; ch < (head + 1) * width; ++ch) {
          double sum = 0;
          for (size_t t = 0; t < weights.size(); ++t) {
            sum += double(to_float(to_bf16(float(weights[t])))) *
                   double(c.data<float>()[(s.keys[i] + int64_t(t)) * C + ch]);
          }
          y.data<float>()[n * C + ch] = float(sum / total);
        }
      }
    }
    return y;
  }
};

std::ostream& operator<<(std::ostream& out, const Mixing& m) {
  return out << m.heads << " heads of " << m.width << ", " << m.queries[0] << " x " << m.tokens[0]
             << (m.biased ? ", bias" : "") << (m.regions ? ", regions" : "");
}

const Mixing kMixings[] = {
    {1, 64, {1}, {128}},
    {2, 64, {131}, {131}},
    {1, 32, {47}, {160}},
    {3, 16, {49}, {197}},
    {2, 40, {33, 7}, {129, 200}},
    {1, 1, {16}, {140}},
    {2, 40, {150}, {150}, true, true},
    {1, 64, {97}, {159}, true},
    {2, 36, {130, 140}, {130, 140}, false, true},
};

}  // namespace

TEST_CASE("amx linear: sums of rounded operands, to the rounding of f32") {
  for (const Layer& layer : kLayers) {
    CAPTURE(layer);
    // GELU is fitted to 1e-4.
    const double absolute = layer.act == kGelu ? 1.1e-4 : 1e-5;
    CHECK(mismatch(on_tiles([&] { return layer.computed(); }), layer.defined(), {1e-5, absolute}) == "");
  }
}

TEST_CASE("amx linear: within a hundredth of the deviation of what f32 gives") {
  for (const Layer& layer : kLayers) {
    if (layer.rows * layer.out < 100) continue;
    CAPTURE(layer);
    const Tensor want = layer.computed({});
    CHECK(difference(on_tiles([&] { return layer.computed(); }), want) < 1e-2 * deviation(want));
  }
}

TEST_CASE("amx linear: only layers of many rows, in fast precision, are packed for tiles") {
  const Tensor weight = field("weight", {40, 50}, 1);
  Context tiles(fast());
  {
    UseContext use(tiles);
    const PackedMatrix packed = pack_linear(weight, kImage);
    CHECK(packed.panels.dtype == DType::bf16);
    CHECK(packed.panels.shape == Shape({2, 2, 2, 16, 32}));
    CHECK(pack_linear(weight).panels.dtype == DType::f32);
    CHECK(pack_linear(weight, {20}).panels.dtype == DType::f32);
    CHECK(linear(zeros({0, 50}), packed, {}).shape == Shape({0, 40}));
  }
  Context exact(options_of(best_cpu_level(), 1, Tiles::yes));
  UseContext use(exact);
  CHECK(pack_linear(weight, kImage).panels.dtype == DType::f32);
}

TEST_CASE("amx linear: a weight packed for tiles is refused where there are none") {
  PackedMatrix packed;
  {
    Context context(fast());
    UseContext use(context);
    packed = pack_linear(field("weight", {40, 50}, 1), kImage);
  }
  Context context(options_of(levels().front(), 1));
  UseContext use(context);
  CHECK_THROWS_WITH_AS(linear(field("x", {3, 50}, 1), packed, {}), doctest::Contains("matrix units"), Error);
}

TEST_CASE("amx linear: the same bits for any number of threads, and for a row alone") {
  const Layer layer{290, 70, 530, kGelu};
  const Tensor whole = on_tiles([&] { return layer.computed(); });
  for (const int threads : {2, 3, 8}) {
    CAPTURE(threads);
    CHECK(same_bits(on_tiles([&] { return layer.computed(); }, threads), whole));
  }
  for (const int64_t first : {0, 1, 100, 289}) {
    CAPTURE(first);
    const int64_t last = std::min<int64_t>(first + 77, 290);
    const Tensor some = slice(layer.x(), first, last).clone();
    CHECK(same_bits(on_tiles([&] { return layer.computed(some, {}); }), slice(whole, first, last).clone()));
  }
}

TEST_CASE("amx linear: what is no number stays in its row") {
  for (const Activation act : {kNone, kRelu, kGelu}) {
    const Layer layer{60, 40, 35, act};
    Tensor x = layer.x();
    x.data<float>()[50 * 40 + 3] = NAN;
    const Tensor y = on_tiles([&] { return layer.computed(x, {}); });
    const Tensor row = slice(y, 50, 51);
    CHECK(std::all_of(row.data<float>(), row.data<float>() + 35, [](float value) { return std::isnan(value); }));
    CHECK(std::none_of(y.data<float>(), y.data<float>() + 50 * 35, [](float value) { return std::isnan(value); }));
    CHECK(std::none_of(y.data<float>() + 51 * 35, y.data<float>() + 60 * 35,
                       [](float value) { return std::isnan(value); }));
  }
}

TEST_CASE("amx attention: softmax of rounded operands, whatever the sizes") {
  for (const Mixing& mixing : kMixings) {
    CAPTURE(mixing);
    // A weight next to the middle of two bf16 numbers may become either: 2^-8 of it.
    CHECK(mismatch(on_tiles([&] { return mixing.computed(); }), mixing.defined(), {1e-3, 3e-3}) == "");
  }
}

TEST_CASE("amx attention: within a hundredth of the deviation of what f32 gives") {
  const Mixing mixing{2, 64, {197}, {197}};
  const Tensor want = mixing.computed();
  const double off = difference(on_tiles([&] { return mixing.computed(); }), want);
  CHECK(off < 1e-2 * deviation(want));
  CHECK(off > 1e-5 * deviation(want));  // tiles were taken
}

TEST_CASE("amx attention: few keys, wide heads and windows stay on vectors") {
  for (const Mixing& mixing : {Mixing{2, 64, {300}, {127}}, Mixing{1, 96, {10}, {243}}, Mixing{3, 16, {343}, {343}}}) {
    CAPTURE(mixing);
    CHECK(same_bits(on_tiles([&] { return mixing.computed(); }), mixing.computed()));
  }
}

TEST_CASE("amx attention: a segment's bits depend neither on threads nor on other segments") {
  const Mixing both{2, 40, {60, 150, 10}, {130, 150, 90}}, second{2, 40, {150}, {150}};
  const Tensor whole = on_tiles([&] { return both.computed(); });
  for (const int threads : {2, 3, 8}) {
    CAPTURE(threads);
    CHECK(same_bits(on_tiles([&] { return both.computed(); }, threads), whole));
  }
  const Tensor q = slice(both.q(), 60, 210).clone(), k = slice(both.k(), 130, 280).clone(),
               v = slice(both.v(), 130, 280).clone();
  CHECK(same_bits(on_tiles([&] { return attention(q, k, v, 2, second.segments()); }), slice(whole, 60, 210).clone()));
}

TEST_CASE("amx matrices: a dry run holds what a real one holds") {
  const Layer layer{290, 70, 130, kGelu};
  const Mixing mixing{2, 40, {130, 150}, {130, 150}, false, true};
  Context real(fast(3));
  Context dry(real.dry_run());
  const Tensor inputs[] = {layer.x(), layer.weight(), layer.bias(), mixing.q(), mixing.k(), mixing.v()};
  const auto peak = [&](Context& context) {
    UseContext use(context);
    std::vector<Tensor> held;
    for (const Tensor& input : inputs) held.push_back(&context == &dry ? Tensor(input.shape) : input.clone());
    context.memory()->reset_peak();
    linear(held[0], pack_linear(held[1], kImage), held[2], kGelu);
    attention(held[3], held[4], held[5], mixing.heads, mixing.segments());
    return context.memory()->peak_bytes();
  };
  const int64_t real_peak = peak(real);
  CHECK(real_peak == peak(dry));
  CHECK(real_peak > 500000);
}

TEST_CASE("amx matrices: the code for the processor's tiles gives the twin's bits") {
  // Where there are no tiles, their instructions are emulated one by one, and everything around them is real.
  const TilesHere tiles;
  if (!tiles.run) {
    MESSAGE("could not run: this processor has neither AMX nor the AVX-512 that an emulation of its tiles needs");
    CHECK(best_cpu_level() < CpuLevel::amx);
    return;
  }
  for (const Layer& layer : kLayers) {
    CAPTURE(layer);
    const auto compute = [&] { return layer.computed(); };
    CHECK(same_bits(on_tiles(compute, 2, &cpu::kProcessorTiles), on_tiles(compute)));
  }
  for (const Mixing& mixing : kMixings) {
    CAPTURE(mixing);
    const auto compute = [&] { return mixing.computed(); };
    CHECK(same_bits(on_tiles(compute, 2, &cpu::kProcessorTiles), on_tiles(compute)));
  }
  if (tiles.emulator) CHECK(TileEmulator::products() > 1000);
}

TEST_CASE("a vision transformer on tiles, layers and attention, is within 2e-2 of exact features' deviation") {
  VitConfig config = tiny_vit_config();
  config.heads = 1;
  config.tokens = 12 * 12 + 1;
  const Tensor images = field("pixels", {2, 12 * 14, 12 * 14, 3}, 1.5);
  const auto features = [&] {
    const Vit vit(generated_vit(""), config, VitNaming::hugging_face);
    return vit.normed(vit(images, PositionRule::offset).rows);
  };
  const Tensor want = features(), got = on_tiles(features);
  CHECK(difference(got, want) < 2e-2 * deviation(want));
  CHECK(difference(got, want) > 1e-5 * deviation(want));  // tiles were taken
}
