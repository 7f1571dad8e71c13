// The weight's gradient by Winograd's sums. An item is some dozens of tiles: of the inputs' and of the outputs'
// gradient it makes a matrix a point, and adds their product to that point's sums, which stay in the cache for all of a
// piece.
#include <algorithm>
#include <array>

#include "sat/tensor/cpu/conv/feature_reader.h"
#include "sat/tensor/cpu/gradient/conv/weight_gradient.h"
#include "sat/tensor/cpu/winograd/winograd_gradient.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kItemTiles = 24;
constexpr int64_t kItemTilesStride2 = 12;  // whose inputs are four times as many
constexpr int64_t kWidestItem = 12;        // tiles along D
constexpr int64_t kItemsAPiece = 6;        // at least: sums are gathered once a piece
constexpr int64_t kSkew = 16;              // floats between arrays, so that their rows do not share cache sets

/// The division of a batch into items, and where an item's arrays lie, for parts of up to `in` x `out` channels.
struct Layout {
  std::array<WinogradAxis, 3> axis;
  std::array<int64_t, 3> tiles, blocks;  // most of an item, and items, along each axis
  int64_t x_width, x_rows, y_width, y_rows;
  int64_t weights, products, terms;  // distinct weights and products of a plane of points, tiles of an item
  int64_t x_load, y_load, x_tile, y_tile, point;  // floats of one point
  int64_t x_load_at, y_load_at, x_tile_at, y_tile_at, sums_at, floats;

  Layout(const GradientShape& shape, WinogradKind kind, int64_t in, int64_t out) {
    int64_t left = kind[0] == AxisKind::stride2 ? kItemTilesStride2 : kItemTiles;
    for (size_t a = 3; a-- > 0;) {
      axis[a] = axis_of(kind[a]);
      const int64_t all = divide_up(shape.out_size[a], axis[a].outputs);
      const int64_t most = std::clamp<int64_t>(a == 2 ? std::min(left, kWidestItem) : left, 1, all);
      blocks[a] = divide_up(all, most);
      tiles[a] = divide_up(all, blocks[a]);
      left /= tiles[a];
    }
    x_width = (tiles[2] - 1) * axis[2].step + axis[2].inputs;
    x_rows = (tiles[1] - 1) * axis[1].step + axis[1].inputs;
    y_width = tiles[2] * axis[2].outputs;
    y_rows = tiles[1] * axis[1].outputs;
    terms = tiles[0] * tiles[1] * tiles[2];
    weights = axis[1].weights * axis[2].weights;
    products = axis[1].points * axis[2].points;
    x_load = x_rows * x_width * in + kSkew;
    y_load = y_rows * y_width * out + kSkew;
    x_tile = terms * in + kSkew;
    y_tile = terms * out + kSkew;
    point = in * out + kSkew;
    const auto place = [&](int64_t count) {
      const int64_t here = floats;
      floats += divide_up(count, kPanel) * kPanel + kSkew;
      return here;
    };
    floats = 0;
    x_load_at = place(tiles[0] * axis[0].points * x_load);
    y_load_at = place(tiles[0] * axis[0].points * y_load);
    x_tile_at = place(products * x_tile);
    y_tile_at = place(products * y_tile);
    sums_at = place(axis[0].weights * weights * point);
  }
  int64_t items(int64_t batch) const { return batch * blocks[0] * blocks[1] * blocks[2]; }
};

class PartSummer {
 public:
  PartSummer(const WeightGradient& job, const Layout& layout, WinogradKind kind, const GradientPart& part, float* room)
      : job_(job),
        l_(layout),
        kind_(kind),
        part_(part),
        room_(room),
        steps_(current_winograd()),
        gradient_steps_(current_winograd_gradient()) {
    x_planes_.resize(size_t(job.shape.size[0]));
    y_planes_.resize(size_t(job.shape.out_size[0]));
    norm_.resize(size_t(3 * part.in));
    x_at_.resize(size_t(l_.products * l_.terms));
    y_at_.resize(x_at_.size());
  }

