// The comparator: cuDNN's convolution between our own steps, which do what it cannot: the norm, the join, statistics.
#include "sat/cuda/conv3d/cudnn/conv3d_cudnn.h"

#include <cudnn.h>

#include <algorithm>
#include <limits>
#include <map>
#include <memory>

namespace sat::cuda {

namespace {

void check_cudnn(cudnnStatus_t status, const char* what) {
  SAT_CHECK(status == CUDNN_STATUS_SUCCESS, what, ": ", cudnnGetErrorString(status));
}

/// The calling thread's handle of the current device, made once: that takes long and allocates.
cudnnHandle_t handle() {
  struct Destroy {
    void operator()(cudnnHandle_t old) const { cudnnDestroy(old); }
  };
  thread_local std::map<int, std::unique_ptr<cudnnContext, Destroy>> handles;
  int device = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  auto& mine = handles[device];
  if (mine == nullptr) {
    cudnnHandle_t made = nullptr;
    check_cudnn(cudnnCreate(&made), "cudnnCreate");
    mine.reset(made);
  }
  return mine.get();
}

/// One of cuDNN's descriptors, for the time of a call.
template <class T, cudnnStatus_t (*kCreate)(T*), cudnnStatus_t (*kDestroy)(T)>
class Descriptor {
 public:
  Descriptor() { check_cudnn(kCreate(&it_), "a descriptor of cudnn"); }
  ~Descriptor() { kDestroy(it_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  operator T() const { return it_; }

 private:
  T it_ = nullptr;
};
using TensorDescriptor = Descriptor<cudnnTensorDescriptor_t, cudnnCreateTensorDescriptor, cudnnDestroyTensorDescriptor>;

/// A convolution in cuDNN's words. Its three axes are our H, W, D; NHWC means channels-last for five axes too.
class Problem {
 public:
  explicit Problem(const Conv& conv) {
    const DType dtype = conv.inputs[0].dtype;
    const cudnnDataType_t type = dtype == DType::f32   ? CUDNN_DATA_FLOAT
                                 : dtype == DType::f16 ? CUDNN_DATA_HALF
                                                       : CUDNN_DATA_BFLOAT16;
    const int in = int(conv.inputs[0].channels + conv.inputs[1].channels), out = int(conv.out);
    const int in_sizes[5] = {1, in, int(conv.in_size[0]), int(conv.in_size[1]), int(conv.in_size[2])};
    const int out_sizes[5] = {1, out, int(conv.out_size[0]), int(conv.out_size[1]), int(conv.out_size[2])};
    const int filter_sizes[5] = {out, in, 3, 3, 3};
    const int stride = int(conv.stride), strides[3] = {stride, stride, stride};
    const int padding[3] = {1, 1, 1}, dilation[3] = {1, 1, 1};
    check_cudnn(cudnnSetTensorNdDescriptorEx(x, CUDNN_TENSOR_NHWC, type, 5, in_sizes), "cudnn's input");
    check_cudnn(cudnnSetTensorNdDescriptorEx(y, CUDNN_TENSOR_NHWC, type, 5, out_sizes), "cudnn's output");
    check_cudnn(cudnnSetFilterNdDescriptor(weights, type, CUDNN_TENSOR_NHWC, 5, filter_sizes), "cudnn's weights");
    check_cudnn(
        cudnnSetConvolutionNdDescriptor(how, 3, padding, strides, dilation, CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT),
        "cudnn's convolution");
    // f32 means f32: without this it would be rounded to TF32.
    check_cudnn(cudnnSetConvolutionMathType(how, dtype == DType::f32 ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH),
                "cudnn's arithmetic");
  }
  /// The fastest algorithm in cuDNN's own opinion, its bytes of workspace in `memory`; false where it has none.
  bool choose(cudnnConvolutionFwdAlgoPerf_t& best) const {
    cudnnConvolutionFwdAlgoPerf_t found[CUDNN_CONVOLUTION_FWD_ALGO_COUNT];
    int count = 0;
    const cudnnStatus_t status = cudnnGetConvolutionForwardAlgorithm_v7(
        handle(), x, weights, how, y, CUDNN_CONVOLUTION_FWD_ALGO_COUNT, &count, found);
    for (int i = 0; i < count && status == CUDNN_STATUS_SUCCESS; ++i) {
      size_t bytes = 0;
      if (found[i].status != CUDNN_STATUS_SUCCESS) continue;
      if (cudnnGetConvolutionForwardWorkspaceSize(handle(), x, weights, how, y, found[i].algo, &bytes) !=
          CUDNN_STATUS_SUCCESS) {
        continue;
      }
      best = found[i];
      best.memory = bytes;
      return true;
    }
    return false;
  }

  TensorDescriptor x, y;
  Descriptor<cudnnFilterDescriptor_t, cudnnCreateFilterDescriptor, cudnnDestroyFilterDescriptor> weights;
  Descriptor<cudnnConvolutionDescriptor_t, cudnnCreateConvolutionDescriptor, cudnnDestroyConvolutionDescriptor> how;
};

/// How the workspace is divided: the joined input, the turned weights, cuDNN's workspace.
struct Places {
  int64_t weights, cudnn;

  explicit Places(const Conv& conv) {
    const auto aligned = [](int64_t bytes) { return divide_up(bytes, 256) * 256; };
    const int64_t in = conv.inputs[0].channels + conv.inputs[1].channels, size = size_of(conv.inputs[0].dtype);
    weights = aligned(conv.in_size[0] * conv.in_size[1] * conv.in_size[2] * in * size);
    cudnn = weights + aligned(conv.out * 27 * in * size);
  }
};

/// What it cannot do whatever the algorithm.
std::string refusal_of_form(const Conv& conv) {
  const int64_t channels = std::max(conv.inputs[0].channels + conv.inputs[1].channels, conv.out);
  if (conv.inputs[0].ring > 0 || conv.inputs[1].ring > 0) return "cuDNN reads no ring of planes";
  if (conv.first != 0 || conv.last != conv.out_size[0]) return "cuDNN computes whole volumes";
  if (conv.dtype != conv.inputs[0].dtype) {
    return std::string("cuDNN stores ") + name_of(conv.inputs[0].dtype) + " where it reads that";
  }
  if (conv.in_size[0] * conv.in_size[1] * conv.in_size[2] * channels > std::numeric_limits<int>::max()) {
    return "more elements than cuDNN counts";
  }
  return "";
}

}  // namespace

std::string conv3d_cudnn_refusal(const Conv& conv, const DeviceLimits&) {
  const std::string refusal = refusal_of_form(conv);
  cudnnConvolutionFwdAlgoPerf_t best;
  if (refusal.empty() && !Problem(conv).choose(best)) return "cuDNN has no algorithm for it";
  return refusal;
}

int64_t conv3d_cudnn_workspace(const Conv& conv, const DeviceLimits& limits) {
  SAT_CHECK(refusal_of_form(conv).empty(), "conv3d by cudnn: ", refusal_of_form(conv));
  cudnnConvolutionFwdAlgoPerf_t best;
  SAT_CHECK(Problem(conv).choose(best), "conv3d by cudnn: ", conv3d_cudnn_refusal(conv, limits));
  return Places(conv).cudnn + int64_t(best.memory);
}

void conv3d_cudnn(const Stream& stream, const Conv& conv) {
  if (stream.dry) return;
  const Problem problem(conv);
  cudnnConvolutionFwdAlgoPerf_t best;
  SAT_CHECK(problem.choose(best), "conv3d by cudnn: ", conv3d_cudnn_refusal(conv, stream.limits));
  const Places places(conv);
  unsigned char* workspace = static_cast<unsigned char*>(conv.workspace);
  join_inputs(stream, workspace, conv);
  turn_weights(stream, workspace + places.weights, conv);
  const float one = 1, zero = 0;
  check_cudnn(cudnnSetStream(handle(), stream.handle), "cudnnSetStream");
  check_cudnn(cudnnConvolutionForward(handle(), &one, problem.x, workspace, problem.weights, workspace + places.weights,
                                      problem.how, best.algo, workspace + places.cudnn, best.memory, &zero, problem.y,
                                      conv.values),
              "conv3d_cudnn");
  count_rows(stream, conv);
}

}  // namespace sat::cuda
