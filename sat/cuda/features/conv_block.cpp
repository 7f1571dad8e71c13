// Blocks of a 3x3x3 convolution and a norm: which variant computes one, its weights, and the slabs in which its result
// is written over its input.
#include <cstring>
#include <optional>
#include <utility>

#include "sat/cuda/backend.h"
#include "sat/cuda/conv3d/composed/conv3d_composed.h"
#include "sat/tensor/ops/slab_walk.h"
#include "sat/tensor/parallel.h"

namespace sat::cuda {

namespace {

constexpr int64_t kSlab = 24;  // planes of one launch where the result lies over its input
constexpr int64_t kTaps = 27;

// Blocks after fewer halvings than this may hold the up-sampling in their weights: 64 / 27 of the bytes a channel pair,
// which matters on the coarse grids, whose channels are many.
constexpr int kComposedHalvings = 3;

int64_t ring_planes() { return UpRing(0, kSlab).planes(); }

/// The convolution of a block on a grid, but for its arrays.
Conv conv_on(const std::array<int64_t, 3>& grid, int64_t stride, const ConvChannels& channels, DType input,
             DType store) {
  Conv conv;
  conv.out_size = grid;
  for (size_t axis = 0; axis < 3; ++axis) conv.in_size[axis] = grid[axis] * stride;
  conv.stride = stride;
  conv.inputs[0].channels = channels.up > 0 ? channels.up : channels.in;
  conv.inputs[1].channels = channels.up > 0 ? channels.in - channels.up : 0;
  for (ConvInput& x : conv.inputs) x.dtype = input;
  if (channels.up > 0) conv.inputs[0].ring = ring_planes();
  conv.dtype = store;
  conv.out = channels.out;
  conv.last = grid[0];
  return conv;
}

/// weight [out, in, 3, 3, 3] as Conv wants it (kernels.h), on the CPU. The second input's channels begin at first_in.
Tensor packed_panels(const Tensor& weight, int64_t first_in, DType input) {
  const int64_t out = weight.shape[0], in = weight.shape[1];
  const bool wide = input == DType::f32;
  const int64_t second = wide ? first_in : pad16(first_in);  // where the second input's channels go
  const int64_t columns = wide ? in : second + pad16(in - first_in), rows = wide ? out : pad16(out);
  Tensor packed(wide ? Shape({kTaps, columns, rows}) : Shape({kTaps, rows, columns}));
  parallel_for(kTaps, 1, [&](int64_t tap, int64_t) {
    const float* from = weight.data<float>();
    float* to = packed.data<float>() + tap * rows * columns;
    std::memset(to, 0, size_t(rows * columns) * sizeof(float));
    for (int64_t o = 0; o < out; ++o) {
      for (int64_t c = 0; c < in; ++c) {
        const int64_t column = c < first_in ? c : second + c - first_in;
        to[wide ? column * rows + o : o * columns + column] = from[(o * in + c) * kTaps + tap];
      }
    }
  });
  return packed.cast(input);
}

/// The planes of an up-sampled volume that slabs read, each made when a slab is near.
class UpPlanes {
 public:
  UpPlanes(const Stream& stream, const Features& low, const UpBlockWeight& weight, int64_t sample)
      : stream_(stream), ring_(low.values.shape[1], kSlab) {
    const Shape& shape = low.values.shape;
    made_ = Tensor({ring_.planes(), 2 * shape[2], 2 * shape[3], weight.conv.up}, low.values.dtype, low.values.device);
    conv_.in_size = grid_of(shape, 1);
    conv_.input = input_of(low, sample);
    conv_.weights = weight.up.panels.raw();
    conv_.bias = weight.up_bias.address<float>();
    conv_.values = made_.raw();
    conv_.out = weight.conv.up;
    conv_.ring = ring_.planes();
  }

  /// Sees to it that planes [first, last) of the up-sampled volume are there.
  ConvInput planes(int64_t first, int64_t last) {
    ring_.require(first, last, [&](int64_t from, int64_t to) {
      conv_.first = from;
      conv_.last = to;
      conv_transpose3d(stream_, conv_);
    });
    return {made_.raw(), made_.dtype, conv_.out, conv_.ring, {}};
  }

