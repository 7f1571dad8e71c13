// The convolution on Hopper's matrix units: which form a shape takes, tensor maps for it, and the launch.
#include <cuda.h>

#include <algorithm>
#include <string>
#include <utility>

#include "sat/cuda/conv3d/conv3d_wgmma.cuh"
#include "sat/cuda/kernels.h"

namespace sat::cuda {

namespace {

using namespace marching;

/// Channels of both inputs as the weights hold them.
int64_t padded_channels(const Conv& conv) { return pad16(conv.inputs[0].channels) + pad16(conv.inputs[1].channels); }

/// Calls body(Form{}): up to 128 channels with the smallest form that holds them all, beyond with one that takes them
/// pass by pass. The choice depends on shapes alone.
template <class Body>
auto with_form(const Conv& conv, Body body) {
  const int64_t channels = padded_channels(conv);
  if (channels <= 32) return body(Form<2, 1>{});
  if (channels <= 64) return body(Form<4, 1>{});
  if (channels <= 96) return body(Form<2, 3>{});
  if (channels <= 128) return body(Form<4, 2>{});
  // Where 16 x 16 voxels would lie a quarter or more outside, columns of 16 x 8.
  const bool passes_of_128 = conv.inputs[1].channels == 0 || conv.inputs[0].channels % 128 == 0;
  if (conv.in_size[2] <= 24 && divide_up(conv.in_size[2], 8) % 2 == 1 && passes_of_128) return body(Form<4, 2>{});
  return body(Form<4, 1>{});
}

/// Describes an array for bulk loads; sizes from the innermost, strides in bytes without the innermost.
template <size_t kRank>
CUtensorMap tensor_map(DType dtype, const void* values, const std::array<int64_t, kRank>& sizes,
                       const std::array<int64_t, kRank - 1>& strides, const std::array<int64_t, kRank>& box,
                       CUtensorMapSwizzle swizzle) {
  // Through the runtime, so that the program starts on a machine without a driver.
  static const auto encode = [] {
    void* symbol = nullptr;
    cudaDriverEntryPointQueryResult found{};
    check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &symbol, 12000, cudaEnableDefault, &found),
          "cuTensorMapEncodeTiled");
    SAT_CHECK(symbol != nullptr, "this driver has no cuTensorMapEncodeTiled");
    return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(symbol);
  }();
  cuuint64_t dims[kRank], bytes[kRank];
  cuuint32_t boxes[kRank], steps[kRank];
  for (size_t i = 0; i < kRank; ++i) {
    dims[i] = cuuint64_t(sizes[i]);
    bytes[i] = i + 1 < kRank ? cuuint64_t(strides[i]) : 0;
    boxes[i] = cuuint32_t(box[i]);
    steps[i] = 1;
  }
  CUtensorMap map{};
  const CUresult status =
      encode(&map, dtype == DType::f16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
             cuuint32_t(kRank), const_cast<void*>(values), dims, bytes, boxes, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
             swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  SAT_CHECK(status == CUDA_SUCCESS, "cuTensorMapEncodeTiled failed with ", int(status), " for ", sizes[kRank - 1],
            " planes at ", values);
  return map;
}

template <class T, class Form>
void queue_march(const Stream& stream, const Conv& conv) {
  const auto [H, W, D] = conv.in_size;
  const int64_t channels = padded_channels(conv), second_block = pad16(conv.inputs[0].channels) / 8;
  Arguments a{};
  a.lowest = int(std::max<int64_t>(0, conv.first - 1));
  const int64_t needed = std::min(H, conv.last + 1) - a.lowest;
  a.passes = int(divide_up(channels, 8 * Form::kBlocks));
  for (size_t i = 0; i < 2; ++i) {
    const ConvInput& input = conv.inputs[i];
    if (input.channels == 0) continue;
    const int64_t pixel = 2 * input.channels, plane = W * D * pixel;  // bytes
    int64_t blocks = Form::kBlocks;                                   // that one load brings
    if (a.passes == 1 && conv.inputs[1].channels > 0) blocks = i == 0 ? second_block : blocks - second_block;
    a.inputs[i] = tensor_map<5>(
        input.dtype, static_cast<const char*>(input.values) + (input.ring > 0 ? 0 : a.lowest * plane),
        {8, D, W, input.channels / 8, input.ring > 0 ? input.ring : needed}, {pixel, D * pixel, 16, plane},
        {8, Form::kPitch, kRows + 2, blocks, 1}, CU_TENSOR_MAP_SWIZZLE_NONE);
    a.norms[i] = input.norm;
    a.blocks[i] = int(input.channels / 8);
    a.rings[i] = int(input.ring);
  }
  a.second_block = conv.inputs[1].channels > 0 ? int(second_block) : a.passes * Form::kBlocks;
  const int64_t outputs = pad16(conv.out);
  a.weights = tensor_map<3>(conv.inputs[0].dtype, conv.weights, {channels, outputs, 27},
                            {2 * channels, 2 * channels * outputs}, {16 * Form::kSteps, kOutputs, 1},
                            Form::kSteps == 4 ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_64B);
  a.height = int(H);
  a.width = int(W);
  a.depth = int(D);
  a.out = int(conv.out);
  a.first = int(conv.first);
  a.last = int(conv.last);
  a.columns_along_d = int(divide_up(D, Form::kDepth));
  a.columns = int(conv3d_wgmma_partials(conv));
  a.pairs = int(divide_up(conv.last - conv.first, 2));
  a.output_blocks = int(divide_up(conv.out, kOutputs));
  const int64_t items = int64_t(a.output_blocks) * a.columns * a.pairs;
  SAT_CHECK(items < (int64_t(1) << 31), "conv3d_wgmma: ", items, " pairs of planes of columns");
  a.items = int(items);
  a.in_f32 = conv.dtype == DType::f32;
  a.values = conv.values;
  a.partials = conv.partials;
  const unsigned blocks = unsigned(std::min<int64_t>(items, stream.limits.processors));
  launch(stream, {"conv3d_wgmma", blocks, kThreads, int64_t(sizeof(Shared<Form>))}, conv3d_wgmma_kernel<T, Form>, a);
}

}  // namespace

