// Feature volumes on the device: packing of kernels, and convolutions that are written over their input slab by slab.
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "sat/cuda/accelerator.h"
#include "sat/cuda/conv3d/composed/conv3d_composed.h"
#include "sat/tensor/ops/in_place.h"
#include "sat/tensor/parallel.h"

namespace sat::cuda {

namespace {

constexpr int64_t kSlab = 24;           // planes of one launch where the result lies over its input
constexpr int64_t kMargin = kSlab + 1;  // planes between the two: a slab overwrites only what no slab reads any more
constexpr int64_t kRing = kSlab + 4;    // up-sampled planes that wait for their slab: with its halo, in whole pairs
constexpr int64_t kTaps = 27;

ConvInput input_of(const Features& x, int64_t sample) {
  SAT_CHECK(x.values.device == Device::cuda, "features of shape ", x.values.shape, " lie on the CPU, not on a device");
  const Shape& shape = x.values.shape;
  const int64_t channels = shape[4], per_sample = shape[1] * shape[2] * shape[3] * channels;
  ConvInput input;
  input.values = static_cast<const char*>(x.values.raw()) + sample * per_sample * size_of(x.values.dtype);
  input.dtype = x.values.dtype;
  input.channels = channels;
  if (!x.center.empty()) {
    input.norm = {static_cast<const float*>(x.center.raw()) + sample * channels,
                  static_cast<const float*>(x.factor.raw()) + sample * channels,
                  static_cast<const float*>(x.shift.raw()) + sample * channels, x.slope};
  }
  return input;
}

/// The planes of a transposed convolution that some slab reads, made when it is near.
class UpRing {
 public:
  UpRing(const Queue& queue, const Features& low, const PackedMatrix& weight, const Tensor& bias, int64_t sample)
      : queue_(queue), pairs_(size_t(kRing / 2), -1) {
    const Shape& shape = low.values.shape;
    SAT_CHECK(
        weight.panels.device == Device::cuda && (low.values.dtype == DType::f32) == (weight.panels.dtype == DType::f32),
        "conv3d_norm_up: the up-sampling weight is ", weight.panels.dtype, ", the features are ", low.values.dtype);
    made_ = Tensor({kRing, 2 * shape[2], 2 * shape[3], weight.out / 8}, low.values.dtype, Device::cuda);
    conv_.in_size = {shape[1], shape[2], shape[3]};
    conv_.input = input_of(low, sample);
    conv_.weights = weight.panels.raw();
    conv_.bias = bias.empty() ? nullptr : static_cast<const float*>(bias.raw());
    conv_.values = made_.raw();
    conv_.out = weight.out / 8;
    conv_.ring = kRing;
  }

  /// Makes sure of planes [first, last) of the up-sampled volume.
  ConvInput planes(int64_t first, int64_t last) {
    const int64_t begin = std::max<int64_t>(0, first / 2), end = std::min(conv_.in_size[0], (last + 1) / 2);
    for (int64_t pair = begin; pair < end;) {
      conv_.first = pair;
      while (pair < end && std::exchange(pairs_[size_t(pair % (kRing / 2))], pair) != pair) ++pair;
      conv_.last = pair;
      if (conv_.first < conv_.last) conv_transpose3d(queue_, conv_);
      if (pair < end) ++pair;
    }
    ConvInput input;
    input.values = made_.raw();
    input.dtype = made_.dtype;
    input.channels = conv_.out;
    input.ring = kRing;
    return input;
  }

 private:
  const Queue& queue_;
  Tensor made_;
  ConvTranspose conv_;
  std::vector<int64_t> pairs_;  // which pair of planes is in each place
};

Shape output_shape(const Shape& in, int64_t out, int64_t stride) {
  return {in[0], (in[1] - 1) / stride + 1, (in[2] - 1) / stride + 1, (in[3] - 1) / stride + 1, out};
}

}  // namespace

Tensor CudaAccelerator::pack_conv3d(const Tensor& weight, int64_t first_in, DType input) {
  const int64_t out = weight.shape[0], in = weight.shape[1];
  const bool wide = input == DType::f32;
  const int64_t second = wide ? first_in : pad16(first_in);  // where the second input's channels begin
  const int64_t columns = wide ? in : second + pad16(in - first_in), rows = wide ? out : pad16(out);
  Tensor packed(wide ? Shape({kTaps, columns, rows}) : Shape({kTaps, rows, columns}));
  parallel_for(kTaps, 1, [&](int64_t tap, int64_t) {
    float* to = packed.data<float>() + tap * rows * columns;
    std::memset(to, 0, size_t(rows * columns) * sizeof(float));
    for (int64_t o = 0; o < out; ++o) {
      for (int64_t c = 0; c < in; ++c) {
        const int64_t column = c < first_in ? c : second + c - first_in;
        to[wide ? column * rows + o : o * columns + column] = weight.data<float>()[(o * in + c) * kTaps + tap];
      }
    }
  });
  return packed.cast(input).to(Device::cuda);
}

PackedMatrix CudaAccelerator::pack_conv_transpose3d(const Tensor& weight) {
  const int64_t in = weight.shape[0], out = weight.shape[1];
  const DType type = feature_type(Context::current().precision());
  const bool wide = type == DType::f32;
  const int64_t columns = wide ? in : pad16(in);
  Tensor packed(wide ? Shape({in, 8 * out}) : Shape({8 * out, columns}));
  parallel_for(8 * out, 64, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const int64_t corner = row / out, o = row % out;
      for (int64_t c = 0; c < columns; ++c) {
        const float value = c < in ? weight.data<float>()[(c * out + o) * 8 + corner] : 0.f;
        packed.data<float>()[wide ? c * 8 * out + row : row * columns + c] = value;
      }
    }
  });
  PackedMatrix result;
  result.panels = packed.cast(type).to(Device::cuda);
  result.in = in;
  result.out = 8 * out;
  return result;
}

