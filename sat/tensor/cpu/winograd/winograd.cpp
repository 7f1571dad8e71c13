// Winograd convolutions: the transform of the weights, and the order of an item's steps.
#include "sat/tensor/cpu/winograd/winograd.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "sat/tensor/context.h"
#include "sat/tensor/cpu/winograd/winograd_gradient.h"
#include "sat/tensor/cpu/workspace.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr WinogradAxis kAxes[kAxisKinds] = {
    {2, 4, 4, 2, 4, 1}, {4, 6, 6, 4, 6, 1}, {6, 8, 8, 6, 8, 1}, {4, 9, 9, 8, 6, 1}, {8, 5, 9, 4, 6, 0}};
constexpr int64_t kBlock = kTilePanels * kPanel;  // outputs of one product
constexpr int64_t kWidestItem = 12;               // tiles along D
constexpr int64_t kTaps = 27;
constexpr int64_t kKeptWeights = 32 << 20;  // bytes of transformed weights up to which a model keeps them
constexpr int64_t kSumDepth = 256;          // most channels that are summed in registers
constexpr int64_t kLine = 64;               // bytes of a cache line
constexpr int64_t kCachedBytes = 32 << 20;  // of a volume that the last cache may still hold when it is read
constexpr int64_t kSkew = 16;               // floats between arrays, so that their rows do not share cache sets

int64_t padded(int64_t channels) { return divide_up(channels, kPanel) * kPanel; }

/// The kernel transform of an axis: row p = (1, p, p^2) / product of (p - q) over the other finite points q, and
/// (0, 0, 1) for infinity.
KernelTransform kernel_transform(AxisKind kind) {
  std::vector<double> points;
  switch (kind) {
    case AxisKind::f2: points = {0, 1, -1}; break;
    case AxisKind::f4: points = {0, 0.6875, -0.6875, 1.375, -1.375}; break;
    case AxisKind::f6: points = {0, 0.5, -0.5, 1, -1, 2, -2}; break;
    case AxisKind::stride2:
    case AxisKind::stride2_back: points = {0.375, -0.375, 1.25, -1.25}; break;
  }
  const bool outer_taps = kind == AxisKind::stride2 || kind == AxisKind::stride2_back;  // its polynomial is w0 + w2 * p
  KernelTransform transform{};
  const auto add = [&](double first, double second, double third) {
    double* row = transform.rows[transform.weights++];
    row[0] = first;
    row[1] = second;
    row[2] = third;
  };
  for (const double p : points) {
    double scale = 1;
    for (const double q : points) scale *= p == q ? 1 : p - q;
    if (outer_taps) {
      add(1 / scale, 0, p / scale);
    } else {
      add(1 / scale, p / scale, p * p / scale);
    }
  }
  add(0, 0, 1);
  if (outer_taps) add(0, 1, 0);
  return transform;
}

/// Sizes and places of everything that one item makes.
struct Layout {
  std::array<WinogradAxis, 3> axis;
  int64_t first_inputs;                                       // padded channels of the first input
  int64_t channels, outputs;                                  // padded
  int64_t tiles_w, tiles_d;                                   // most of an item
  int64_t width, rows;                                        // inputs of an item along D and W
  int64_t product_rows;                                       // tiles, rounded up to whole register tiles
  int64_t load_point, tile_point, product_point, back_point;  // floats of one point of each array
  int64_t load_at, tile_at, product_at, back_at, floats;

