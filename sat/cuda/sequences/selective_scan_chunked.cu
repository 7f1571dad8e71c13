// The selective scan in chunks of time that are walked side by side: their last states first, then the states that they
// begin with, then the results.
#include "sat/cuda/device/stream.h"
#include "sat/cuda/sequences/scan_step.cuh"
#include "sat/cuda/sequences/selective_scan.h"

namespace sat::cuda {

namespace {

constexpr int kChunk = 64;     // steps
constexpr int kThreads = 128;  // channels of a block
constexpr int kStates = 16;    // that a thread holds in registers
constexpr int kSteps = 16;     // whose b and c lie in shared memory at once

int64_t chunks_of(const Scan& scan) { return divide_up(scan.length, kChunk); }

/// What chunks hand on, in the workspace: for each sequence and chunk the states [N][C] that it begins with (in the
/// first pass: those that it ends with if it begins with zeros), and the length [C] of all of its steps together.
struct Handed {
  float *states, *lengths;
  int64_t chunks;
};

/// b or c of kSteps steps, [kSteps][kStates] with zeros where a state is not there: read by all channels of a block.
__device__ void load_steps(float (&to)[kSteps][kStates], const float* from, int64_t l, int64_t end, int states) {
  for (int i = int(threadIdx.x); i < kSteps * kStates; i += kThreads) {
    const int64_t step = l + i / kStates;
    const int n = i % kStates;
    to[i / kStates][n] = step < end && n < states ? from[step * states + n] : 0.f;
  }
}

/// Both walks along a chunk. kResults: from the states that were handed on, y; otherwise from zeros, the states at the
/// end and the length of the steps.
/// One block a chunk of 64 steps and 128 channels of a sequence, one thread a channel, which holds its 16 states and
/// their rates in registers (states that are not there stay 0). b and c of 16 steps at a time lie in shared memory,
/// from where all lanes read one value: four reads of 16 bytes for 16 states. A step is a power, a product and two fma
/// a state; sums run over the states in order. Chunks begin at multiples of 64 steps of their own sequence, so a step's
/// bits depend on the steps before it alone. Traffic: x, delta (and gate) once, b and c once a block, y once.
template <bool kResults>
__global__ void __launch_bounds__(kThreads, 4) chunk_kernel(const Scan scan, const Handed handed) {
  __shared__ __align__(16) float b[kSteps][kStates], c[kResults ? kSteps : 1][kStates];
  const int64_t C = scan.channels, channel = int64_t(blockIdx.y) * kThreads + threadIdx.x;
  const int64_t a_sequence = kResults ? handed.chunks : handed.chunks - 1;  // nothing follows the last one
  const int64_t sequence = int64_t(blockIdx.x) / a_sequence, chunk = int64_t(blockIdx.x) % a_sequence;
  const int64_t first = sequence * scan.length + chunk * kChunk;
  const int64_t end = min(first + kChunk, (sequence + 1) * scan.length);
  const bool there = channel < C;
  const int states = int(scan.states);
  float* own = handed.states + (sequence * handed.chunks + chunk) * states * C + channel;
  float state[kStates], rate[kStates];
#pragma unroll
  for (int n = 0; n < kStates; ++n) {
    state[n] = kResults && chunk > 0 && there && n < states ? own[n * C] : 0.f;
    rate[n] = there && n < states ? rate_of(scan.log_a[channel * states + n]) : 0.f;
  }
  const float direct = kResults && there ? scan.d[channel] : 0.f;
  float length = 0;
  for (int64_t l0 = first; l0 < end; l0 += kSteps) {
    __syncthreads();
    load_steps(b, scan.b, l0, end, states);
    if constexpr (kResults) load_steps(c, scan.c, l0, end, states);
    __syncthreads();
    if (!there) continue;
    const int count = int(min(int64_t(kSteps), end - l0));
    for (int i = 0; i < count; ++i) {
      const int64_t at = (l0 + i) * C + channel;
      const float x = scan.x[at], step = softplus(scan.delta[at]), input = step * x;
      float sum = direct * x;
#pragma unroll
      for (int n = 0; n < kStates; n += 4) {
        const float4 in = *reinterpret_cast<const float4*>(&b[i][n]);
        const float into[4] = {in.x, in.y, in.z, in.w};
#pragma unroll
        for (int j = 0; j < 4; ++j) state[n + j] = fmaf(decay(step * rate[n + j]), state[n + j], input * into[j]);
        if constexpr (kResults) {
          const float4 out = *reinterpret_cast<const float4*>(&c[i][n]);
          const float out_of[4] = {out.x, out.y, out.z, out.w};
#pragma unroll
          for (int j = 0; j < 4; ++j) sum = fmaf(state[n + j], out_of[j], sum);
        }
      }
      length += step;
      if constexpr (kResults) scan.y[at] = sum * silu(scan.gate[at]);
    }
  }
  if constexpr (!kResults) {
    if (!there) return;
#pragma unroll
    for (int n = 0; n < kStates; ++n) {
      if (n < states) own[n * C] = state[n];
    }
    handed.lengths[(sequence * handed.chunks + chunk) * C + channel] = length;
  }
}

/// The states that chunks begin with, written over those that they end with: begin(k + 1) = 2^(rate * length(k)) *
/// begin(k)
/// + end(k), in order. One thread a sequence, channel and state, neighbours along the channels.
/// Traffic: the states once, both ways.
__global__ void __launch_bounds__(kThreads) hand_on_kernel(const Scan scan, const Handed handed) {
  const int64_t C = scan.channels, channel = int64_t(blockIdx.x) * kThreads + threadIdx.x, n = blockIdx.y;
  if (channel >= C) return;
  const float rate = rate_of(scan.log_a[channel * scan.states + n]);
  float begin = 0;
  for (int64_t chunk = 0; chunk < handed.chunks; ++chunk) {
    const int64_t at = blockIdx.z * handed.chunks + chunk;
    float& state = handed.states[(at * scan.states + n) * C + channel];
    const bool last = chunk + 1 == handed.chunks;
    const float next = last ? 0.f : fmaf(decay(rate * handed.lengths[at * C + channel]), begin, state);
    state = begin;
    begin = next;
  }
}

}  // namespace

std::string selective_scan_chunked_refusal(const Scan& scan) {
  if (scan.states <= kStates) return "";
  return std::to_string(scan.states) + " states, the chunked form holds up to " + std::to_string(kStates);
}

int64_t selective_scan_chunked_workspace(const Scan& scan) {
  const int64_t chunks = chunks_of(scan);
  return chunks > 1 ? scan.batch * chunks * scan.channels * (scan.states + 1) : 0;
}

void selective_scan_chunked(const Stream& stream, const Scan& scan, float* workspace) {
  const int64_t chunks = chunks_of(scan), groups = divide_up(scan.channels, kThreads);
  const Handed handed{workspace, workspace + scan.batch * chunks * scan.channels * scan.states, chunks};
  if (chunks > 1) {
    const dim3 grid(unsigned(scan.batch * (chunks - 1)), unsigned(groups));
    launch(stream, {"selective_scan_ends", grid, kThreads}, chunk_kernel<false>, scan, handed);
    const dim3 states(unsigned(groups), unsigned(scan.states), unsigned(scan.batch));
    launch(stream, {"selective_scan_begins", states, kThreads}, hand_on_kernel, scan, handed);
  }
  const dim3 grid(unsigned(scan.batch * chunks), unsigned(groups));
  launch(stream, {"selective_scan_results", grid, kThreads}, chunk_kernel<true>, scan, handed);
}

}  // namespace sat::cuda