void CudaAccelerator::compose_up(PackedConv3d& conv, const Tensor& weight, const Tensor& up, const Tensor& up_bias) {
  const DType type = feature_type(Context::current().precision());
  if (type == DType::f32) return;
  Conv large;  // would any be taken? Where there is a better rung, the weights are not needed.
  large.in_size = large.out_size = {256, 256, 256};
  large.inputs[0].dtype = large.inputs[1].dtype = large.dtype = type;
  large.inputs[0].channels = conv.first_in;
  large.inputs[0].ring = kRing;
  large.inputs[1].channels = conv.in - conv.first_in;
  large.out = conv.out;
  large.last = large.out_size[0];
  if (choose_conv3d(large, queue_.limits, conv_) > ConvVariant::composed) return;
  const ComposedWeights composed = cuda::compose_up(weight, up, up_bias);
  conv.composed = composed.low.cast(type).to(Device::cuda);
  conv.composed_bias = composed.bias.to(Device::cuda);
}

Tensor CudaAccelerator::finished(Features x) {
  if (x.center.empty() && x.values.dtype == DType::f32) return x.values;
  use();
  const Shape& shape = x.values.shape;
  const bool reuse = x.values.dtype == DType::f32 && x.values.buffer.use_count() == 1 && !x.values.buffer->foreign();
  Tensor y = reuse ? x.values : Tensor(shape, DType::f32, Device::cuda);
  const int64_t voxels = shape[1] * shape[2] * shape[3];
  for (int64_t b = 0; b < shape[0]; ++b) {
    finish_features(queue_, static_cast<float*>(y.raw()) + b * voxels * shape[4], input_of(x, b), voxels);
  }
  return y;
}

void CudaAccelerator::avg_pool3d(const Tensor& y, const Features& x, int64_t k) {
  use();
  const Shape& shape = x.values.shape;
  const int64_t per_sample = y.numel() / std::max<int64_t>(1, shape[0]);
  for (int64_t b = 0; b < shape[0]; ++b) {
    cuda::avg_pool3d(queue_, static_cast<float*>(y.raw()) + b * per_sample, input_of(x, b),
                     {shape[1], shape[2], shape[3]}, k);
  }
}

/// One convolution of all samples.
struct CudaAccelerator::Job {
  Features x;                     // the input, or the second of two
  const Features* low = nullptr;  // up-sampled, the first of two
  const PackedMatrix* up = nullptr;
  const Tensor* up_bias = nullptr;
  const PackedConv3d* weight = nullptr;
  Shape shape;  // of the result
  int64_t stride = 1;
  DType store = DType::f32;
};

namespace {

/// A composed convolution of what `conv`, of an up-sampled and another input, stands for.
ComposedConv composed_conv(const Conv& conv, const Features& low, const PackedConv3d& weight, int64_t sample) {
  ComposedConv composed;
  for (size_t axis = 0; axis < 3; ++axis) composed.low_size[axis] = low.values.shape[int(axis) + 1];
  composed.low = input_of(low, sample);
  composed.skip = conv.inputs[1];
  composed.weights_low = weight.composed.raw();
  // The skip's columns of [27][pad16(out)][both inputs].
  composed.weights_skip =
      static_cast<const char*>(conv.weights) + pad16(weight.first_in) * size_of(composed.skip.dtype);
  composed.skip_pitch = pad16(weight.first_in) + pad16(composed.skip.channels);
  composed.bias = static_cast<const float*>(weight.composed_bias.raw());
  composed.values = conv.values;
  composed.dtype = conv.dtype;
  composed.out = conv.out;
  return composed;
}

}  // namespace

/// Where mma is the best rung, and sums need not be split over blocks; or where it was asked for.
bool CudaAccelerator::is_composed(const Conv& conv, const Job& job) const {
  if (!job.low || job.weight->composed.empty()) return false;
  if (conv_ != ConvVariant::automatic && conv_ != ConvVariant::composed) return false;
  if (conv_ == ConvVariant::automatic && has_small_planes(conv)) return false;
  if (choose_conv3d(conv, queue_.limits, conv_) > ConvVariant::composed) return false;
  return conv3d_composed_refusal(composed_conv(conv, *job.low, *job.weight, 0), queue_.limits).empty();
}

