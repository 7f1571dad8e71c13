// Convolutions whose norm is left to their readers: the slabs that they are computed in, and where these are written.
#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "sat/tensor/accelerator.h"
#include "sat/tensor/context.h"
#include "sat/tensor/cpu/amx/amx_conv.h"
#include "sat/tensor/cpu/amx/piece.h"
#include "sat/tensor/cpu/feature_reader.h"
#include "sat/tensor/cpu/kernels.h"
#include "sat/tensor/cpu/winograd/winograd.h"
#include "sat/tensor/memory/memory.h"
#include "sat/tensor/ops/in_place.h"
#include "sat/tensor/parallel.h"
#include "sat/tensor/profile.h"

namespace sat {

namespace {

constexpr int64_t kSlab = 12;           // planes; whole tiles of every method
constexpr int64_t kMargin = kSlab + 1;  // planes between a volume and the one that is written over it
constexpr int64_t kRing = kSlab + 4;    // up-sampled planes that wait for their slabs: its halo, in whole pairs

const char* in_bytes(const Tensor& x, int64_t plane) {
  return static_cast<const char*>(x.raw()) + plane * size_of(x.dtype) * x.shape[2] * x.shape[3] * x.shape[4];
}

/// Pointers to the planes of one sample.
std::vector<const void*> planes_of(const Tensor& x, int64_t sample) {
  std::vector<const void*> planes;
  for (int64_t h = 0; h < x.shape[1]; ++h) planes.push_back(in_bytes(x, sample * x.shape[1] + h));
  return planes;
}

/// The norm that readers of raw results take, from their statistics.
Features owing(Tensor values, const std::vector<cpu::Moments>& statistics, const NormWeights& norm) {
  const int64_t batch = values.shape[0], channels = values.shape[4];
  Features y{std::move(values), Tensor({batch, channels}), Tensor({batch, channels}), Tensor({batch, channels}),
             norm.slope};
  if (Context::current().dry()) return y;
  for (int64_t i = 0; i < batch * channels; ++i) {
    const cpu::Moments& m = statistics[size_t(i)];
    const double variance = m.m2 / m.count;
    SAT_CHECK(std::isfinite(m.mean) && std::isfinite(variance), "conv3d_norm: channel ", i % channels,
              " is not finite; the input or the weights are not");
    SAT_CHECK(y.values.dtype != DType::f16 || std::abs(m.mean) + 8 * std::sqrt(variance) < double(cpu::kLargestHalf),
              "conv3d_norm: channel ", i % channels, " leaves the range of f16; use exact precision");
    const double factor = double(norm.gain.data<float>()[i % channels]) / std::sqrt(variance + double(norm.eps));
    const auto center = float(m.mean);  // taken off first: x - mean is exact where |mean| >> deviation
    y.center.data<float>()[i] = center;
    y.factor.data<float>()[i] = float(factor);
    y.shift.data<float>()[i] =
        float(double(norm.bias.data<float>()[i % channels]) - (m.mean - double(center)) * factor);
  }
  return y;
}

/// How features may be held; bf16 on a device alone.
bool held_as(DType dtype, Device device) {
  return dtype == DType::f32 || dtype == DType::f16 || (dtype == DType::bf16 && device == Device::cuda);
}

void check_features(const Features& x, const char* name) {
  SAT_CHECK(x.values.shape.rank() == 5 && held_as(x.values.dtype, x.values.device), name, ": features have shape ",
            x.values.shape, " and type ", name_of(x.values.dtype), ", need [B, H, W, D, C] in f32 or f16");
  const Shape want({x.values.shape[0], x.values.shape[4]});
  SAT_CHECK(x.center.empty() || (x.center.shape == want && x.factor.shape == want && x.shift.shape == want), name,
            ": the pending norm has shapes ", x.center.shape, ", ", x.factor.shape, ", ", x.shift.shape, ", needs ",
            want);
}

/// conv3d_norm by the direct method: on final values.
Features direct(const Tensor& x, const Tensor* skip, const PackedConv3d& weight, const NormWeights& norm,
                const Shape& shape, int64_t stride, DType dtype) {
  cpu::ConvShape conv{};
  conv.batch = shape[0];
  for (int axis = 0; axis < 3; ++axis) {
    conv.in_size[size_t(axis)] = x.shape[axis + 1];
    conv.out_size[size_t(axis)] = shape[axis + 1];
  }
  conv.in0 = x.shape[4];
  conv.in1 = skip ? skip->shape[4] : 0;
  conv.out = weight.out;
  conv.kernel = weight.kernel;
  conv.stride = stride;
  conv.padding = 1;
  Tensor y = room_for(shape, dtype, Device::cpu, kMargin);
  std::vector<cpu::Moments> statistics(size_t(shape[0] * shape[4]));
  cpu::conv3d_counted({y.raw(), dtype, statistics.data()}, x.data<float>(), skip ? skip->data<float>() : nullptr,
                      weight.panels.data<float>(), conv);
  return owing(std::move(y), statistics, norm);
}

/// The planes of a transposed convolution that some slab reads, made when it is near.
class UpRing {
 public:
  UpRing(const Features& low, const PackedMatrix& weight, const Tensor& bias, int64_t sample)
      : low_(low),
        weight_(weight),
        bias_(bias),
        reader_(low, sample),
        planes_({kRing, 2 * low.values.shape[2], 2 * low.values.shape[3], weight.out / 8}),
        low_plane_({low.values.shape[2], low.values.shape[3], low.values.shape[4]}),
        pairs_(size_t(kRing / 2), -1),
        pointers_(size_t(2 * low.values.shape[1]), nullptr) {}

