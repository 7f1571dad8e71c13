// The input's gradient by Winograd's sums where voxels are few: all tiles are transformed once; then each piece of the
// inputs transforms its weights, some outputs' at a time, into the cache, multiplies all points, and stores its
// results.
#include <algorithm>
#include <array>

#include "sat/tensor/cpu/gradient/conv/input_gradient.h"
#include "sat/tensor/cpu/winograd/winograd_gradient.h"
#include "sat/tensor/cpu/workspace.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kInputs = 2 * kPanel;  // of a piece
constexpr int64_t kOutputs = 128;        // whose transformed weights are held at a time
constexpr int64_t kSkew = 16;            // floats between arrays, so that their rows do not share cache sets

int64_t padded(int64_t channels) { return divide_up(channels, kPanel) * kPanel; }

struct Layout {
  std::array<WinogradAxis, 3> axis;
  std::array<int64_t, 3> tiles;            // along each axis
  int64_t a_sample, rows;                  // tiles of a sample; of all, rounded up to whole register tiles
  int64_t pixels, points, weights;         // points of a plane, of all planes, and distinct weights of a plane
  int64_t width, load_point, tile_point;   // of the transform of a row of tiles
  int64_t product_point, back_point, tap;  // floats of one point
  int64_t weights_at, product_at, back_at, floats;

  Layout(const GradientShape& shape, WinogradKind kind) {
    for (size_t a = 0; a < 3; ++a) {
      axis[a] = axis_of(kind[a]);
      tiles[a] = divide_up(shape.size[a], axis[a].outputs);
    }
    a_sample = tiles[0] * tiles[1] * tiles[2];
    rows = divide_up(shape.batch * a_sample, kTileRows) * kTileRows;
    pixels = axis[1].points * axis[2].points;
    points = axis[0].points * pixels;
    weights = axis[1].weights * axis[2].weights;
    width = (tiles[2] - 1) * axis[2].step + axis[2].inputs;
    load_point = axis[1].inputs * width * padded(shape.out) + kSkew;
    tile_point = rows * padded(shape.out) + kSkew;
    product_point = rows * kInputs + kSkew;
    back_point = product_point;
    tap = kOutputs * kInputs + kSkew;
    weights_at = 0;
    product_at = axis[0].weights * weights * tap;
    back_at = product_at + points * product_point;
    floats = back_at + axis[0].points * axis[1].outputs * axis[2].outputs * back_point;
  }
};

/// Transforms one row of tiles along D into `tiles`, [points][rows, out].
void transform_row(float* tiles, float* room, const InputGradient& job, const Layout& l, WinogradKind kind,
                   int64_t row) {
  const GradientShape& shape = job.shape;
  const WinogradSteps& steps = current_winograd();
  const int64_t out = padded(shape.out), w = row % l.tiles[1], h = row / l.tiles[1] % l.tiles[0];
  const int64_t b = row / l.tiles[1] / l.tiles[0];
  std::vector<const void*> planes(size_t(shape.out_size[0]));
  for (int64_t plane = 0; plane < shape.out_size[0]; ++plane) {
    planes[size_t(plane)] =
        job.dy + (b * shape.out_size[0] + plane) * shape.out_size[1] * shape.out_size[2] * shape.out;
  }
  const SlabInput input{planes.data(), DType::f32, shape.out, {}};
  const WinogradSource source{&input,
                              h * l.axis[0].step - l.axis[0].before,
                              w * l.axis[1].step - l.axis[1].before,
                              -l.axis[2].before,
                              shape.out_size[0],
                              shape.out_size[1],
                              shape.out_size[2],
                              l.width};
  for (int64_t line = 0; line < l.axis[1].inputs; ++line) {
    steps.load[size_t(kind[0])](room + line * l.width * out, l.load_point, out, 0, source, line);
  }
  for (int64_t p = 0; p < l.axis[0].points; ++p) {
    steps.forward[size_t(kind[1])](tiles + p * l.pixels * l.tile_point + row * l.tiles[2] * out, l.tile_point,
                                   room + p * l.load_point, l.width * out, out, l.tiles[2]);
  }
}

/// Inputs [input, input + inputs) from the transformed tiles.
class Piece {
 public:
  Piece(const InputGradient& job, const Layout& layout, WinogradKind kind, float* room, int64_t input)
      : job_(job),
        l_(layout),
        kind_(kind),
        back_(kind[0] == AxisKind::stride2_back),
        steps_(current_winograd()),
        gradient_steps_(current_winograd_gradient()),
        room_(room),
        input_(input),
        width_(std::min(kInputs, padded(job.shape.channels - input))) {}

  void run(const float* tiles) {
    for (int64_t first = 0; first < job_.shape.out; first += kOutputs) {
      const int64_t outputs = std::min(kOutputs, job_.shape.out - first);
      transform_weights(first, outputs);
      multiply(tiles, first, outputs);
    }
    const int64_t outputs = l_.axis[1].outputs * l_.axis[2].outputs;
    for (int64_t p = 0; p < l_.axis[0].points; ++p) {
      steps_.inverse[size_t(kind_[1])](room_ + l_.back_at + p * outputs * l_.back_point, l_.back_point,
                                       room_ + l_.product_at + p * l_.pixels * l_.product_point, l_.product_point,
                                       l_.rows * width_);
    }
    for (int64_t b = 0; b < job_.shape.batch; ++b) {
      for (int64_t h = 0; h < l_.tiles[0]; ++h) store(b, h);
    }
  }

