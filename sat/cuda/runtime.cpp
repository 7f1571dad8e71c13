// Bytes, captured work and uploads of a CUDA device.
#include "sat/cuda/runtime.h"

#include "sat/tensor/memory/memory.h"

namespace sat::cuda {

namespace {

constexpr int64_t kWorkspace = int64_t(8) << 20;  // cuBLAS's

void check(cublasStatus_t status, const char* what) {
  SAT_CHECK(status == CUBLAS_STATUS_SUCCESS, what, ": cuBLAS says ", cublasGetStatusString(status));
}

/// Chunks of device memory.
BlockAllocator::Source chunks_of(int index, const std::string& name) {
  BlockAllocator::Source source;
  source.take = [index, name](int64_t bytes) {
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
  source.give = [index](void* block) {
    (void)cudaSetDevice(index);
    (void)cudaFree(block);
  };
  return source;
}

class CudaGraph : public Runtime::Graph {
 public:
  explicit CudaGraph(cudaGraph_t graph) {
    const cudaError_t status = cudaGraphInstantiate(&run_, graph, 0);
    cudaGraphDestroy(graph);
    cuda::check(status, "making a CUDA graph");
  }
  ~CudaGraph() override {
    if (run_) cudaGraphExecDestroy(run_);
  }
  cudaGraphExec_t run() const { return run_; }

 private:
  cudaGraphExec_t run_ = nullptr;
};

}  // namespace

Handles::Handles(int index) {
  cuda::check(cudaSetDevice(index), "choosing a device");
  cuda::check(cudaStreamCreateWithFlags(&work, cudaStreamNonBlocking), "making a stream");
  cuda::check(cudaStreamCreateWithFlags(&uploads, cudaStreamNonBlocking), "making a stream");
  cuda::check(cudaEventCreateWithFlags(&uploaded, cudaEventDisableTiming), "making an event");
  cuda::check(cudaEventCreateWithFlags(&taken, cudaEventDisableTiming), "making an event");
  cuda::check(cudaMalloc(reinterpret_cast<void**>(&error_flag), sizeof *error_flag), "taking device memory");
  cuda::check(cudaMemset(error_flag, 0, sizeof *error_flag), "clearing device memory");
  cuda::check(cudaDeviceSynchronize(), "clearing device memory");  // `work` does not wait for the default stream
}

cublasHandle_t Handles::blas() {
  if (blas_) return blas_;
  if (!workspace_) cuda::check(cudaMalloc(&workspace_, size_t(kWorkspace)), "taking cuBLAS's workspace");
  cublasHandle_t opened = nullptr;
  check(cublasCreate(&opened), "opening cuBLAS");
  try {
    check(cublasSetStream(opened, work), "giving cuBLAS its stream");
    check(cublasSetWorkspace(opened, workspace_, size_t(kWorkspace)), "giving cuBLAS its workspace");
    check(cublasSetMathMode(opened, CUBLAS_DEFAULT_MATH), "choosing cuBLAS's arithmetic");
  } catch (...) {
    cublasDestroy(opened);
    throw;
  }
  return blas_ = opened;
}

Handles::~Handles() {
  if (work) cudaStreamSynchronize(work);
  if (uploads) cudaStreamSynchronize(uploads);
  if (blas_) cublasDestroy(blas_);
  if (workspace_) cudaFree(workspace_);
  if (error_flag) cudaFree(error_flag);
  if (uploaded) cudaEventDestroy(uploaded);
  if (taken) cudaEventDestroy(taken);
  if (uploads) cudaStreamDestroy(uploads);
  if (work) cudaStreamDestroy(work);
}

CudaRuntime::CudaRuntime(const DeviceOptions& options, const DeviceInfo& info, const DeviceLimits& limits, bool dry)
    : index_(info.index), name_("cuda:" + std::to_string(info.index) + " (" + info.name + ")") {
  stream_.limits = limits;
  stream_.dry = dry;
  stream_.check_each = options.check_each;
  const int64_t most = options.max_bytes;
  SAT_CHECK(most > kWorkspace, name_, ": a limit of ", most, " bytes is less than the ", kWorkspace,
            " that every run needs");
  if (dry) {
    memory_ = std::make_shared<BlockAllocator>(most - kWorkspace);
  } else {
    handles_ = std::make_unique<Handles>(index_);
    stream_.handle = handles_->work;
    memory_ = std::make_shared<BlockAllocator>(chunks_of(index_, name_), most - kWorkspace);
  }
}

CudaRuntime::~CudaRuntime() {
  if (handles_) (void)cudaSetDevice(index_);
}

int64_t CudaRuntime::fixed_bytes() const { return kWorkspace; }

const Stream& CudaRuntime::stream() const {
  if (!dry()) cuda::check(cudaSetDevice(index_), "choosing a device");
  return stream_;
}

// ---- bytes ---------------------------------------------------------------------------------------------------------

void CudaRuntime::upload(void* to, const void* host, int64_t bytes) {
  if (dry() || bytes == 0) return;
  const cudaStream_t work = stream().handle;
  cuda::check(cudaMemcpyAsync(to, host, size_t(bytes), cudaMemcpyHostToDevice, work), "upload");
  cuda::check(cudaStreamSynchronize(work), "upload");  // the host's bytes may go
}

void CudaRuntime::download(void* host, const void* from, int64_t bytes) {
  if (dry() || bytes == 0) return;
  cuda::check(cudaMemcpyAsync(host, from, size_t(bytes), cudaMemcpyDeviceToHost, stream().handle), "download");
  synchronize();
}

void CudaRuntime::copy(void* to, const void* from, int64_t bytes) {
  if (dry() || bytes == 0) return;
  cuda::check(cudaMemcpyAsync(to, from, size_t(bytes), cudaMemcpyDeviceToDevice, stream().handle), "copy");
}

void CudaRuntime::zero(void* to, int64_t bytes) {
  if (dry() || bytes == 0) return;
  cuda::check(cudaMemsetAsync(to, 0, size_t(bytes), stream().handle), "zero");
}

void CudaRuntime::copy_runs(void* to, int64_t to_pitch, const void* from, int64_t from_pitch, int64_t run,
                            int64_t count) {
  cuda::copy_runs(stream(), to, from, {run, count, to_pitch, from_pitch});
}

void CudaRuntime::zero_runs(void* to, int64_t pitch, int64_t run, int64_t count) {
  cuda::zero_runs(stream(), to, {run, count, pitch, pitch});
}

void CudaRuntime::report_error_flag() {
  int flag = 0;
  cuda::check(cudaMemcpyAsync(&flag, error_flag(), sizeof flag, cudaMemcpyDeviceToHost, stream_.handle), "download");
  cuda::check(cudaStreamSynchronize(stream_.handle), "waiting for the device");
  if (flag == 0) return;
  zero(error_flag(), sizeof flag);
  SAT_CHECK(flag != 1, name_, ": conv3d_norm: a channel is not finite; the input or the weights are not");
  fail(name_, ": conv3d_norm: a channel leaves the range of f16; use exact precision or bf16");
}

void CudaRuntime::synchronize() {
  if (dry()) return;
  cuda::check(cudaStreamSynchronize(stream().handle), "waiting for the device");
  report_error_flag();
}

// ---- captured work -------------------------------------------------------------------------------------------------

void CudaRuntime::begin_capture() {
  if (dry()) return;
  cuda::check(cudaStreamBeginCapture(stream().handle, cudaStreamCaptureModeThreadLocal), "beginning a CUDA graph");
}

std::unique_ptr<Runtime::Graph> CudaRuntime::end_capture() {
  if (dry()) return nullptr;
  cudaGraph_t graph = nullptr;
  cuda::check(cudaStreamEndCapture(stream().handle, &graph), "ending a CUDA graph");
  return std::make_unique<CudaGraph>(graph);
}

void CudaRuntime::launch(const Graph& graph) {
  if (dry()) return;
  cuda::check(cudaGraphLaunch(static_cast<const CudaGraph&>(graph).run(), stream().handle), "starting a CUDA graph");
}

std::shared_ptr<void> CudaRuntime::keep_lists() {
  std::shared_ptr<KeptLists> kept = kept_.lock();
  if (!kept) kept_ = kept = std::make_shared<KeptLists>();
  return kept;
}

Tensor CudaRuntime::uploaded(const void* list, int64_t count, DType type) {
  const auto bring = [&] {
    Tensor there({count}, type, device());
    upload(there.raw(), list, there.bytes());
    return there;
  };
  const std::shared_ptr<KeptLists> kept = kept_.lock();
  if (!kept) return bring();
  const std::pair key(type, std::string(static_cast<const char*>(list), size_t(count * size_of(type))));
  const auto found = kept->find(key);
  return found != kept->end() ? found->second : kept->emplace(key, bring()).first->second;
}

// ---- uploads beside the work ---------------------------------------------------------------------------------------

Tensor CudaRuntime::staging(const Shape& shape) {
  if (dry()) return Tensor(shape);
  (void)stream();
  const int64_t bytes = shape.numel() * int64_t(sizeof(float));
  void* block = nullptr;
  cuda::check(cudaHostAlloc(&block, size_t(bytes), cudaHostAllocDefault), "taking pinned memory");
  Tensor staged;
  staged.shape = shape;
  staged.buffer = std::make_shared<Buffer>(block, bytes, [block] { (void)cudaFreeHost(block); });
  return staged;
}

void CudaRuntime::start_upload(Tensor& to, const Tensor& staged) {
  if (dry()) return;
  (void)stream();
  cuda::check(cudaStreamWaitEvent(handles_->uploads, handles_->taken, 0), "ordering an upload");
  cuda::check(cudaMemcpyAsync(to.raw(), staged.raw(), size_t(to.bytes()), cudaMemcpyHostToDevice, handles_->uploads),
              "upload");
  cuda::check(cudaEventRecord(handles_->uploaded, handles_->uploads), "marking an upload");
}

void CudaRuntime::take_upload(Tensor& to, const Tensor& from) {
  if (dry()) return;
  cuda::check(cudaStreamWaitEvent(stream().handle, handles_->uploaded, 0), "ordering an upload");
  copy(to.raw(), from.raw(), to.bytes());
  cuda::check(cudaEventRecord(handles_->taken, stream_.handle), "marking an upload");
}

void CudaRuntime::wait_for_upload() {
  if (dry()) return;
  (void)stream();
  cuda::check(cudaEventSynchronize(handles_->uploaded), "waiting for an upload");
}

}  // namespace sat::cuda
