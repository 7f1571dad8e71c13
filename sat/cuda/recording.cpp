// A loop's work as a CUDA graph, and uploads that overlap with it.
#include "sat/cuda/accelerator.h"

namespace sat::cuda {

namespace {

class Graph : public Accelerator::Recording {
 public:
  explicit Graph(cudaGraph_t graph) {
    const cudaError_t status = cudaGraphInstantiate(&run_, graph, 0);
    cudaGraphDestroy(graph);
    check(status, "making a CUDA graph");
  }
  ~Graph() override {
    if (run_) cudaGraphExecDestroy(run_);
  }
  cudaGraphExec_t run() const { return run_; }

 private:
  cudaGraphExec_t run_ = nullptr;
};

}  // namespace

void CudaAccelerator::begin_recording() {
  if (queue_.dry) return;
  use();
  check(cudaStreamBeginCapture(queue_.stream, cudaStreamCaptureModeThreadLocal), "beginning a CUDA graph");
}

std::unique_ptr<Accelerator::Recording> CudaAccelerator::end_recording() {
  if (queue_.dry) return nullptr;
  cudaGraph_t graph = nullptr;
  check(cudaStreamEndCapture(queue_.stream, &graph), "ending a CUDA graph");
  return std::make_unique<Graph>(graph);
}

void CudaAccelerator::replay(const Recording& recording) {
  use();
  check(cudaGraphLaunch(static_cast<const Graph&>(recording).run(), queue_.stream), "starting a CUDA graph");
}

Tensor CudaAccelerator::staging(const Shape& shape) {
  if (queue_.dry) return Tensor(shape);
  use();
  const int64_t bytes = shape.numel() * int64_t(sizeof(float));
  void* block = nullptr;
  check(cudaHostAlloc(&block, size_t(bytes), cudaHostAllocDefault), "taking pinned memory");
  Tensor staged;
  staged.shape = shape;
  staged.buffer = std::make_shared<Buffer>(block, bytes, [block] { (void)cudaFreeHost(block); });
  return staged;
}

void CudaAccelerator::start_upload(const Tensor& device, const Tensor& staged) {
  if (queue_.dry) return;
  use();
  check(cudaStreamWaitEvent(handles_->uploads, handles_->taken, 0), "ordering an upload");
  check(cudaMemcpyAsync(device.raw(), staged.raw(), size_t(device.bytes()), cudaMemcpyHostToDevice, handles_->uploads),
        "upload");
  check(cudaEventRecord(handles_->uploaded, handles_->uploads), "marking an upload");
}

void CudaAccelerator::take_upload(const Tensor& to, const Tensor& device) {
  if (queue_.dry) return;
  use();
  check(cudaStreamWaitEvent(queue_.stream, handles_->uploaded, 0), "ordering an upload");
  copy(to.raw(), device.raw(), to.bytes());
  check(cudaEventRecord(handles_->taken, queue_.stream), "marking an upload");
}

void CudaAccelerator::wait_for_upload() {
  if (queue_.dry) return;
  use();
  check(cudaEventSynchronize(handles_->uploaded), "waiting for an upload");
}

}  // namespace sat::cuda