 private:
  const Stream& stream_;
  UpRing ring_;
  Tensor made_;
  ConvTranspose conv_;
};

/// The composed convolution that does what `conv`, of an up-sampled and another input, does.
ComposedConv composed_conv(const Conv& conv, const Features& low, const UpBlockWeight& weight, int64_t sample) {
  ComposedConv composed;
  composed.low_size = grid_of(low.values.shape, 1);
  composed.low = input_of(low, sample);
  composed.skip = conv.inputs[1];
  composed.weights_low = weight.composed.raw();
  // The skip's columns of [27][pad16(out)][both inputs].
  composed.weights_skip = static_cast<const char*>(conv.weights) + pad16(weight.conv.up) * size_of(composed.skip.dtype);
  composed.skip_pitch = pad16(weight.conv.up) + pad16(composed.skip.channels);
  composed.bias = weight.composed_bias.address<float>();
  composed.values = conv.values;
  composed.dtype = conv.dtype;
  composed.out = conv.out;
  return composed;
}

}  // namespace

// ---- the choice ----------------------------------------------------------------------------------------------------

void CudaBackend::check_variant(const ConvSite& site) const {
  if (site.variant.empty()) return;
  SAT_CHECK(parse_conv_variant(site.variant) == conv_, "a convolution by ", site.variant, " on ", runtime_.name(),
            ", which computes by ", name_of(conv_), ": a device's variant is chosen by DeviceOptions::conv");
}

/// Whether a block's weights are composed: where its features are of a half type, and no variant that this device may
/// take for large volumes is faster than a composed convolution.
bool CudaBackend::packs_composed(const ConvSite& site, const ConvChannels& channels) const {
  if (channels.up == 0 || site.halvings >= kComposedHalvings || site.input == DType::f32) return false;
  const Conv large = conv_on({256, 256, 256}, 1, channels, site.input, feature_type());
  return choose_conv3d(large, limits(), conv_) <= ConvVariant::composed;
}

/// Whether composed weights are taken: where mma is the best variant, and its sums need not be split over blocks; or
/// where it was asked for.
bool CudaBackend::takes_composed(const Conv& conv, const ComposedConv& composed) const {
  if (conv_ != ConvVariant::automatic && conv_ != ConvVariant::composed) return false;
  if (conv_ == ConvVariant::automatic && has_small_planes(conv)) return false;
  if (choose_conv3d(conv, limits(), conv_) > ConvVariant::composed) return false;
  return conv3d_composed_refusal(composed, limits()).empty();
}

ConvChoice CudaBackend::choose_conv(const ConvSite& site, const ConvChannels& channels) const {
  check_variant(site);
  std::array<int64_t, 3> grid = site.grid;
  for (int64_t& size : grid) size = std::max<int64_t>(size, 1);
  const Conv conv = conv_on(grid, site.stride, channels, site.input, feature_type());
  ComposedConv composed;
  composed.low = conv.inputs[0];
  composed.skip = conv.inputs[1];
  composed.out = conv.out;
  const bool is_composed = packs_composed(site, channels) && takes_composed(conv, composed);
  ConvChoice choice;
  choice.variant = name_of(is_composed ? ConvVariant::composed : choose_conv3d(conv, limits(), conv_));
  choice.store = conv.dtype;
  choice.weight_bytes = double(kTaps * channels.in * channels.out * size_of(site.input));
  return choice;
}

// ---- weights -------------------------------------------------------------------------------------------------------

ConvBlockWeight CudaBackend::pack_conv_block(const Tensor& weight, const ConvSite& site) {
  check_variant(site);
  ConvBlockWeight packed;
  packed.out = weight.shape[0];
  packed.in = weight.shape[1];
  packed.stride = site.stride;
  packed.input = site.input;
  packed.store = feature_type();
  packed.panels = packed_panels(weight, packed.in, site.input).to(runtime_.device());
  return packed;
}

UpBlockWeight CudaBackend::pack_up_block(const Tensor& weight, const Tensor& up, const Tensor& up_bias,
                                         const ConvSite& site) {
  check_variant(site);
  const Device device = runtime_.device();
  UpBlockWeight packed;
  packed.up.in = up.shape[0];
  packed.up.out = 8 * up.shape[1];
  packed.up.panels = packed_up_sampling(up, site.input).to(device);
  packed.up_bias = up_bias.to(device);
  ConvBlockWeight& conv = packed.conv;
  conv.out = weight.shape[0];
  conv.in = weight.shape[1];
  conv.up = up.shape[1];
  conv.input = site.input;
  conv.store = feature_type();
  conv.panels = packed_panels(weight, conv.up, site.input).to(device);
  if (packs_composed(site, {conv.in, conv.out, conv.up})) {
    const ComposedWeights composed = compose_up(weight, up, up_bias);
    packed.composed = composed.low.cast(site.input).to(device);
    packed.composed_bias = composed.bias.to(device);
  }
  return packed;
}

// ---- computing -----------------------------------------------------------------------------------------------------

/// One block, all samples.
struct CudaBackend::Block {
  Features x;  // the input, or the second of two
  const ConvBlockWeight& weight;
  const Features* low = nullptr;      // up-sampled, the first of two
  const UpBlockWeight* up = nullptr;  // with `low`
};

Features CudaBackend::run(Block& block, const NormWeights& norm) {
  const ConvBlockWeight& weight = block.weight;
  const Stream& stream = runtime_.stream();
  const DType type = block.x.values.dtype;
  SAT_CHECK(weight.input == type, "conv3d_norm: the weight is packed for features in ", weight.input, ", these are ",
            type);
  const Shape shape = conv_output_shape(block.x.values.shape, weight.out, weight.stride);
  SlabWalk walk(block.x.values, shape, weight.store, kSlab, block.low != nullptr);
  const int64_t batch = shape[0], H = shape[1], channels = shape[4];
  const Device device = runtime_.device();
  const auto per_channel = [&] { return Tensor({batch, channels}, DType::f32, device); };
  Features result{walk.result(), per_channel(), per_channel(), per_channel(), norm.slope, per_channel()};

  for (int64_t b = 0; b < batch; ++b) {
    Conv conv = conv_on(grid_of(shape, 1), weight.stride, {weight.in, weight.out, weight.up}, type, weight.store);
    conv.in_size = grid_of(block.x.values.shape, 1);
    conv.inputs[block.low ? 1 : 0] = input_of(block.x, b);
    conv.weights = weight.panels.raw();
    conv.values =
        static_cast<char*>(result.values.raw()) + b * H * shape[2] * shape[3] * channels * size_of(weight.store);
    conv.last = std::min(H, walk.longest());
    std::optional<UpPlanes> up;
    std::optional<ComposedConv> composed;
    if (block.low && !block.up->composed.empty()) composed = composed_conv(conv, *block.low, *block.up, b);
    if (composed && !takes_composed(conv, *composed)) composed.reset();
    if (block.low && !composed) up.emplace(stream, *block.low, *block.up, b);
    const ConvVariant variant = choose_conv3d(conv, stream.limits, conv_);
    const int64_t partials = H * (composed ? conv3d_composed_partials(*composed) : conv3d_partials(variant, conv));
    Tensor statistics({partials, channels, 3}, DType::f32, device);
    Tensor workspace({composed ? 0 : conv3d_workspace(variant, conv, stream.limits)}, DType::u8, device);
    conv.partials = static_cast<PartialMoments*>(statistics.raw());
    conv.workspace = workspace.raw();
    walk.for_each([&](int64_t first, int64_t last) {
      if (composed) {
        composed->first = first;
        composed->last = last;
        composed->partials = conv.partials;
        return conv3d_composed(stream, *composed);
      }
      conv.first = first;
      conv.last = last;
      if (up) conv.inputs[0] = up->planes(first - 1, last + 1);
      cuda::conv3d(stream, variant, conv);
    });
    const auto of_sample = [&](Tensor& x) { return x.address<float>() + b * channels; };
    pending_norm(stream,
                 {of_sample(result.center), of_sample(result.factor), of_sample(result.shift), of_sample(result.rstd)},
                 conv.partials, partials, channels, norm.gain.address<float>(), norm.bias.address<float>(), norm.eps,
                 weight.store == DType::f16, runtime_.error_flag());
  }
  block.x.values = Tensor();
  return result;
}

Features CudaBackend::conv3d_norm(Features x, const ConvBlockWeight& weight, const NormWeights& norm) {
  Block block{std::move(x), weight};
  return run(block, norm);
}

Features CudaBackend::conv3d_norm_up(Features low, Features skip, const UpBlockWeight& weight,
                                     const NormWeights& norm) {
  Block block{std::move(skip), weight.conv, &low, &weight};
  return run(block, norm);
}

}  // namespace sat::cuda
