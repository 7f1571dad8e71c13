// Blocks of convolution and norm on the CPU: which method computes them, the slabs that they are computed in, and the
// statistics that become the pending norm.
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "sat/tensor/cpu/amx/conv/conv.h"
#include "sat/tensor/cpu/amx/matrix_piece.h"
#include "sat/tensor/cpu/backend.h"
#include "sat/tensor/cpu/conv/conv.h"
#include "sat/tensor/cpu/conv/conv_method.h"
#include "sat/tensor/cpu/conv/conv_slab.h"
#include "sat/tensor/cpu/conv/feature_reader.h"
#include "sat/tensor/cpu/conv/few_channels.h"
#include "sat/tensor/cpu/conv/up_sampling.h"
#include "sat/tensor/cpu/vector/simd.h"
#include "sat/tensor/cpu/vector/vector_avx2.h"
#include "sat/tensor/cpu/winograd/winograd.h"
#include "sat/tensor/half.h"
#include "sat/tensor/memory/memory.h"
#include "sat/tensor/ops/score_sizes.h"
#include "sat/tensor/ops/slab_walk.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kCountedVoxels = 1024;  // whose statistics are counted in one go
constexpr int64_t kSummedVoxels = 64;     // read in one go
constexpr int64_t kSummedAPiece = 16 * kSummedVoxels;

constexpr int kHalfWidthHalvings = 2;  // fast precision holds the results of the two highest resolutions in f16: the
                                       // others are too small to matter for memory, and matter for accuracy

/// The start of each plane of one sample.
std::vector<const void*> planes_of(const Tensor& x, int64_t sample) {
  const int64_t plane = x.shape[2] * x.shape[3] * x.shape[4] * size_of(x.dtype);
  std::vector<const void*> planes;
  for (int64_t h = 0; h < x.shape[1]; ++h) {
    planes.push_back(static_cast<const char*>(x.raw()) + (sample * x.shape[1] + h) * plane);
  }
  return planes;
}

std::vector<void*> planes_of(Tensor& x, int64_t sample) {
  std::vector<void*> planes;
  for (const void* plane : planes_of(std::as_const(x), sample)) planes.push_back(const_cast<void*>(plane));
  return planes;
}

/// The norm that readers of raw results take, from their statistics [batch, channels].
Features with_norm(Tensor values, const std::vector<Moments>& statistics, const NormWeights& norm) {
  const int64_t batch = values.shape[0], channels = values.shape[4];
  const Shape per_channel({batch, channels});
  Features y{std::move(values),   Tensor(per_channel), Tensor(per_channel),
             Tensor(per_channel), norm.slope,          Tensor(per_channel)};
  if (Context::current().dry()) return y;
  const float *gain = norm.gain.data<float>(), *bias = norm.bias.data<float>();
  for (int64_t i = 0; i < batch * channels; ++i) {
    const Moments& m = statistics[size_t(i)];
    const double variance = m.m2 / m.count;
    SAT_CHECK(std::isfinite(m.mean) && std::isfinite(variance), "conv3d_norm: channel ", i % channels,
              " is not finite; the input or the weights are not");
    SAT_CHECK(y.values.dtype != DType::f16 || std::abs(m.mean) + 8 * std::sqrt(variance) < double(kLargestF16),
              "conv3d_norm: channel ", i % channels, " leaves the range of f16; use exact precision");
    const double deviation = std::sqrt(variance + double(norm.eps));
    const double factor = double(gain[i % channels]) / deviation;
    const auto center = float(m.mean);  // taken off first: x - mean is exact where |mean| >> deviation
    y.center.data<float>()[i] = center;
    y.factor.data<float>()[i] = float(factor);
    y.shift.data<float>()[i] = float(double(bias[i % channels]) - (m.mean - double(center)) * factor);
    y.rstd.data<float>()[i] = float(1 / deviation);
  }
  return y;
}

/// Whether the tiles compute a block by its own form for few channels.
bool takes_few_channels(const ConvBlockWeight& weight) {
  return ConvMethod(weight.variant) == ConvMethod::amx_bf16 && weight.up == 0 &&
         few_channels_on_tiles(weight.in, weight.stride);
}