  Layout(const ConvSlab& slab, WinogradKind kind) {
    for (size_t a = 0; a < 3; ++a) axis[a] = axis_of(kind[a]);
    first_inputs = padded(slab.inputs[0].channels);
    channels = first_inputs + padded(slab.inputs[1].channels);
    outputs = padded(slab.out);
    const int64_t all_w = divide_up(slab.out_size[1], axis[1].outputs),
                  all_d = divide_up(slab.out_size[2], axis[2].outputs);
    const int64_t tiles = item_tiles(kind);
    tiles_d = divide_up(all_d, divide_up(all_d, kWidestItem));
    tiles_w = std::min(all_w, std::max<int64_t>(1, tiles / tiles_d));
    width = (tiles_d - 1) * axis[2].step + axis[2].inputs;
    rows = (tiles_w - 1) * axis[1].step + axis[1].inputs;
    product_rows = divide_up(tiles_w * tiles_d, kTileRows) * kTileRows;
    load_point = rows * width * channels + kSkew;
    tile_point = product_rows * channels + kSkew;
    product_point = product_rows * kBlock + kSkew;
    back_point = product_rows * outputs + kSkew;
    int64_t at = 0;
    const auto place = [&](int64_t count) {
      const int64_t here = at;
      at += divide_up(count, kPanel) * kPanel + kSkew;
      return here;
    };
    load_at = place(axis[0].points * load_point);
    tile_at = place(axis[1].points * axis[2].points * tile_point);
    product_at = place(axis[1].points * axis[2].points * product_point);
    back_at = place(axis[0].points * axis[1].outputs * axis[2].outputs * back_point);
    floats = at;
  }

 private:
  /// Tiles of an item, the rows of its products: many where the weights are large, so that they are read less often;
  /// few where the inputs are, so that these stay in the cache.
  int64_t item_tiles(WinogradKind kind) const {
    if (kind[0] == AxisKind::stride2_back) return 6;
    if (channels * outputs >= 128 * 128) return 48;
    return channels > 64 || kind[0] == AxisKind::stride2 ? 12 : 24;
  }
};

/// c [rows, panels * 16] = a [rows, depth] * u, in the order of Simd::tile.
void plain_product(float* c, const float* a, int64_t rows, const TileWeights& u, bool first) {
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t o = 0; o < u.panels * kPanel; ++o) {
      const float* weight = u.first + o / kPanel * u.panel_stride + o % kPanel;
      float sum = 0;
      for (int64_t i = 0; i < u.channels; ++i) sum = std::fmaf(a[row * u.tap_stride + i], weight[i * kPanel], sum);
      float& to = c[row * u.panels * kPanel + o];
      to = first ? sum : to + sum;
    }
  }
}

/// c [rows, width] = a [rows, channels] * panels, while the panels that follow in memory come nearer: the next product
/// reads them.
void product(const Simd* simd, float* c, const float* a, int64_t rows, const float* panels, int64_t channels,
             int64_t width) {
  for (int64_t channel = 0; channel < channels; channel += kSumDepth) {
    TileWeights u{panels + channel * kPanel, 1, channels, std::min(kSumDepth, channels - channel), width / kPanel,
                  channels * kPanel};
    if (!simd) {
      plain_product(c, a + channel, rows, u, channel == 0);
      continue;
    }
    u.lines = divide_up(u.panels * kTileRows, rows) > 2 ? 4 : divide_up(u.panels * kTileRows, rows);
    for (int64_t row = 0; row < rows; row += kTileRows) {
      const float* from[kTileRows];
      for (int64_t r = 0; r < kTileRows; ++r) from[r] = a + (row + r) * channels + channel;
      const int64_t fetched = row / kTileRows * u.lines;  // panels
      u.soon = fetched < u.panels && channels <= kSumDepth ? u.first + (u.panels + fetched) * u.panel_stride : nullptr;
      simd->tile(c + row * width, from, u, channel == 0);
    }
  }
}

class Item {
 public:
  Item(const ConvSlab& slab, const Layout& layout, WinogradKind kind, const WinogradSteps& steps, const float* panels,
       float* scratch)
      : slab_(slab), layout_(layout), kind_(kind), steps_(steps), panels_(panels), scratch_(scratch) {}

  /// Output planes from `plane` on, tiles [w, w + tiles_w) x [d, d + tiles_d); merges its moments into [out].
  void run(int64_t plane, int64_t w, int64_t tiles_w, int64_t d, int64_t tiles_d, Moments* moments) {
    tiles_w_ = tiles_w;
    tiles_d_ = tiles_d;
    rows_ = divide_up(tiles_w * tiles_d, kTileRows) * kTileRows;
    load(plane, w, d);
    const Layout& l = layout_;
    const int64_t unused = (rows_ - tiles_w * tiles_d) * l.channels;  // rows of the last register tile
    for (int64_t point = 0; point < l.axis[1].points * l.axis[2].points; ++point) {
      std::fill_n(scratch_ + l.tile_at + point * l.tile_point + rows_ * l.channels - unused, unused, 0.f);
    }
    for (int64_t k = 0; k < l.axis[0].points; ++k) {
      transform(k);
      multiply(k);
    }
    epilogue(plane, w, d, moments);
  }