 private:
  void transform_weights(int64_t first, int64_t outputs) {
    const auto planes = size_t(back_ ? AxisKind::stride2 : kind_[0]),
               pixels = size_t(back_ ? AxisKind::stride2 : kind_[1]);
    alignas(64) float taps[kGradientTaps * kPanel], lines[kMostPoints * 9 * kPanel];
    for (int64_t panel = 0; panel < width_ / kPanel; ++panel) {
      for (int64_t o = 0; o < outputs; ++o) {
        turn_taps(taps, kPanel, job_, first + o, input_ + panel * kPanel);
        gradient_steps_.kernel_planes[planes](lines, taps);
        float* to = room_ + l_.weights_at + (panel * kOutputs + o) * kPanel;
        for (int64_t p = 0; p < l_.axis[0].weights; ++p, to += l_.weights * l_.tap) {
          gradient_steps_.kernel[pixels](to, l_.tap, lines + p * 9 * kPanel);
        }
      }
    }
  }

  void multiply(const float* tiles, int64_t first, int64_t outputs) {
    const WinogradAxis &along_h = l_.axis[0], &along_w = l_.axis[1], &along_d = l_.axis[2];
    const int64_t last = job_.shape.batch * l_.a_sample - 1, out = padded(job_.shape.out);
    for (int64_t point = 0; point < l_.points; ++point) {
      const int64_t h = along_h.weight_of(point / l_.pixels);
      const int64_t w = along_w.weight_of(point / along_d.points % along_w.points);
      const int64_t tap = h * l_.weights + w * along_d.weights + along_d.weight_of(point % along_d.points);
      const TileWeights weights{
          room_ + l_.weights_at + tap * l_.tap, 1, 0, outputs, width_ / kPanel, kOutputs * kPanel};
      for (int64_t row = 0; row < l_.rows; row += kTileRows) {
        const float* from[kTileRows];
        for (int64_t r = 0; r < kTileRows; ++r) {
          from[r] = tiles + point * l_.tile_point + std::min(row + r, last) * out + first;
        }
        steps_.simd->tile(room_ + l_.product_at + point * l_.product_point + row * width_, from, weights, first == 0);
      }
    }
  }

  void store(int64_t b, int64_t h) {
    const GradientShape& shape = job_.shape;
    alignas(64) float base[kInputs], sum[kInputs], square[kInputs];
    const int64_t plane = h * l_.axis[0].outputs;
    std::vector<void*> planes;
    for (int64_t p = plane; p < std::min(plane + l_.axis[0].outputs, shape.size[0]); ++p) {
      planes.push_back(job_.dx + (b * shape.size[0] + p) * shape.size[1] * shape.size[2] * shape.channels);
    }
    WinogradResult result{};
    result.planes = planes.data();
    result.planes_left = int64_t(planes.size());
    result.store = job_.add ? WinogradStore::added : WinogradStore::f32;
    result.channels = shape.channels;
    result.W = shape.size[1];
    result.D = shape.size[2];
    result.first_channel = input_;
    result.block = width_;
    result.base = base;
    result.sum = sum;
    result.square = square;
    const int64_t along_d = l_.axis[2].outputs;
    for (int64_t row = 0; row < shape.size[1]; ++row) {
      const int64_t tile = ((b * l_.tiles[0] + h) * l_.tiles[1] + row / l_.axis[1].outputs) * l_.tiles[2];
      steps_.epilogue[size_t(kind_[0])](
          result, room_ + l_.back_at + row % l_.axis[1].outputs * along_d * l_.back_point + tile * width_,
          l_.axis[1].outputs * along_d * l_.back_point, l_.back_point, l_.tiles[2], along_d, row, row == 0);
    }
  }

  const InputGradient& job_;
  const Layout& l_;
  WinogradKind kind_;
  bool back_;  // its kernel is transformed as stride2's
  const WinogradSteps& steps_;
  const WinogradGradientSteps& gradient_steps_;
  float* room_;
  int64_t input_, width_;
};

}  // namespace

int64_t whole_bytes(const GradientShape& shape, WinogradKind kind) {
  const Layout layout(shape, kind);
  return layout.points * layout.tile_point * int64_t(sizeof(float));
}

void whole_input_gradient(const InputGradient& job, WinogradKind kind) {
  const GradientShape& shape = job.shape;
  const Layout layout(shape, kind);
  Tensor tiles({layout.points, layout.tile_point});
  float* to = tiles.address<float>();
  {
    Workspace rooms(layout.axis[0].points * layout.load_point);
    parallel_for(shape.batch * layout.tiles[0] * layout.tiles[1], 1, [&](int64_t row, int64_t) {
      Workspace::Use room(rooms);
      transform_row(to, room.data(), job, layout, kind, row);
    });
  }
  Workspace rooms(layout.floats);
  parallel_for(divide_up(shape.channels, kInputs), 1, [&](int64_t piece, int64_t) {
    Workspace::Use room(rooms);
    Piece(job, layout, kind, room.data(), piece * kInputs).run(to);
  });
}

}  // namespace sat::cpu