/// By the direct method, or by the tiles' form for few channels: on final values.
Features by_direct(const Tensor& x, const Tensor& skip, const ConvBlockWeight& weight, const NormWeights& norm,
                   const AmxLoops* tiles) {
  const Shape shape = conv_output_shape(x.shape, weight.out, weight.stride);
  const int64_t stride = weight.stride;
  const ConvShape conv{x.shape[0], grid_of(x.shape, 1), grid_of(shape, 1),        x.shape[4], weight.in - x.shape[4],
                       weight.out, {3, 3, 3},           {stride, stride, stride}, {1, 1, 1}};
  Tensor y = room_for_next(shape, weight.store, Device::cpu, kSlabPlanes);
  std::vector<Moments> statistics(size_t(shape[0] * shape[4]));
  const ConvResult result{y.raw(), weight.store, statistics.data()};
  if (takes_few_channels(weight)) {
    few_channels_conv3d(*tiles, result, x.address<float>(), weight.panels, conv);
  } else {
    conv3d_counted(result, x.address<float>(), skip.address<float>(), weight.panels.address<float>(), conv);
  }
  return with_norm(std::move(y), statistics, norm);
}

/// A Winograd method's weight as its products read it, made from its taps.
Tensor transformed(const Tensor& taps, const ConvBlockWeight& weight, ConvMethod method) {
  return winograd_panels(taps, winograd_kind(method), weight.up > 0 ? weight.up : weight.in);
}

bool transforms_late(ConvMethod method, int64_t in, int64_t out) {
  const bool winograd = method != ConvMethod::direct && method != ConvMethod::amx_bf16;
  return winograd && winograd_transforms_late(winograd_kind(method), in, out);
}

/// By a method that works in slabs, of x or, with `up`, of [up-sampled low, x].
Features by_slabs(Features x, const Features* low, const UpBlockWeight* up, const ConvBlockWeight& weight,
                  const NormWeights& norm, const AmxLoops* tiles) {
  const auto method = ConvMethod(weight.variant);
  const Shape shape = conv_output_shape(x.values.shape, weight.out, weight.stride);
  const bool whole = method == ConvMethod::amx_bf16 && amx_keeps_whole(grid_of(x.values.shape, 1), weight.in);
  const int64_t slab_planes = whole ? shape[1] : kSlabPlanes;
  SlabWalk walk(x.values, shape, weight.store, slab_planes, low != nullptr);
  const Tensor panels =
      transforms_late(method, weight.in, weight.out) ? transformed(weight.panels, weight, method) : weight.panels;
  const int64_t groups = divide_up(shape[1], kSlabPlanes);
  std::vector<Moments> statistics(size_t(shape[0] * weight.out)), by_planes(size_t(groups * weight.out));
  for (int64_t b = 0; b < shape[0]; ++b) {
    std::optional<UpSampledPlanes> above;
    if (low) above.emplace(*low, *up, b, slab_planes, tiles);
    const std::vector<const void*> from = planes_of(std::as_const(x.values), b);
    const std::vector<void*> to = planes_of(walk.result(), b);
    std::fill(by_planes.begin(), by_planes.end(), Moments{});
    ConvSlab slab;
    slab.in_size = grid_of(x.values.shape, 1);
    slab.out_size = grid_of(shape, 1);
    slab.stride = weight.stride;
    slab.inputs[low ? 1 : 0] = {from.data(), x.values.dtype, x.values.shape[4], pending_norm(x, b)};
    slab.planes = to.data();
    slab.dtype = weight.store;
    slab.out = weight.out;
    slab.statistics = by_planes.data();
    walk.for_each([&](int64_t first, int64_t last) {
      slab.first = first;
      slab.last = last;
      if (above) slab.inputs[0] = {above->planes(first - 1, last + 1), above->dtype(), weight.up, {}};
      if (method == ConvMethod::amx_bf16) {
        amx_conv3d(slab, panels, tiles->conv);
      } else {
        winograd_conv3d(slab, panels.address<float>(), winograd_kind(method), current_winograd());
      }
    });
    for (int64_t i = 0; i < groups * weight.out; ++i) {
      statistics[size_t(b * weight.out + i % weight.out)].merge(by_planes[size_t(i)]);
    }
  }
  x.values = Tensor();
  return with_norm(std::move(walk.result()), statistics, norm);
}

}  // namespace