 private:
  void load(int64_t plane, int64_t w, int64_t d) {
    const Layout& l = layout_;
    for (size_t input = 0; input < 2; ++input) {
      if (slab_.inputs[input].channels == 0) continue;
      WinogradSource source{};
      source.input = &slab_.inputs[input];
      source.first_h = l.axis[0].first_input(plane);
      source.first_w = w * l.axis[1].step - l.axis[1].before;
      source.first_d = d * l.axis[2].step - l.axis[2].before;
      source.H = slab_.in_size[0];
      source.W = slab_.in_size[1];
      source.D = slab_.in_size[2];
      source.width = (tiles_d_ - 1) * l.axis[2].step + l.axis[2].inputs;
      const int64_t rows = (tiles_w_ - 1) * l.axis[1].step + l.axis[1].inputs;
      for (int64_t row = 0; row < rows; ++row) {
        steps_.load[size_t(kind_[0])](scratch_ + l.load_at + row * l.width * l.channels, l.load_point, l.channels,
                                      input == 0 ? 0 : l.first_inputs, source, row);
      }
    }
  }

  void transform(int64_t k) {
    const Layout& l = layout_;
    const int64_t line = l.width * l.channels;
    for (int64_t w = 0; w < tiles_w_; ++w) {
      steps_.forward[size_t(kind_[1])](scratch_ + l.tile_at + w * tiles_d_ * l.channels, l.tile_point,
                                       scratch_ + l.load_at + k * l.load_point + w * l.axis[1].step * line, line,
                                       l.channels, tiles_d_);
    }
  }

  void multiply(int64_t k) {
    const Layout& l = layout_;
    const WinogradAxis &along_h = l.axis[0], &along_w = l.axis[1], &along_d = l.axis[2];
    const int64_t weights = along_w.weights * along_d.weights;
    for (int64_t first = 0; first < l.outputs; first += kBlock) {
      const int64_t width = std::min(kBlock, l.outputs - first);
      const float* block = panels_ + weights * (along_h.weight_of(k) * l.outputs + first) * l.channels;
      for (int64_t i = 0; i < along_w.points; ++i) {
        for (int64_t j = 0; j < along_d.points; ++j) {
          const int64_t weight = along_w.weight_of(i) * along_d.weights + along_d.weight_of(j);
          product(steps_.simd, scratch_ + l.product_at + (i * along_d.points + j) * l.product_point,
                  scratch_ + l.tile_at + (i * along_d.points + j) * l.tile_point, rows_,
                  block + weight * width * l.channels, l.channels, width);
        }
      }
      steps_.inverse[size_t(kind_[1])](
          scratch_ + l.back_at + k * along_w.outputs * along_d.outputs * l.back_point + rows_ * first, l.back_point,
          scratch_ + l.product_at, l.product_point, rows_ * width);
    }
  }

  WinogradStore store_of(int64_t plane) const {
    if (slab_.add) return WinogradStore::added;
    if (slab_.dtype == DType::f16) return WinogradStore::f16;
    const int64_t bytes =
        slab_.out_size[0] * slab_.out_size[1] * slab_.out_size[2] * slab_.out * int64_t(sizeof(float));
    const bool whole = slab_.out % kPanel == 0 && reinterpret_cast<uintptr_t>(slab_.planes[plane]) % kLine == 0;
    return whole && bytes > kCachedBytes ? WinogradStore::streamed : WinogradStore::f32;
  }

