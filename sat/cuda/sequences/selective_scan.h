// Private: the variants of the selective scan, one file each. selective_scan.cpp chooses.
#pragma once

#include <cstdint>
#include <string>

#include "sat/cuda/device/stream.h"

namespace sat::cuda {

/// selective_scan() of ops.h, its arrays and sizes.
struct Scan {
  const float *x, *delta, *gate;   // [B, L, C]
  const float *log_a, *b, *c, *d;  // [C, N], [B, L, N], [B, L, N], [C]
  float* y;
  int64_t batch, length, channels, states;
};

/// From the slowest to the fastest. `automatic` takes the best that can compute a scan.
enum class ScanVariant : uint8_t { automatic, plain, chunked };

/// "" or why a variant cannot compute this.
std::string selective_scan_refusal(ScanVariant variant, const Scan& scan, const DeviceLimits& limits);
/// Floats of memory that a variant needs, not kept between calls.
int64_t selective_scan_workspace(ScanVariant variant, const Scan& scan);
void selective_scan(const Stream& stream, ScanVariant variant, const Scan& scan, float* workspace);

void selective_scan_plain(const Stream& stream, const Scan& scan);
void selective_scan_chunked(const Stream& stream, const Scan& scan, float* workspace);
std::string selective_scan_plain_refusal(const Scan& scan, const DeviceLimits& limits);
std::string selective_scan_chunked_refusal(const Scan& scan);
int64_t selective_scan_chunked_workspace(const Scan& scan);

}  // namespace sat::cuda