ConvChoice CpuBackend::choose_conv(const ConvSite& site, const ConvChannels& channels) const {
  const Context& context = Context::current();
  const bool has_tiles = amx_loops() != nullptr, fast = context.precision() == Precision::fast;
  const CpuLevel level = has_tiles ? CpuLevel::amx : context.cpu();
  const ConvLayer layer{channels.in, channels.out, 3, site.stride, site.grid, site.most_error};
  const ConvMethod method =
      site.variant.empty() ? choose_conv_method(layer, context.precision(), level) : parse_conv_method(site.variant);
  const ConvMethodInfo& info = info_of(method);
  SAT_CHECK(info.stride == 0 || info.stride == site.stride, info.name, " computes stride ", info.stride, ", not ",
            site.stride);
  SAT_CHECK(method != ConvMethod::amx_bf16 || has_tiles, info.name,
            " needs a processor with matrix units (AMX), and a context at the level amx");
  const double published = 4. * 27 * double(channels.in * channels.out);
  return {info.name, fast && site.halvings < kHalfWidthHalvings ? DType::f16 : DType::f32, info.savings,
          published * (transforms_late(method, channels.in, channels.out) ? 1 : info.weight_growth), info.error};
}

ConvBlockWeight CpuBackend::pack_conv_block(const Tensor& weight, const ConvSite& site) {
  return pack(weight, site, 0);
}

ConvBlockWeight CpuBackend::pack(const Tensor& weight, const ConvSite& site, int64_t up) const {
  const ConvChoice choice = choose_conv(site, {weight.shape[1], weight.shape[0], up});
  ConvBlockWeight packed;
  packed.out = weight.shape[0];
  packed.in = weight.shape[1];
  packed.up = up;
  packed.stride = site.stride;
  packed.input = site.input;
  packed.store = choice.store;
  const ConvMethod method = parse_conv_method(choice.variant);
  packed.variant = int(method);
  switch (method) {
    case ConvMethod::direct: packed.panels = direct_panels(weight); break;
    case ConvMethod::amx_bf16:
      packed.panels = takes_few_channels(packed) ? pack_few_channels(weight) : pack_amx_conv3d(weight, site.stride);
      break;
    default:
      packed.panels = winograd_taps(weight);
      if (!transforms_late(method, packed.in, packed.out)) packed.panels = transformed(packed.panels, packed, method);
  }
  return packed;
}

UpBlockWeight CpuBackend::pack_up_block(const Tensor& weight, const Tensor& up, const Tensor& up_bias,
                                        const ConvSite& site) {
  UpBlockWeight packed{{}, up_bias, pack(weight, site, up.shape[1])};
  const bool tiles = ConvMethod(packed.conv.variant) == ConvMethod::amx_bf16 && up_sampling_on_tiles(up.shape[1]);
  packed.up = tiles ? pack_up_sampling(up) : pack_conv_transpose3d(up);
  return packed;
}

Tensor CpuBackend::materialize(Features x) {
  const Shape shape = x.values.shape;
  const bool reuse = x.values.dtype == DType::f32 && x.values.buffer.use_count() == 1 && !x.values.buffer->foreign();
  Tensor y = reuse ? x.values : Tensor(shape);
  float* to = y.address<float>();
  const int64_t lines = shape[1] * shape[2], line = shape[3];
  for (int64_t b = 0; b < shape[0]; ++b) {
    const FeatureReader reader(x, b);
    parallel_for(lines, 8, [&](int64_t first, int64_t last) {
      reader.read(to + (b * lines + first) * line * shape[4], first * line, (last - first) * line);
    });
  }
  return y;
}