  void epilogue(int64_t plane, int64_t w, int64_t d, Moments* moments) {
    const Layout& l = layout_;
    const WinogradAxis &along_h = l.axis[0], &along_w = l.axis[1], &along_d = l.axis[2];
    alignas(64) float base[kBlock], sum[kBlock], square[kBlock];
    WinogradResult result{};
    result.planes = slab_.planes + plane;
    result.planes_left = slab_.last - plane;
    result.store = store_of(plane);
    result.channels = slab_.out;
    result.W = slab_.out_size[1];
    result.D = slab_.out_size[2];
    result.first_w = w * along_w.outputs;
    result.first_d = d * along_d.outputs;
    result.base = base;
    result.sum = sum;
    result.square = square;
    const int64_t planes = std::min(result.planes_left, along_h.outputs);
    const int64_t pixels = std::min(tiles_d_ * along_d.outputs, result.D - result.first_d);
    for (int64_t first = 0; first < l.outputs; first += kBlock) {
      result.first_channel = first;
      result.block = std::min(kBlock, l.outputs - first);
      double sums[kBlock] = {}, squares[kBlock] = {};
      int64_t count = 0;
      for (int64_t row = 0; row < tiles_w_ * along_w.outputs && result.first_w + row < result.W; ++row) {
        const float* from = scratch_ + l.back_at + row % along_w.outputs * along_d.outputs * l.back_point +
                            rows_ * first + row / along_w.outputs * tiles_d_ * result.block;
        steps_.epilogue[size_t(kind_[0])](result, from, along_w.outputs * along_d.outputs * l.back_point, l.back_point,
                                          tiles_d_, along_d.outputs, row, row == 0);
        count += planes * pixels;
        for (int64_t c = 0; c < result.block; ++c) {
          sums[c] += double(sum[c]);
          squares[c] += double(square[c]);
        }
      }
      for (int64_t c = 0; c < std::min(result.block, slab_.out - first); ++c) {
        const double mean = sums[c] / double(count);
        moments[first + c] = {double(count), double(base[c]) + mean, squares[c] - sums[c] * mean};
      }
    }
  }

  const ConvSlab& slab_;
  const Layout& layout_;
  WinogradKind kind_;
  const WinogradSteps& steps_;
  const float* panels_;
  float* scratch_;
  int64_t tiles_w_ = 0, tiles_d_ = 0, rows_ = 0;
};

}  // namespace

const WinogradAxis& axis_of(AxisKind kind) { return kAxes[size_t(kind)]; }

WinogradKind winograd_kind(ConvMethod method) {
  constexpr AxisKind f2 = AxisKind::f2, f4 = AxisKind::f4, f6 = AxisKind::f6, s2 = AxisKind::stride2;
  switch (method) {
    case ConvMethod::winograd_222: return {f2, f2, f2};
    case ConvMethod::winograd_244: return {f2, f4, f4};
    case ConvMethod::winograd_444: return {f4, f4, f4};
    case ConvMethod::winograd_644: return {f6, f4, f4};
    case ConvMethod::winograd_stride2: return {s2, s2, s2};
    default: break;
  }
  fail(info_of(method).name, " is not a Winograd method");
}

const WinogradSteps& current_winograd() {
  switch (Context::current().cpu()) {
    case CpuLevel::plain: return kWinogradPlain;
    case CpuLevel::avx2: return kWinogradAvx2;
    default: return kWinogradAvx512;
  }
}

const WinogradGradientSteps& current_winograd_gradient() {
  return Context::current().cpu() == CpuLevel::avx2 ? kWinogradGradientAvx2 : kWinogradGradientAvx512;
}

Tensor winograd_taps(const Tensor& weight) {
  const int64_t out = weight.shape[0], in = weight.shape[1];
  Tensor taps({divide_up(out, kPanel), in, kTaps, kPanel});
  const float* from = weight.address<float>();
  float* to = taps.address<float>();
  parallel_for(taps.shape[0] * in, in, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t panel = item / in, i = item % in;
      for (int64_t tap = 0; tap < kTaps; ++tap) {
        for (int64_t lane = 0; lane < kPanel; ++lane) {
          const int64_t o = panel * kPanel + lane;
          to[(item * kTaps + tap) * kPanel + lane] = o < out ? from[(o * in + i) * kTaps + tap] : 0;
        }
      }
    }
  });
  return taps;
}

bool winograd_transforms_late(WinogradKind kind, int64_t in, int64_t out) {
  int64_t points = 1;
  for (const AxisKind axis : kind) points *= axis_of(axis).weights;
  return points * in * out * int64_t(sizeof(float)) > kKeptWeights;
}

