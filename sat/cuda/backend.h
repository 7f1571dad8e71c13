// Private: a CUDA device as a backend. Where each op's body is: matrix/ dense layers, rows and layer norm; attention/;
// conv3d/ convolutions of given weights; features/ blocks of convolution and norm, and what reads features; images/
// patches, resampling and pooling; sequences/ Mamba's steps; scores/; gradient/ what gradients are made of.
#pragma once

#include "sat/cuda/kernels.h"
#include "sat/cuda/runtime.h"
#include "sat/tensor/device/backend.h"

namespace sat::cuda {

struct ComposedConv;  // conv3d/composed/conv3d_composed.h

class CudaBackend : public Backend {
 public:
  /// options.max_bytes is the cap, not 0. `dry`: counts memory, touches no device.
  CudaBackend(const DeviceOptions& options, const DeviceInfo& info, const DeviceLimits& limits, bool dry);

  Runtime& runtime() override { return runtime_; }
  const DeviceLimits& limits() const { return runtime_.limits(); }
  bool holds(DType features) const override;
  DeviceHandle dry_run(int64_t max_bytes = 0) const override;
  DeviceHandle another(int64_t max_bytes = 0) const override;

  SAT_BACKEND_OPS(override);

 private:
  struct Block;  // one call of conv3d_norm or conv3d_norm_up: features/conv_block.cpp

  DeviceHandle made(int64_t max_bytes, bool dry) const;
  /// How feature volumes and weights are held at the current context's precision: exact f32; fast f16 or bf16.
  DType feature_type() const;
  /// How gradients are multiplied at it: exact f32; fast bf16, since small ones leave f16.
  DType gradient_type() const;
  /// y = x * panels^T, panels f32 or half [out, width] with width >= in.
  void product(Tensor& y, const Tensor& x, const Tensor& panels, int64_t in);
  void block_input_gradient(Tensor& dx, bool add, const Tensor& dy, const Tensor& weight, int64_t first_in);
  void check_variant(const ConvSite& site) const;
  bool packs_composed(const ConvSite& site, const ConvChannels& channels) const;
  bool takes_composed(const Conv& conv, const ComposedConv& composed) const;
  Features run(Block& block, const NormWeights& norm);

  DeviceOptions options_;
  DeviceInfo info_;
  ConvVariant conv_;
  AttentionVariant attention_;
  CudaRuntime runtime_;
};

}  // namespace sat::cuda
