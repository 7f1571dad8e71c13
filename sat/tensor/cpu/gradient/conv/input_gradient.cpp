// The gradient of a convolution's input: mirrored taps, and the methods that need no more than an engine of the forward
// pass or a product a tap.
#include "sat/tensor/cpu/gradient/conv/input_gradient.h"

#include <emmintrin.h>

#include <algorithm>
#include <vector>

#include "sat/tensor/cpu/amx/conv/conv.h"
#include "sat/tensor/cpu/workspace.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kInputs = 2 * kPanel;  // of a piece of the direct method
constexpr int64_t kOutputs = 64;         // whose weights it holds at a time: 27 * 64 * 32 of them
constexpr int64_t kSlabVoxels = 4096;    // of outputs, about: whose rows are listed at a time
constexpr int64_t kSkew = 16;            // floats between taps, so that they do not share cache sets

/// Where each plane of a sample of [batch, planes, plane] values begins.
std::vector<const void*> planes_of(const float* values, int64_t sample, int64_t planes, int64_t plane) {
  std::vector<const void*> all;
  for (int64_t h = 0; h < planes; ++h) all.push_back(values + (sample * planes + h) * plane);
  return all;
}

/// The rows of one tap's product, of output voxels [first, last): these, and the inputs that they read by it.
struct TapRows {
  std::vector<int64_t> from, to;

  TapRows(const GradientShape& shape, int64_t tap, int64_t first, int64_t last) {
    const auto [H, W, D] = shape.size;
    const auto [OH, OW, OD] = shape.out_size;
    for (int64_t v = first; v < last; ++v) {
      const int64_t h = v / OD / OW % OH * shape.stride + tap / 9 - 1;
      const int64_t w = v / OD % OW * shape.stride + tap / 3 % 3 - 1, d = v % OD * shape.stride + tap % 3 - 1;
      if (h < 0 || h >= H || w < 0 || w >= W || d < 0 || d >= D) continue;
      from.push_back(v);
      to.push_back(((v / OD / OW / OH * H + h) * W + w) * D + d);
    }
  }
  int64_t count() const { return int64_t(from.size()); }
};

/// Adds what one tap's rows give for outputs [first, first + outputs) and inputs from `input` on.
void add_tap(const InputGradient& job, const Simd& simd, const TapRows& rows, const float* panels, int64_t first,
             int64_t outputs, int64_t input, int64_t inputs) {
  const int64_t width = divide_up(inputs, kPanel) * kPanel;
  const TileWeights weights{panels, 1, 0, outputs, width / kPanel, kOutputs * kPanel};
  for (int64_t row = 0; row < rows.count(); row += kTileRows) {
    alignas(64) float sums[kTileRows * kInputs];
    const float* from[kTileRows];
    for (int64_t r = 0; r < kTileRows; ++r) {  // rows behind the last one are of no use to anybody
      from[r] = job.dy + rows.from[size_t(std::min(row + r, rows.count() - 1))] * job.shape.out + first;
    }
    simd.tile(sums, from, weights, true);
    for (int64_t r = 0; r < std::min(kTileRows, rows.count() - row); ++r) {
      float* to = job.dx + rows.to[size_t(row + r)] * job.shape.channels + input;
      for (int64_t i = 0; i < inputs; ++i) to[i] += sums[r * width + i];
    }
  }
}

}  // namespace

void turn_taps(float* to, int64_t tap_step, const InputGradient& job, int64_t o, int64_t input) {
  const GradientShape& shape = job.shape;
  const int64_t lanes = std::min(kPanel, shape.channels - input);
  const float* from = job.weight + (o * shape.in + shape.first_in + input) * kGradientTaps;
  int64_t lane = 0;
  for (; lane + 4 <= lanes; lane += 4, from += 4 * kGradientTaps) {
    for (int64_t t = 0; t < kGradientTaps; t = t == 20 ? 23 : t + 4) {  // the last four overlap those before
      __m128 a = _mm_loadu_ps(from + t), b = _mm_loadu_ps(from + kGradientTaps + t);
      __m128 c = _mm_loadu_ps(from + 2 * kGradientTaps + t), d = _mm_loadu_ps(from + 3 * kGradientTaps + t);
      _MM_TRANSPOSE4_PS(a, b, c, d);
      float* last = to + (kGradientTaps - 1 - t) * tap_step + lane;
      _mm_storeu_ps(last, a);
      _mm_storeu_ps(last - tap_step, b);
      _mm_storeu_ps(last - 2 * tap_step, c);
      _mm_storeu_ps(last - 3 * tap_step, d);
    }
  }
  for (; lane < kPanel; ++lane, from += kGradientTaps) {
    for (int64_t t = 0; t < kGradientTaps; ++t) {
      to[t * tap_step + lane] = lane < lanes ? from[kGradientTaps - 1 - t] : 0;
    }
  }
}