std::string conv3d_wgmma_refusal(const Conv& conv, const DeviceLimits& limits) {
  const DType dtype = conv.inputs[0].dtype;
  if (limits.arch / 10 != 9) return "needs a device of sm_90, this one is sm_" + std::to_string(limits.arch);
  if (!limits.wgmma_right) return "gave other sums than mma in its self-test on this device";
  if (dtype != DType::f16 && dtype != DType::bf16)
    return std::string("needs f16 or bf16 inputs, not ") + name_of(dtype);
  if (conv.inputs[1].channels > 0 && conv.inputs[1].dtype != dtype) return "needs inputs of one type";
  if (conv.dtype != dtype && conv.dtype != DType::f32) return "stores the inputs' type or f32";
  if (conv.stride != 1) return "needs stride 1, not " + std::to_string(conv.stride);
  for (int64_t channels : {conv.inputs[0].channels, conv.inputs[1].channels, conv.out}) {
    if (channels % 8 != 0) return "needs channels in multiples of 8, not " + std::to_string(channels);
  }
  const auto [bytes, together] = with_form(conv, [&](auto form) {
    using Form = decltype(form);
    return std::pair(int64_t(sizeof(Shared<Form>)), int64_t(8 * Form::kBlocks));
  });
  if (padded_channels(conv) > together && conv.inputs[1].channels > 0 && conv.inputs[0].channels % together != 0) {
    return "takes " + std::to_string(together) + " channels in a pass, the first input has " +
           std::to_string(conv.inputs[0].channels);
  }
  if (bytes > limits.shared_bytes) {
    return "needs " + std::to_string(bytes) + " bytes of shared memory, there are " +
           std::to_string(limits.shared_bytes);
  }
  return "";
}

int64_t conv3d_wgmma_partials(const Conv& conv) {
  const int64_t depth = with_form(conv, [](auto form) { return int64_t(decltype(form)::kDepth); });
  return divide_up(conv.out_size[1], kRows) * divide_up(conv.out_size[2], depth);
}

void conv3d_wgmma(const Stream& stream, const Conv& conv) {
  if (stream.dry || conv.first >= conv.last) return;
  with_form(conv, [&](auto form) {
    if (conv.inputs[0].dtype == DType::f16) return queue_march<__half, decltype(form)>(stream, conv);
    return queue_march<__nv_bfloat16, decltype(form)>(stream, conv);
  });
}

}  // namespace sat::cuda