Tensor winograd_panels(const Tensor& taps, WinogradKind kind, int64_t in0) {
  const int64_t panels = taps.shape[0], in = taps.shape[1];
  const int64_t channels = padded(in0) + padded(in - in0), outputs = panels * kPanel;
  const KernelTransform transforms[] = {kernel_transform(kind[0]), kernel_transform(kind[1]),
                                        kernel_transform(kind[2])};
  const int64_t pixel = transforms[1].weights * transforms[2].weights;
  Tensor packed({transforms[0].weights * pixel * outputs * channels});
  const WinogradSteps& steps = current_winograd();
  const float* from = taps.address<float>();
  float* to = packed.address<float>();
  parallel_for(panels * channels, std::min<int64_t>(channels, 64), [&](int64_t begin, int64_t end) {
    static constexpr float kNone[kTaps * kPanel] = {};
    for (int64_t item = begin; item < end; ++item) {
      const int64_t output = item / channels * kPanel, channel = item % channels;
      const int64_t i = channel < padded(in0) ? channel : channel - padded(in0) + in0;  // of the published ones
      const bool there = channel < padded(in0) ? i < in0 : i < in;
      const int64_t first = output / kBlock * kBlock, width = std::min(kBlock, outputs - first);
      steps.weights(to + (pixel * first + output - first) * channels + channel * kPanel, pixel * outputs * channels,
                    width * channels, there ? from + (item / channels * in + i) * kTaps * kPanel : kNone, transforms);
    }
  });
  return packed;
}

void winograd_conv3d(const ConvSlab& whole, const float* panels, WinogradKind kind, const WinogradSteps& steps) {
  ConvSlab slab = whole;
  const Layout layout(slab, kind);
  Workspace scratch(layout.floats);
  if (Context::current().dry()) return;  // there are no values to read
  std::vector<float> norms[2];           // padded, so that whole vectors can be read
  for (size_t input = 0; input < 2; ++input) {
    PendingNorm& norm = slab.inputs[input].norm;
    if (!norm.center) continue;
    const auto count = size_t(slab.inputs[input].channels), width = size_t(padded(int64_t(count)));
    norms[input].assign(3 * width, 0.f);
    const float* parts[] = {norm.center, norm.factor, norm.shift};
    for (size_t part = 0; part < 3; ++part) std::copy_n(parts[part], count, norms[input].data() + part * width);
    norm.center = norms[input].data();
    norm.factor = norm.center + width;
    norm.shift = norm.factor + width;
  }

  // Neighbouring planes follow each other, so that what two rows of tiles share is still in the cache.
  const int64_t all_w = divide_up(slab.out_size[1], layout.axis[1].outputs);
  const int64_t all_d = divide_up(slab.out_size[2], layout.axis[2].outputs);
  const int64_t planes = divide_up(slab.last - slab.first, layout.axis[0].outputs);
  const int64_t blocks_w = divide_up(all_w, layout.tiles_w), blocks_d = divide_up(all_d, layout.tiles_d);
  const int64_t items = planes * blocks_w * blocks_d;
  std::vector<Moments> moments(size_t(items * slab.out));
  parallel_for(items, 1, [&](int64_t index, int64_t) {
    Workspace::Use use(scratch);
    Item item(slab, layout, kind, steps, panels, use.data());
    const int64_t plane = slab.first + index % planes * layout.axis[0].outputs;
    const int64_t d = index / planes % blocks_d * layout.tiles_d, w = index / planes / blocks_d * layout.tiles_w;
    item.run(plane, w, std::min(layout.tiles_w, all_w - w), d, std::min(layout.tiles_d, all_d - d),
             moments.data() + index * slab.out);
  });
  if (!slab.statistics) return;
  for (int64_t index = 0; index < items; ++index) {
    const int64_t plane = slab.first + index % planes * layout.axis[0].outputs;
    Moments* together = slab.statistics + plane / kSlabPlanes * slab.out;
    for (int64_t c = 0; c < slab.out; ++c) together[c].merge(moments[size_t(index * slab.out + c)]);
  }
}

}  // namespace sat::cpu