  void run(float* sums) {
    const int64_t points = l_.axis[0].weights * l_.weights;
    std::fill_n(room_ + l_.sums_at, points * l_.point, 0.f);
    const int64_t a_sample = l_.items(1);
    for (int64_t item = part_.first; item < part_.last; ++item) {
      if (item == part_.first || item % a_sample == 0) take_sample(item / a_sample);
      const int64_t h = item % l_.blocks[0], d = item / l_.blocks[0] % l_.blocks[2];
      const int64_t w = item % a_sample / l_.blocks[0] / l_.blocks[2];
      add({h * l_.tiles[0], w * l_.tiles[1], d * l_.tiles[2]});
    }
    const int64_t size = part_.in * part_.out, plane = l_.weights * l_.point;
    for (int64_t p = 0; p < l_.axis[0].weights; ++p) {
      gradient_steps_.gather[size_t(kind_[1])](room_ + l_.sums_at + p * plane, l_.point, size);
    }
    for (int64_t tap = 0; tap < 9; ++tap) {
      gradient_steps_.gather_planes[size_t(kind_[0])](sums + tap * part_.tap, 9 * part_.tap,
                                                      room_ + l_.sums_at + tap * l_.point, plane, size);
    }
  }

 private:
  void take_sample(int64_t sample) {
    const GradientShape& shape = job_.shape;
    const Tensor& x = job_.x.values;
    const int64_t x_plane = shape.size[1] * shape.size[2] * shape.channels;
    const int64_t y_plane = shape.out_size[1] * shape.out_size[2] * shape.out;
    for (int64_t h = 0; h < shape.size[0]; ++h) {
      const int64_t at = (sample * shape.size[0] + h) * x_plane + part_.input;
      x_planes_[size_t(h)] = static_cast<const char*>(x.raw()) + at * size_of(x.dtype);
    }
    for (int64_t h = 0; h < shape.out_size[0]; ++h) {
      y_planes_[size_t(h)] = job_.dy + (sample * shape.out_size[0] + h) * y_plane + part_.output;
    }
    x_ = {x_planes_.data(), x.dtype, part_.inputs, pending_norm(job_.x, sample), shape.channels};
    y_ = {y_planes_.data(), DType::f32, part_.outputs, {}, shape.out};
    if (!x_.norm.center) return;
    const float** const parts[] = {&x_.norm.center, &x_.norm.factor, &x_.norm.shift};
    for (int64_t i = 0; i < 3; ++i) {  // padded, so that whole vectors can be read
      float* to = norm_.data() + i * part_.in;
      std::copy_n(*parts[i] + part_.input, part_.inputs, to);
      *parts[i] = to;
    }
  }

  /// An item whose first tile is this one along H, W and D.
  void add(const std::array<int64_t, 3>& tile) {
    std::array<int64_t, 3> count{};
    for (size_t a = 0; a < 3; ++a) {
      const int64_t all = divide_up(job_.shape.out_size[a], l_.axis[a].outputs);
      count[a] = std::min(l_.tiles[a], all - tile[a]);
    }
    for (int64_t h = 0; h < count[0]; ++h) load(tile, count, h);
    for (int64_t p = 0; p < l_.axis[0].points; ++p) {
      for (int64_t h = 0; h < count[0]; ++h) transform(count, h, p);
      multiply(count[0] * count[1] * count[2], l_.axis[0].weight_of(p));
    }
  }

  void load(const std::array<int64_t, 3>& tile, const std::array<int64_t, 3>& count, int64_t h) {
    const GradientShape& shape = job_.shape;
    WinogradSource x{&x_,
                     (tile[0] + h) * l_.axis[0].step - 1,
                     tile[1] * l_.axis[1].step - 1,
                     tile[2] * l_.axis[2].step - 1,
                     shape.size[0],
                     shape.size[1],
                     shape.size[2],
                     (count[2] - 1) * l_.axis[2].step + l_.axis[2].inputs};
    const int64_t x_rows = (count[1] - 1) * l_.axis[1].step + l_.axis[1].inputs;
    float* to = room_ + l_.x_load_at + h * l_.axis[0].points * l_.x_load;
    for (int64_t row = 0; row < x_rows; ++row) {
      steps_.load[size_t(kind_[0])](to + row * l_.x_width * part_.in, l_.x_load, part_.in, 0, x, row);
    }
    WinogradSource y{&y_,
                     (tile[0] + h) * l_.axis[0].outputs,
                     tile[1] * l_.axis[1].outputs,
                     tile[2] * l_.axis[2].outputs,
                     shape.out_size[0],
                     shape.out_size[1],
                     shape.out_size[2],
                     count[2] * l_.axis[2].outputs};
    to = room_ + l_.y_load_at + h * l_.axis[0].points * l_.y_load;
    for (int64_t row = 0; row < count[1] * l_.axis[1].outputs; ++row) {
      gradient_steps_.load[size_t(kind_[0])](to + row * l_.y_width * part_.out, l_.y_load, part_.out, 0, y, row);
    }
  }