void winograd_input_gradient(const InputGradient& job, WinogradKind kind) {
  const GradientShape& shape = job.shape;
  const int64_t out = shape.out, channels = shape.channels;
  Tensor taps({divide_up(channels, kPanel), out, kGradientTaps, kPanel});
  float* turned = taps.address<float>();
  parallel_for(taps.shape[0] * out, 16, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      turn_taps(turned + i * kGradientTaps * kPanel, kPanel, job, i % out, i / out * kPanel);
    }
  });
  const Tensor panels = winograd_panels(taps, kind, out);
  const int64_t from_plane = shape.out_size[1] * shape.out_size[2] * out;
  const int64_t to_plane = shape.size[1] * shape.size[2] * channels;
  std::vector<void*> to(size_t(shape.size[0]));
  ConvSlab slab;
  slab.in_size = shape.out_size;
  slab.out_size = shape.size;
  slab.planes = to.data();
  slab.add = job.add;
  slab.out = channels;
  slab.last = shape.size[0];
  for (int64_t b = 0; b < shape.batch; ++b) {
    const std::vector<const void*> from = planes_of(job.dy, b, shape.out_size[0], from_plane);
    slab.inputs[0] = {from.data(), DType::f32, out, {}};
    for (int64_t h = 0; h < shape.size[0]; ++h) to[size_t(h)] = job.dx + (b * shape.size[0] + h) * to_plane;
    winograd_conv3d(slab, panels.address<float>(), kind, current_winograd());
  }
}

void amx_input_gradient(const InputGradient& job, const AmxConvLoops& loops) {
  const GradientShape& shape = job.shape;
  const int64_t out = shape.out, channels = shape.channels, H = shape.size[0], plane = shape.size[1] * shape.size[2];
  Tensor mirrored({channels, out, 3, 3, 3});
  float* turned = mirrored.address<float>();
  parallel_for(channels * out, 256, [&](int64_t first, int64_t last) {
    for (int64_t item = first; item < last; ++item) {
      const float* from = job.weight + (item % out * shape.in + shape.first_in + item / out) * kGradientTaps;
      std::reverse_copy(from, from + kGradientTaps, turned + item * kGradientTaps);
    }
  });
  const Tensor panels = pack_amx_conv3d(mirrored, 1);
  mirrored = Tensor();
  // Tiles do not add to what is there: where that is asked for, a slab at a time goes through planes of its own.
  const int64_t planes = job.add && !amx_keeps_whole(shape.size, out) ? std::min(H, kSlabPlanes) : H;
  Tensor own(job.add ? Shape{planes, plane, channels} : Shape{0});
  std::vector<void*> to(size_t(shape.size[0]));
  ConvSlab slab;
  slab.in_size = slab.out_size = shape.size;
  slab.planes = to.data();
  slab.out = channels;
  for (int64_t b = 0; b < shape.batch; ++b) {
    const std::vector<const void*> from = planes_of(job.dy, b, H, plane * out);
    slab.inputs[0] = {from.data(), DType::f32, out, {}};
    float* sample = job.dx + b * H * plane * channels;
    for (slab.first = 0; slab.first < H; slab.first = slab.last) {
      slab.last = std::min(H, slab.first + planes);
      float* results = job.add ? own.address<float>() : sample;
      for (int64_t h = slab.first; h < slab.last; ++h) to[size_t(h)] = results + h % planes * plane * channels;
      amx_conv3d(slab, panels, loops);
      if (!job.add) continue;
      float* sum = sample + slab.first * plane * channels;
      parallel_for((slab.last - slab.first) * plane * channels, 1 << 16, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) sum[i] += results[i];
      });
    }
  }
}

void direct_input_gradient(const InputGradient& job, const Simd& simd) {
  const GradientShape& shape = job.shape;
  const int64_t out = shape.out, channels = shape.channels, plane = shape.out_size[1] * shape.out_size[2];
  if (!job.add) {
    parallel_for(shape.batch * shape.voxels(), kSlabVoxels, [&](int64_t first, int64_t last) {
      std::fill_n(job.dx + first * channels, (last - first) * channels, 0.f);
    });
  }
  // Slabs of planes, every other one at a time: these add to no plane that another of them adds to.
  const int64_t planes = std::max<int64_t>(2, kSlabVoxels / plane), slabs = divide_up(shape.out_size[0], planes);
  const int64_t pieces = divide_up(channels, kInputs);
  const int64_t a_panel = kOutputs * kPanel, a_tap = kInputs / kPanel * a_panel + kSkew;
  Workspace rooms(kGradientTaps * a_tap);
  for (int64_t turn = 0; turn < 2; ++turn) {
    const int64_t count = divide_up(slabs - turn, 2);
    parallel_for(shape.batch * count * pieces, 1, [&](int64_t item, int64_t) {
      Workspace::Use room(rooms);
      const int64_t input = item % pieces * kInputs, inputs = std::min(kInputs, channels - input);
      const int64_t panels = divide_up(inputs, kPanel), b = item / pieces / count;
      const int64_t h = (item / pieces % count * 2 + turn) * planes, last_h = std::min(shape.out_size[0], h + planes);
      std::vector<TapRows> taps;
      for (int64_t t = 0; t < kGradientTaps; ++t) {
        taps.emplace_back(shape, kGradientTaps - 1 - t, (b * shape.out_size[0] + h) * plane,
                          (b * shape.out_size[0] + last_h) * plane);
      }
      for (int64_t first = 0; first < out; first += kOutputs) {
        const int64_t outputs = std::min(kOutputs, out - first);
        for (int64_t i = 0; i < panels * outputs; ++i) {
          const int64_t panel = i / outputs, o = i % outputs;
          turn_taps(room.data() + panel * a_panel + o * kPanel, a_tap, job, first + o, input + panel * kPanel);
        }
        for (int64_t t = 0; t < kGradientTaps; ++t) {
          add_tap(job, simd, taps[size_t(t)], room.data() + t * a_tap, first, outputs, input, inputs);
        }
      }
    });
  }
}

}  // namespace sat::cpu