  /// Makes sure of planes [first, last), and returns where each lies.
  const void* const* planes(int64_t first, int64_t last) {
    const Shape& shape = low_.values.shape;
    for (int64_t pair = std::max<int64_t>(0, first / 2); pair < std::min(shape[1], (last + 1) / 2); ++pair) {
      const int64_t slot = pair % (kRing / 2);
      if (std::exchange(pairs_[size_t(slot)], pair) == pair) continue;
      const int64_t W = shape[2], D = shape[3];
      parallel_for(W, 1, [&](int64_t w, int64_t) {
        reader_.read(low_plane_.data<float>() + w * D * shape[4], (pair * W + w) * D, D);
      });
      const Tensor made = planes_.slice(2 * slot, 2 * slot + 2);
      cpu::conv_transpose3d(made.data<float>(), low_plane_.data<float>(), weight_.panels.data<float>(),
                            bias_.empty() ? nullptr : bias_.data<float>(), 1, {1, W, D}, shape[4], weight_.out / 8);
      pointers_[size_t(2 * pair)] = made.raw();
      pointers_[size_t(2 * pair + 1)] = made.select(1).raw();
    }
    return pointers_.data();
  }
  int64_t channels() const { return weight_.out / 8; }

 private:
  const Features& low_;
  const PackedMatrix& weight_;
  const Tensor& bias_;
  cpu::FeatureReader reader_;
  Tensor planes_, low_plane_;
  std::vector<int64_t> pairs_;  // which pair of planes is in each slot
  std::vector<const void*> pointers_;
};

void convolve(const cpu::ConvSlab& slab, const PackedConv3d& weight) {
  if (weight.method != ConvMethod::amx_bf16) {
    cpu::winograd_conv3d(slab, weight.panels.data<float>(), cpu::winograd_kind(weight.method), cpu::current_winograd());
  } else if (Context::current().cpu() == CpuLevel::amx) {
    cpu::amx_conv3d(slab, weight.panels);
  } else {
    cpu::amx_conv3d(slab, weight.panels, cpu::amx_piece_twin);
  }
}

/// conv3d_norm by a method that works in slabs, of x or of [up, x].
Features by_slabs(Features x, const Features* low, const PackedMatrix* up, const Tensor* up_bias,
                  const PackedConv3d& weight, const NormWeights& norm, const Shape& shape, int64_t stride,
                  DType dtype) {
  Tensor y = place_over(x.values, shape, dtype, kMargin);
  const bool over = !y.empty(), upwards = over && y.offset > x.values.offset;
  if (!over) y = room_for(shape, dtype, Device::cpu, kMargin);
  const int64_t H = shape[1], slab_planes = over || low ? kSlab : H, slabs = pieces(H, slab_planes);
  std::vector<cpu::Moments> statistics(size_t(shape[0] * shape[4]));
  for (int64_t b = 0; b < shape[0]; ++b) {
    std::optional<UpRing> ring;
    if (low) ring.emplace(*low, *up, *up_bias, b);
    const std::vector<const void*> from = planes_of(x.values, b);
    std::vector<void*> to;
    for (const void* plane : planes_of(y, b)) to.push_back(const_cast<void*>(plane));
    cpu::ConvSlab slab;
    for (int axis = 0; axis < 3; ++axis) {
      slab.in_size[size_t(axis)] = x.values.shape[axis + 1];
      slab.out_size[size_t(axis)] = shape[axis + 1];
    }
    slab.stride = stride;
    slab.inputs[low ? 1 : 0] = {from.data(), x.values.dtype, x.values.shape[4], cpu::pending_norm(x, b)};
    slab.planes = to.data();
    slab.dtype = dtype;
    slab.out = weight.out;
    slab.statistics = statistics.data() + b * weight.out;
    for (int64_t i = 0; i < slabs; ++i) {
      slab.first = (upwards ? slabs - 1 - i : i) * slab_planes;  // a result behind its input is written from the end
      slab.last = std::min(H, slab.first + slab_planes);
      if (ring) {
        slab.inputs[0] = {ring->planes(slab.first - 1, slab.last + 1), DType::f32, ring->channels(), {}};
      }
      convolve(slab, weight);
    }
  }
  x.values = Tensor();
  return owing(std::move(y), statistics, norm);
}

Shape output_shape(const Shape& in, int64_t out, int64_t stride) {
  return {in[0], (in[1] - 1) / stride + 1, (in[2] - 1) / stride + 1, (in[3] - 1) / stride + 1, out};
}

void check_norm(const NormWeights& norm, int64_t channels, const char* name) {
  SAT_CHECK(norm.gain.shape == Shape({channels}) && norm.bias.shape == Shape({channels}), name, ": gain ",
            norm.gain.shape, " and bias ", norm.bias.shape, " need [", channels, "]");
}

}  // namespace

Tensor finished(Features x) {
  check_features(x, "finished");
  if (x.values.device == Device::cuda) return accelerator().finished(std::move(x));
  if (x.center.empty() && x.values.dtype == DType::f32) return x.values;
  const Shape& shape = x.values.shape;
  const bool reuse = x.values.dtype == DType::f32 && x.values.buffer.use_count() == 1 && !x.values.buffer->foreign();
  profile::Range range("finished", shape);
  const Tensor y = reuse ? x.values : Tensor(shape);
  const int64_t lines = shape[1] * shape[2], line = shape[3];
  for (int64_t b = 0; b < shape[0]; ++b) {
    const cpu::FeatureReader reader(x, b);
    parallel_for(lines, 8, [&](int64_t first, int64_t last) {
      reader.read(y.data<float>() + (b * lines + first) * line * shape[4], first * line, (last - first) * line);
    });
  }
  return y;
}

Features conv3d_norm(Features x, const PackedConv3d& weight, const NormWeights& norm, int64_t stride, DType store) {
  check_features(x, "conv3d_norm");
  SAT_CHECK(held_as(store, x.values.device), "conv3d_norm: results are held as f32 or f16, not ", name_of(store));
  SAT_CHECK(x.values.shape[4] == weight.in && weight.first_in == weight.in && weight.kernel == 3,
            "conv3d_norm: x has shape ", x.values.shape, ", the weight is ", weight.kernel, "x", weight.kernel, "x",
            weight.kernel, " of ", weight.in, " inputs");
  const int64_t only = info_of(weight.method).stride;
  SAT_CHECK(stride >= 1 && (only == 0 || only == stride), "conv3d_norm: stride ", stride, " by ",
            info_of(weight.method).name);
  check_norm(norm, weight.out, "conv3d_norm");
  profile::Range range("conv3d_norm", x.values.shape);
  if (x.values.device == Device::cuda) {
    return accelerator().conv3d_norm(std::move(x), weight, norm, stride, store);
  }
  const Shape shape = output_shape(x.values.shape, weight.out, stride);
  if (weight.method == ConvMethod::direct) {
    return direct(finished(std::move(x)), nullptr, weight, norm, shape, stride, store);
  }
  return by_slabs(std::move(x), nullptr, nullptr, nullptr, weight, norm, shape, stride, store);
}

void compose_up(PackedConv3d& conv, const Tensor& weight, const Tensor& up, const Tensor& up_bias) {
  SAT_CHECK(weight.shape == Shape({conv.out, conv.in, 3, 3, 3}) && up.shape.rank() == 5 &&
                up.shape[1] == conv.first_in && (up_bias.empty() || up_bias.shape == Shape({conv.first_in})),
            "compose_up: weight ", weight.shape, ", up ", up.shape, " and its bias ", up_bias.shape,
            " for a convolution of ", conv.in, " inputs, ", conv.first_in, " of them up-sampled, and ", conv.out,
            " outputs");
  if (Context::current().accelerator()) accelerator().compose_up(conv, weight, up, up_bias);
}

Features conv3d_norm_up(Features low, const PackedMatrix& up, const Tensor& up_bias, Features skip,
                        const PackedConv3d& weight, const NormWeights& norm, DType store) {
  check_features(low, "conv3d_norm_up");
  SAT_CHECK(held_as(store, skip.values.device), "conv3d_norm_up: results are held as f32 or f16, not ", name_of(store));
  check_features(skip, "conv3d_norm_up");
  const Shape &small = low.values.shape, &large = skip.values.shape;
  SAT_CHECK(small[0] == large[0] && 2 * small[1] == large[1] && 2 * small[2] == large[2] && 2 * small[3] == large[3],
            "conv3d_norm_up: low has shape ", small, ", skip ", large, "; need half of each axis");
  SAT_CHECK(small[4] == up.in && up.out % 8 == 0 && weight.first_in == up.out / 8 &&
                weight.in == up.out / 8 + large[4] && weight.kernel == 3,
            "conv3d_norm_up: low has shape ", small, ", skip ", large, ", the weight is for ", weight.first_in, " and ",
            weight.in - weight.first_in, " channels");
  SAT_CHECK(info_of(weight.method).stride <= 1, "conv3d_norm_up: ", info_of(weight.method).name, " has stride 2");
  check_norm(norm, weight.out, "conv3d_norm_up");
  profile::Range range("conv3d_norm_up", large);
  if (skip.values.device == Device::cuda) {
    return accelerator().conv3d_norm_up(std::move(low), up, up_bias, std::move(skip), weight, norm, store);
  }
  const Shape shape = output_shape(large, weight.out, 1);
  if (weight.method == ConvMethod::direct) {
    const Tensor x = conv_transpose3d(finished(std::move(low)), up, up_bias), joined = finished(std::move(skip));
    return direct(x, &joined, weight, norm, shape, 1, store);
  }
  return by_slabs(std::move(skip), &low, &up, &up_bias, weight, norm, shape, 1, store);
}

}  // namespace sat