Features CudaAccelerator::run(Job& job, const NormWeights& norm) {
  use();
  const Shape shape = job.shape;
  const DType type = job.x.values.dtype;
  const Tensor& panels = job.weight->panels;
  SAT_CHECK(panels.device == Device::cuda && panels.dtype == type, "conv3d_norm: the weight is ", panels.dtype, " on ",
            panels.device == Device::cuda ? "a device" : "the CPU", ", the features are ", type, " on a device");
  SAT_CHECK(norm.gain.device == Device::cuda && norm.bias.device == Device::cuda,
            "conv3d_norm: the norm's weights lie on the CPU, the features on a device");
  Tensor y = place_over(job.x.values, shape, job.store, kMargin);
  const bool over = !y.empty(), upwards = over && y.offset > job.x.values.offset;
  if (!over) y = room_for(shape, job.store, Device::cuda, kMargin);
  const int64_t batch = shape[0], H = shape[1], channels = shape[4];
  const int64_t slab = over || job.low ? kSlab : H, slabs = divide_up(H, slab);
  const Shape per_channel({batch, channels});
  Features result{y, Tensor(per_channel, DType::f32, Device::cuda), Tensor(per_channel, DType::f32, Device::cuda),
                  Tensor(per_channel, DType::f32, Device::cuda), norm.slope};

  for (int64_t b = 0; b < batch; ++b) {
    Conv conv;
    for (int axis = 0; axis < 3; ++axis) {
      conv.in_size[size_t(axis)] = job.x.values.shape[axis + 1];
      conv.out_size[size_t(axis)] = shape[axis + 1];
    }
    conv.stride = job.stride;
    conv.inputs[job.low ? 1 : 0] = input_of(job.x, b);
    if (job.low) {  // as it will be seen through the ring
      conv.inputs[0].dtype = type;
      conv.inputs[0].channels = job.weight->first_in;
      conv.inputs[0].ring = kRing;
    }
    conv.weights = panels.raw();
    conv.values = static_cast<char*>(y.raw()) + b * H * shape[2] * shape[3] * channels * size_of(job.store);
    conv.dtype = job.store;
    conv.out = channels;
    conv.first = 0;
    conv.last = std::min(H, slab);
    std::optional<UpRing> ring;
    std::optional<ComposedConv> composed;
    if (is_composed(conv, job)) {
      composed = composed_conv(conv, *job.low, *job.weight, b);
    } else if (job.low) {
      ring.emplace(queue_, *job.low, *job.up, *job.up_bias, b);
    }
    const ConvVariant variant = choose_conv3d(conv, queue_.limits, conv_);
    const int64_t slots = H * (composed ? conv3d_composed_slots(*composed) : conv3d_slots(variant, conv));
    const Tensor statistics({slots, channels, 3}, DType::f32, Device::cuda);
    const int64_t scratch_bytes = composed ? 0 : conv3d_scratch(variant, conv, queue_.limits);
    const Tensor scratch({scratch_bytes}, DType::u8, Device::cuda);
    conv.slots = static_cast<Slot*>(statistics.raw());
    conv.scratch = scratch.raw();
    for (int64_t i = 0; i < slabs; ++i) {
      conv.first = (upwards ? slabs - 1 - i : i) * slab;  // a result behind its input is written from the end
      conv.last = std::min(H, conv.first + slab);
      if (composed) {
        composed->first = conv.first;
        composed->last = conv.last;
        composed->slots = conv.slots;
        conv3d_composed(queue_, *composed);
        continue;
      }
      if (ring) conv.inputs[0] = ring->planes(conv.first - 1, conv.last + 1);
      conv3d(queue_, variant, conv);
    }
    const auto of_sample = [&](const Tensor& x) { return static_cast<float*>(x.raw()) + b * channels; };
    finish_norm(queue_, of_sample(result.center), of_sample(result.factor), of_sample(result.shift), conv.slots, slots,
                channels, static_cast<const float*>(norm.gain.raw()), static_cast<const float*>(norm.bias.raw()),
                norm.eps, job.store == DType::f16, handles_ ? handles_->trouble : nullptr);
  }
  job.x.values = Tensor();
  return result;
}

Features CudaAccelerator::conv3d_norm(Features x, const PackedConv3d& weight, const NormWeights& norm, int64_t stride,
                                      DType store) {
  Job job;
  job.shape = output_shape(x.values.shape, weight.out, stride);
  job.x = std::move(x);
  job.weight = &weight;
  job.stride = stride;
  job.store = store;
  return run(job, norm);
}

Features CudaAccelerator::conv3d_norm_up(Features low, const PackedMatrix& up, const Tensor& up_bias, Features skip,
                                         const PackedConv3d& weight, const NormWeights& norm, DType store) {
  Job job;
  job.shape = output_shape(skip.values.shape, weight.out, 1);
  job.x = std::move(skip);
  job.low = &low;
  job.up = &up;
  job.up_bias = &up_bias;
  job.weight = &weight;
  job.store = store;
  return run(job, norm);
}

}  // namespace sat::cuda
