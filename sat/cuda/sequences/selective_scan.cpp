// Mamba's selective scan: what each variant can compute, which one is taken, and the op.
#include "sat/cuda/sequences/selective_scan.h"

#include "sat/cuda/backend.h"

namespace sat::cuda {

namespace {

ScanVariant chosen(ScanVariant variant, const Scan& scan) {
  if (variant != ScanVariant::automatic) return variant;
  return selective_scan_chunked_refusal(scan).empty() ? ScanVariant::chunked : ScanVariant::plain;
}

}  // namespace

std::string selective_scan_refusal(ScanVariant variant, const Scan& scan, const DeviceLimits& limits) {
  if (chosen(variant, scan) == ScanVariant::chunked) return selective_scan_chunked_refusal(scan);
  return selective_scan_plain_refusal(scan, limits);
}

int64_t selective_scan_workspace(ScanVariant variant, const Scan& scan) {
  return chosen(variant, scan) == ScanVariant::chunked ? selective_scan_chunked_workspace(scan) : 0;
}

void selective_scan(const Stream& stream, ScanVariant variant, const Scan& scan, float* workspace) {
  const std::string refusal = selective_scan_refusal(variant, scan, stream.limits);
  SAT_CHECK(refusal.empty(), "selective_scan: ", refusal);
  if (chosen(variant, scan) == ScanVariant::chunked) return selective_scan_chunked(stream, scan, workspace);
  selective_scan_plain(stream, scan);
}

void CudaBackend::selective_scan(Tensor& y, const Tensor& x, const Tensor& delta, const Tensor& log_a, const Tensor& b,
                                 const Tensor& c, const Tensor& d, const Tensor& gate) {
  Scan scan{};
  scan.x = x.address<float>();
  scan.delta = delta.address<float>();
  scan.gate = gate.address<float>();
  scan.log_a = log_a.address<float>();
  scan.b = b.address<float>();
  scan.c = c.address<float>();
  scan.d = d.address<float>();
  scan.y = y.address<float>();
  scan.batch = x.shape[0];
  scan.length = x.shape[1];
  scan.channels = x.shape[2];
  scan.states = log_a.shape[1];
  Tensor workspace({selective_scan_workspace(ScanVariant::automatic, scan)}, DType::f32, runtime_.device());
  cuda::selective_scan(runtime_.stream(), ScanVariant::automatic, scan, workspace.address<float>());
}

}  // namespace sat::cuda