  /// Point p along H of a row of tiles, along W and D.
  void transform(const std::array<int64_t, 3>& count, int64_t h, int64_t p) {
    const float* x = room_ + l_.x_load_at + (h * l_.axis[0].points + p) * l_.x_load;
    const float* y = room_ + l_.y_load_at + (h * l_.axis[0].points + p) * l_.y_load;
    const int64_t x_line = l_.x_width * part_.in, y_line = l_.y_width * part_.out;
    for (int64_t w = 0; w < count[1]; ++w) {
      const int64_t term = (h * count[1] + w) * count[2];
      steps_.forward[size_t(kind_[1])](room_ + l_.x_tile_at + term * part_.in, l_.x_tile,
                                       x + w * l_.axis[1].step * x_line, x_line, part_.in, count[2]);
      gradient_steps_.spread[size_t(kind_[1])](room_ + l_.y_tile_at + term * part_.out, l_.y_tile,
                                               y + w * l_.axis[1].outputs * y_line, y_line, part_.out, count[2]);
    }
  }

  /// Products of all points of weight `plane` along H; those that share a weight are one sum.
  void multiply(int64_t count, int64_t plane) {
    const WinogradAxis &along_w = l_.axis[1], &along_d = l_.axis[2];
    for (int64_t weight = 0; weight < l_.weights; ++weight) {
      OuterTerms terms{room_ + l_.x_tile_at, room_ + l_.y_tile_at, x_at_.data(), y_at_.data(), 0};
      for (int64_t i = weight / along_d.weights; i < along_w.points; ++i) {
        if (along_w.weight_of(i) != weight / along_d.weights) break;
        for (int64_t j = weight % along_d.weights; j < along_d.points; ++j) {
          if (along_d.weight_of(j) != weight % along_d.weights) break;
          const int64_t point = i * along_d.points + j;
          for (int64_t t = 0; t < count; ++t, ++terms.count) {
            x_at_[size_t(terms.count)] = int32_t(point * l_.x_tile + t * part_.in);
            y_at_[size_t(terms.count)] = int32_t(point * l_.y_tile + t * part_.out);
          }
        }
      }
      gradient_steps_.outer(room_ + l_.sums_at + (plane * l_.weights + weight) * l_.point, terms, part_.in,
                            part_.out / kPanel);
    }
  }

  const WeightGradient& job_;
  const Layout& l_;
  WinogradKind kind_;
  const GradientPart& part_;
  float* room_;
  const WinogradSteps& steps_;
  const WinogradGradientSteps& gradient_steps_;
  std::vector<const void*> x_planes_, y_planes_;
  std::vector<float> norm_;
  std::vector<int32_t> x_at_, y_at_;
  SlabInput x_, y_;
};

}  // namespace

void winograd_weight_gradient(const WeightGradient& job, WinogradKind kind) {
  const GradientShape& shape = job.shape;
  const auto most = [](int64_t channels) { return std::min(kGradientBlock, divide_up(channels, kPanel) * kPanel); };
  const Layout layout(shape, kind, most(shape.channels), most(shape.out));
  const PartSizes sizes{layout.items(shape.batch), kItemsAPiece, kGradientBlock, layout.floats};
  sum_parts(job, sizes, [&](float* sums, float* room, const GradientPart& part) {
    PartSummer(job, layout, kind, part, room).run(sums);
  });
}

}  // namespace sat::cpu