Features CpuBackend::instance_norm(Tensor x, const NormWeights& norm) {
  const int64_t samples = x.shape[0], channels = x.shape[4],
                voxels = x.numel() / std::max<int64_t>(1, samples * channels);
  const int64_t groups = divide_up(voxels, kCountedVoxels);
  std::vector<Moments> parts(size_t(samples * groups * channels)), statistics(size_t(samples * channels));
  const float* from = x.address<float>();
  const bool vector = current_simd() != nullptr;
  parallel_for(samples * groups, 1, [&](int64_t group, int64_t) {
    const int64_t first = group % groups * kCountedVoxels, count = std::min(kCountedVoxels, voxels - first);
    const float* values = from + (group / groups * voxels + first) * channels;
    Moments* part = parts.data() + group * channels;
    if (vector) {
      std::vector<double> mean(static_cast<size_t>(channels)), m2(mean.size());
      avx2::moments(mean.data(), m2.data(), values, count, channels);
      for (int64_t c = 0; c < channels; ++c) part[c] = {double(count), mean[size_t(c)], m2[size_t(c)]};
      return;
    }
    for (int64_t c = 0; c < channels; ++c) part[c] = {double(count), 0, 0};
    for (int64_t i = 0; i < count * channels; ++i) part[i % channels].mean += double(values[i]) / double(count);
    for (int64_t i = 0; i < count * channels; ++i) {
      const double deviation = double(values[i]) - part[i % channels].mean;
      part[i % channels].m2 += deviation * deviation;
    }
  });
  for (int64_t i = 0; i < samples * groups * channels; ++i) {
    statistics[size_t(i / (groups * channels) * channels + i % channels)].merge(parts[size_t(i)]);
  }
  return with_norm(std::move(x), statistics, norm);
}

void CpuBackend::sum_features(Tensor& y, const Features& a, const Features& b, float slope) {
  const Shape& shape = a.values.shape;
  const int64_t voxels = shape[1] * shape[2] * shape[3], channels = shape[4];
  const bool vector = current_simd() != nullptr;
  for (int64_t sample = 0; sample < shape[0]; ++sample) {
    const FeatureReader first_reader(a, sample), second_reader(b, sample);
    float* to = y.address<float>() + sample * voxels * channels;
    parallel_for(voxels, kSummedAPiece, [&](int64_t first, int64_t last) {
      std::vector<float> one(size_t(kSummedVoxels * channels)), other(one.size());
      for (int64_t voxel = first; voxel < last; voxel += kSummedVoxels) {
        const int64_t count = std::min(kSummedVoxels, last - voxel);
        first_reader.read(one.data(), voxel, count);
        second_reader.read(other.data(), voxel, count);
        if (vector) {
          avx2::add_leaky_relu(to + voxel * channels, one.data(), other.data(), slope, count * channels);
          continue;
        }
        for (int64_t i = 0; i < count * channels; ++i) {
          const float sum = one[size_t(i)] + other[size_t(i)];
          to[voxel * channels + i] = sum < 0 ? slope * sum : sum;
        }
      }
    });
  }
}

Features CpuBackend::conv3d_norm(Features x, const ConvBlockWeight& weight, const NormWeights& norm) {
  if (ConvMethod(weight.variant) != ConvMethod::direct && !takes_few_channels(weight)) {
    return by_slabs(std::move(x), nullptr, nullptr, weight, norm, amx_loops());
  }
  return by_direct(sat::materialize(std::move(x)), {}, weight, norm, amx_loops());
}

Features CpuBackend::conv3d_norm_up(Features low, Features skip, const UpBlockWeight& weight, const NormWeights& norm) {
  if (ConvMethod(weight.conv.variant) != ConvMethod::direct) {
    return by_slabs(std::move(skip), &low, &weight, weight.conv, norm, amx_loops());
  }
  const Tensor x = sat::conv_transpose3d(sat::materialize(std::move(low)), weight.up, weight.up_bias);
  return by_direct(x, sat::materialize(std::move(skip)), weight.conv, norm, nullptr);
}

}  // namespace sat::cpu
