// A CUDA device as an accelerator: its bytes, and the words of ops.h on matrices.
#include "sat/cuda/accelerator.h"

#include <cstring>

namespace sat::cuda {

namespace {

constexpr int64_t kWorkspace = int64_t(8) << 20;  // cuBLAS's
constexpr int64_t kPadding = 8;                   // elements of a half row, for 16-byte loads

void check(cublasStatus_t status, const char* what) {
  SAT_CHECK(status == CUBLAS_STATUS_SUCCESS, what, ": cuBLAS says ", cublasGetStatusString(status));
}

cudaDataType type_of(DType dtype) {
  return dtype == DType::f32 ? CUDA_R_32F : dtype == DType::f16 ? CUDA_R_16F : CUDA_R_16BF;
}

/// Elements on the device; throws Error where they are not.
template <class T>
T* elements(const Tensor& x) {
  if (x.empty()) return nullptr;
  SAT_CHECK(x.device == Device::cuda, "a tensor of shape ", x.shape, " lies on the CPU, the others on a device");
  SAT_CHECK(x.dtype == DTypeOf<std::remove_const_t<T>>::value, "a tensor of shape ", x.shape, " is ", x.dtype,
            ", needed is ", DTypeOf<std::remove_const_t<T>>::value);
  return static_cast<T*>(x.raw());
}

}  // namespace

Handles::Handles(int index, int64_t workspace_bytes) {
  cuda::check(cudaSetDevice(index), "choosing a device");
  cuda::check(cudaStreamCreateWithFlags(&work, cudaStreamNonBlocking), "making a stream");
  cuda::check(cudaStreamCreateWithFlags(&uploads, cudaStreamNonBlocking), "making a stream");
  cuda::check(cudaEventCreateWithFlags(&uploaded, cudaEventDisableTiming), "making an event");
  cuda::check(cudaEventCreateWithFlags(&taken, cudaEventDisableTiming), "making an event");
  cuda::check(cudaMalloc(&workspace, size_t(workspace_bytes)), "taking cuBLAS's workspace");
  cuda::check(cudaMalloc(reinterpret_cast<void**>(&trouble), sizeof *trouble), "taking device memory");
  cuda::check(cudaMemset(trouble, 0, sizeof *trouble), "clearing device memory");
  cuda::check(cudaDeviceSynchronize(), "clearing device memory");  // `work` does not wait for the default stream
  check(cublasCreate(&blas), "opening cuBLAS");
  check(cublasSetStream(blas, work), "giving cuBLAS its stream");
  check(cublasSetWorkspace(blas, workspace, size_t(workspace_bytes)), "giving cuBLAS its workspace");
  check(cublasSetMathMode(blas, CUBLAS_DEFAULT_MATH), "choosing cuBLAS's arithmetic");
}

Handles::~Handles() {
  if (work) cudaStreamSynchronize(work);
  if (uploads) cudaStreamSynchronize(uploads);
  if (blas) cublasDestroy(blas);
  if (workspace) cudaFree(workspace);
  if (trouble) cudaFree(trouble);
  if (uploaded) cudaEventDestroy(uploaded);
  if (taken) cudaEventDestroy(taken);
  if (uploads) cudaStreamDestroy(uploads);
  if (work) cudaStreamDestroy(work);
}

CudaAccelerator::CudaAccelerator(const DeviceOptions& options, const DeviceInfo& info, const DeviceLimits& limits,
                                 bool dry)
    : options_(options),
      info_(info),
      name_("cuda:" + std::to_string(info.index) + " (" + info.name + ")"),
      conv_(parse_conv_variant(options.conv)),
      attention_(parse_attention_variant(options.attention)) {
  queue_.limits = limits;
  queue_.dry = dry;
  queue_.check_each = options.check_each;
  const int64_t most = options.max_bytes;
  SAT_CHECK(most > kWorkspace, name_, ": a limit of ", most, " bytes is less than the ", kWorkspace,
            " that every run needs");
  if (dry) {
    arena_ = std::make_shared<Arena>(most - kWorkspace);
  } else {
    handles_ = std::make_unique<Handles>(info.index, kWorkspace);
    queue_.stream = handles_->work;
    Arena::Source source;
    source.take = [index = info.index, name = name_](int64_t bytes) {
      void* block = nullptr;
      cuda::check(cudaSetDevice(index), "choosing a device");
      const cudaError_t status = cudaMalloc(&block, size_t(bytes));
      if (status == cudaErrorMemoryAllocation) {
        size_t free_bytes = 0, all_bytes = 0;
        (void)cudaGetLastError();
        cuda::check(cudaMemGetInfo(&free_bytes, &all_bytes), "asking a device for its free memory");
        fail(name, " is out of memory: ", bytes, " more bytes asked for, ", free_bytes, " of ", all_bytes, " are free");
      }
      cuda::check(status, "taking device memory");
      return block;
    };
    source.give = [index = info.index](void* block) {
      (void)cudaSetDevice(index);
      (void)cudaFree(block);
    };
    arena_ = std::make_shared<Arena>(std::move(source), most - kWorkspace);
  }
}

CudaAccelerator::~CudaAccelerator() {
  if (handles_) (void)cudaSetDevice(info_.index);
}

std::shared_ptr<Accelerator> CudaAccelerator::rehearsal() const {
  return std::make_shared<CudaAccelerator>(options_, info_, queue_.limits, true);
}

int64_t CudaAccelerator::fixed_bytes() const { return kWorkspace; }

DType CudaAccelerator::feature_type(Precision precision) const {
  return precision == Precision::exact ? DType::f32 : options_.half;
}

void CudaAccelerator::use() const {
  if (handles_) cuda::check(cudaSetDevice(info_.index), "choosing a device");
}

// ---- bytes ---------------------------------------------------------------------------------------------------------

void CudaAccelerator::upload(void* device, const void* host, int64_t bytes) {
  if (queue_.dry || bytes == 0) return;
  use();
  cuda::check(cudaMemcpyAsync(device, host, size_t(bytes), cudaMemcpyHostToDevice, queue_.stream), "upload");
  cuda::check(cudaStreamSynchronize(queue_.stream), "upload");  // the host's bytes may go
}

void CudaAccelerator::download(void* host, const void* device, int64_t bytes) {
  if (queue_.dry || bytes == 0) return;
  use();
  cuda::check(cudaMemcpyAsync(host, device, size_t(bytes), cudaMemcpyDeviceToHost, queue_.stream), "download");
  finish();
}

void CudaAccelerator::copy(void* to, const void* from, int64_t bytes) {
  if (queue_.dry || bytes == 0) return;
  use();
  cuda::check(cudaMemcpyAsync(to, from, size_t(bytes), cudaMemcpyDeviceToDevice, queue_.stream), "copy");
}

void CudaAccelerator::zero(void* device, int64_t bytes) {
  if (queue_.dry || bytes == 0) return;
  use();
  cuda::check(cudaMemsetAsync(device, 0, size_t(bytes), queue_.stream), "zero");
}

void CudaAccelerator::copy_runs(void* to, int64_t to_pitch, const void* from, int64_t from_pitch, int64_t run,
                                int64_t count) {
  if (queue_.dry || run == 0 || count == 0) return;
  use();
  cuda::copy_runs(queue_, to, from, {run, count, to_pitch, from_pitch});
}

void CudaAccelerator::zero_runs(void* to, int64_t pitch, int64_t run, int64_t count) {
  if (queue_.dry || run == 0 || count == 0) return;
  use();
  cuda::zero_runs(queue_, to, {run, count, pitch, pitch});
}

void CudaAccelerator::report_trouble() {
  int trouble = 0;
  cuda::check(cudaMemcpyAsync(&trouble, handles_->trouble, sizeof trouble, cudaMemcpyDeviceToHost, queue_.stream),
              "download");
  cuda::check(cudaStreamSynchronize(queue_.stream), "waiting for the device");
  if (trouble == 0) return;
  zero(handles_->trouble, sizeof trouble);
  SAT_CHECK(trouble != 1, name_, ": conv3d_norm: a channel is not finite; the input or the weights are not");
  fail(name_, ": conv3d_norm: a channel leaves the range of f16; use exact precision or bf16");
}

void CudaAccelerator::finish() {
  if (queue_.dry) return;
  use();
  cuda::check(cudaStreamSynchronize(queue_.stream), "waiting for the device");
  report_trouble();
}

// ---- matrices ------------------------------------------------------------------------------------------------------

PackedMatrix CudaAccelerator::pack_linear(const Tensor& weight) {
  PackedMatrix packed;
  packed.out = weight.shape[0];
  packed.in = weight.shape[1];
  if (weight.device == Device::cuda) {  // something computed, which is as exact as it is
    packed.panels = weight;
    return packed;
  }
  const DType type = feature_type(Context::current().precision());
  if (type == DType::f32) {
    packed.panels = weight.to(Device::cuda);
    return packed;
  }
  const int64_t width = divide_up(packed.in, kPadding) * kPadding;
  Tensor padded({packed.out, width});
  if (!queue_.dry) {
    std::memset(padded.raw(), 0, size_t(padded.bytes()));
    for (int64_t o = 0; o < packed.out; ++o) {
      std::memcpy(padded.data<float>() + o * width, weight.data<float>() + o * packed.in,
                  size_t(packed.in) * sizeof(float));
    }
  }
  packed.panels = padded.cast(type).to(Device::cuda);
  return packed;
}

void CudaAccelerator::linear(const Tensor& y, const Tensor& x, const PackedMatrix& weight, const Tensor& bias,
                             Activation act) {
  SAT_CHECK(weight.panels.device == Device::cuda, "linear: the weight lies on the CPU, x on a device");
  const int64_t rows = x.numel() / std::max<int64_t>(1, weight.in), out = weight.out, width = weight.panels.shape[1];
  if (rows == 0 || out == 0) return;
  use();
  Tensor narrowed;
  const void* values = elements<const float>(x);
  const DType type = weight.panels.dtype;
  if (type != DType::f32) {
    narrowed = Tensor({rows, width}, type, Device::cuda);
    narrow(queue_, narrowed.raw(), type, elements<const float>(x), rows, weight.in, width);
    values = narrowed.raw();
  }
  if (!queue_.dry) {
    // Row-major y [rows, out] = x * weight^T is column-major y^T [out, rows] = weight * x^T.
    const float one = 1, none = 0;
    check(cublasGemmEx(handles_->blas, CUBLAS_OP_T, CUBLAS_OP_N, int(out), int(rows), int(width), &one,
                       weight.panels.raw(), type_of(type), int(width), values, type_of(type), int(width), &none,
                       elements<float>(y), CUDA_R_32F, int(out), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
          "linear");
  }
  if (!bias.empty() || act != Activation::none) {
    bias_act(queue_, elements<float>(y), elements<const float>(bias), rows, out, act);
  }
}

void CudaAccelerator::attention(const Tensor& y, const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads,
                                const Tensor& bias) {
  use();
  Attention sizes{};
  sizes.q = elements<const float>(q);
  sizes.k = elements<const float>(k);
  sizes.v = elements<const float>(v);
  sizes.bias = elements<const float>(bias);
  sizes.y = elements<float>(y);
  sizes.queries = q.shape[0];
  sizes.tokens = k.shape[0];
  sizes.channels = q.shape[1];
  sizes.heads = heads;
  sizes.products = feature_type(Context::current().precision());
  cuda::attention(queue_, attention_, sizes);
}

void CudaAccelerator::gather_rows(const Tensor& y, const Tensor& table, const Tensor& ids) {
  use();
  cuda::gather_rows(queue_, elements<float>(y), elements<const float>(table), elements<const int64_t>(ids), y.shape[0],
                    y.shape[1]);
}

void CudaAccelerator::add(const Tensor& y, const Tensor& a, const Tensor& b) {
  use();
  cuda::add(queue_, elements<float>(y), elements<const float>(a), elements<const float>(b), a.numel(), b.numel());
}

void CudaAccelerator::layer_norm(const Tensor& y, const Tensor& x, const Tensor& gain, const Tensor& bias, float eps) {
  use();
  const int64_t channels = x.shape[-1];
  cuda::layer_norm(queue_, elements<float>(y), elements<const float>(x), elements<const float>(gain),
                   elements<const float>(bias), x.numel() / channels, channels, eps);
}

}  // namespace sat::cuda
