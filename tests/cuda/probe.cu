// What decides whether conv3d_wgmma can be right, and fast, on a device; asked of it alone, in well under a minute,
// before anything else is run there:
//   probe [emulated]        a line for each question, then "N passed, N failed"; "emulated": clocks mean nothing
// Bulk loads across a border, products that read from any 16 bytes of a 128-byte line, registers that change hands, and
// the clocks that a row of 16 bytes takes by bulk loads and by asynchronous copies of threads.
#include <cuda.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "sat/cuda/conv3d/conv3d_wgmma.cuh"
#include "sat/cuda/device/hopper.cuh"
#include "tests/cuda/device_array.h"

namespace sat::test {

namespace {

using namespace cuda;

constexpr int kSide = 18, kBlocks = 8;               // of a plane with its border: voxels of an axis, 8 channels each
constexpr int kPlaneRows = kSide * kSide * kBlocks;  // of 16 bytes
constexpr int kPlaneElements = 8 * kPlaneRows;       // of f16
constexpr int kN = 128, kM = 64, kK = 16;            // of a product
constexpr int kLaps = 32, kInFlight = 2;             // planes that are timed, and those on their way at once

/// Dynamic shared memory from an address that any load takes.
__device__ uint8_t* aligned_shared() {
  extern __shared__ __align__(1024) uint8_t dynamic_shared[];
  return dynamic_shared;
}

// ---- bulk loads ----------------------------------------------------------------------------------------------------

/// A box to `out`, as conv3d_wgmma loads a plane.
__global__ void box_kernel(const __grid_constant__ CUtensorMap map, int d, int w, int plane, uint16_t* out) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  uint8_t* const held = aligned_shared();
  __shared__ uint64_t loaded;
  if (threadIdx.x == 0) {
    hopper::barrier_init(&loaded, 1);
    hopper::fence_barrier_init();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    hopper::barrier_arrive_expect(&loaded, 2 * kPlaneElements);
    hopper::load_box(held, &map, &loaded, 0, d, w, 0, plane);
  }
  hopper::barrier_wait(&loaded, 0);
  for (int i = threadIdx.x; i < kPlaneElements; i += blockDim.x) out[i] = reinterpret_cast<uint16_t*>(held)[i];
#endif
}

/// Clocks that kLaps planes take one thread of each block.
__global__ void box_clocks_kernel(const __grid_constant__ CUtensorMap map, int64_t* clocks) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  uint8_t* const held = aligned_shared();
  __shared__ uint64_t loaded[kInFlight];
  if (threadIdx.x != 0) return;
  for (uint64_t& barrier : loaded) hopper::barrier_init(&barrier, 1);
  hopper::fence_barrier_init();
  const auto start = [&](int lap) {
    hopper::barrier_arrive_expect(&loaded[lap % kInFlight], 2 * kPlaneElements);
    hopper::load_box(held + lap % kInFlight * 2 * kPlaneElements, &map, &loaded[lap % kInFlight], 0, -1, -1, 0, 0);
  };
  const long long begin = clock64();
  for (int lap = 0; lap < kInFlight; ++lap) start(lap);
  for (int lap = 0; lap < kLaps; ++lap) {
    hopper::barrier_wait(&loaded[lap % kInFlight], lap / kInFlight % 2);
    if (lap + kInFlight < kLaps) start(lap + kInFlight);
  }
  clocks[blockIdx.x] = clock64() - begin;
#endif
}

/// The same rows by cp.async of all threads: a voxel's 128 bytes are read by neighbours.
__global__ void copy_clocks_kernel(const uint8_t* volume, int64_t* clocks) {
  const uint32_t held = uint32_t(__cvta_generic_to_shared(aligned_shared()));
  const auto start = [&](int lap) {
    for (int row = threadIdx.x; row < kPlaneRows; row += blockDim.x) {
      const int block = row % kBlocks, pixel = row / kBlocks;
      const uint32_t to = held + lap % kInFlight * 2 * kPlaneElements + 16 * (block * kSide * kSide + pixel);
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(volume + 16 * row) : "memory");
    }
    asm volatile("cp.async.commit_group;" ::: "memory");
  };
  __syncthreads();
  const long long begin = clock64();
  for (int lap = 0; lap < kInFlight; ++lap) start(lap);
  for (int lap = 0; lap < kLaps; ++lap) {
    asm volatile("cp.async.wait_group %0;" ::"n"(kInFlight - 1) : "memory");
    __syncthreads();
    if (lap + kInFlight < kLaps) {
      start(lap + kInFlight);
    } else {
      asm volatile("cp.async.commit_group;" ::: "memory");
    }
  }
  if (threadIdx.x == 0) clocks[blockIdx.x] = clock64() - begin;
}

// ---- products ------------------------------------------------------------------------------------------------------

__host__ __device__ inline int left(int m, int k) { return (3 * m + 5 * k) % 5 - 2; }
__host__ __device__ inline int right(int k, int n) { return (5 * k + 3 * n + n / 8) % 7 - 3; }

/// One product whose right side begins `start` x 16 bytes behind a 128-byte line, its bricks `pitch` bytes apart.
__global__ void product_kernel(int start, int pitch, float* out) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  uint8_t* const matrix = aligned_shared() + 16 * start;
  const int along_k = 17 * pitch, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  for (int i = threadIdx.x; i < kK * kN; i += blockDim.x) {
    const int k = i % kK, n = i / kK;
    auto* to = reinterpret_cast<__half*>(matrix + k / 8 * along_k + n / 8 * pitch + n % 8 * 16 + k % 8 * 2);
    *to = __float2half(float(right(k, n)));
  }
  hopper::fence_async_shared();
  __syncthreads();
  uint32_t a[4];
  for (int i = 0; i < 4; ++i) {
    const int m = 16 * warp + lane / 4 + i % 2 * 8, k = i / 2 * 8 + 2 * (lane % 4);
    const __half2 pair = __floats2half2_rn(float(left(m, k)), float(left(m, k + 1)));
    memcpy(&a[i], &pair, sizeof pair);
  }
  float sums[64];
  for (float& sum : sums) sum = 0;
  hopper::product_fence();
  hopper::product<__half>(sums, a, hopper::describe(matrix, uint32_t(along_k), uint32_t(pitch)), false);
  hopper::product_commit();
  hopper::product_wait<0>();
  for (int i = 0; i < 64; ++i) {
    const int m = 16 * warp + lane / 4 + i % 4 / 2 * 8, n = i / 4 * 8 + 2 * (lane % 4) + i % 2;
    out[m * kN + n] = sums[i];
  }
#endif
}

// ---- registers -----------------------------------------------------------------------------------------------------

/// Four warpgroups give and take; every thread says that it came through.
template <int kLoader, int kNormaliser, int kProduct>
__global__ void __launch_bounds__(512, 1) registers_kernel(int* out) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  const int group = threadIdx.x / 128;
  if (group == 0) {
    hopper::keep_registers<kLoader>();
  } else if (group == 1) {
    hopper::keep_registers<kNormaliser>();
  } else {
    hopper::take_registers<kProduct>();
  }
  out[threadIdx.x] = group + 1;
#endif
}

// ---- the questions -------------------------------------------------------------------------------------------------

class Probe {
 public:
  Probe(const Stream& stream, bool emulated) : stream_(stream), emulated_(emulated) {}

  /// Asks one question; `answer` returns "" where all is right. What went wrong ends no other question but the
  /// device's.
  void ask(const std::string& question, const std::function<std::string()>& answer) {
    std::string wrong;
    try {
      wrong = answer();
    } catch (const Error& error) {
      wrong = error.what();
    }
    ++(wrong.empty() ? passed_ : failed_);
    std::printf("%s: %s\n", question.c_str(), wrong.empty() ? "right" : ("WRONG: " + wrong).c_str());
    std::fflush(stdout);
  }
  void say(const std::string& what) {
    std::printf("%s\n", what.c_str());
    std::fflush(stdout);
  }
  int end() const {
    std::printf("%d passed, %d failed\n", passed_, failed_);
    return failed_ == 0 ? 0 : 1;
  }

  std::string box();
  std::string product(int start, int pitch);
  template <int kLoader, int kNormaliser, int kProduct>
  std::string registers();
  void clocks();

 private:
  CUtensorMap map_of(const DeviceArray<uint16_t>& volume, int side, int planes) const;
  void say_clocks(const std::string& what, int blocks, const DeviceArray<int64_t>& clocks);

  Stream stream_;
  bool emulated_;
  int passed_ = 0, failed_ = 0;
};

/// [planes][side][side][64] of f16 as conv3d_wgmma describes it.
CUtensorMap Probe::map_of(const DeviceArray<uint16_t>& volume, int side, int planes) const {
  void* symbol = nullptr;
  cudaDriverEntryPointQueryResult found{};
  check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &symbol, 12000, cudaEnableDefault, &found),
        "cuTensorMapEncodeTiled");
  const cuuint64_t pixel = 16 * kBlocks, sizes[] = {8, cuuint64_t(side), cuuint64_t(side), kBlocks, cuuint64_t(planes)};
  const cuuint64_t strides[] = {pixel, side * pixel, 16, cuuint64_t(side) * side * pixel};
  const cuuint32_t box[] = {8, kSide, kSide, kBlocks, 1}, steps[] = {1, 1, 1, 1, 1};
  CUtensorMap map{};
  const CUresult status = reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(symbol)(
      &map, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 5, volume.data(), sizes, strides, box, steps,
      CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_NONE, CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
      CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  SAT_CHECK(status == CUDA_SUCCESS, "cuTensorMapEncodeTiled failed with ", int(status));
  return map;
}

std::string Probe::box() {
  constexpr int kOwn = 9, kPlanes = 3;  // smaller than the box, so that it crosses both borders
  std::vector<uint16_t> values(size_t(kPlanes * kOwn * kOwn * 8 * kBlocks));
  for (size_t i = 0; i < values.size(); ++i) values[i] = uint16_t(1 + i);
  const DeviceArray<uint16_t> volume(values), out(kPlaneElements);
  const CUtensorMap map = map_of(volume, kOwn, kPlanes);
  for (int plane : {-1, 0, kPlanes - 1, kPlanes}) {
    launch(stream_, {"box", 1, 128, 2 * kPlaneElements}, box_kernel, map, -1, -1, plane, out.data());
    check(cudaStreamSynchronize(stream_.handle), "box");
    const std::vector<uint16_t> got = out.values();
    for (int i = 0; i < kPlaneElements; ++i) {
      const int c = i % 8, d = i / 8 % kSide - 1, w = i / 8 / kSide % kSide - 1, block = i / 8 / kSide / kSide;
      const bool inside = d >= 0 && d < kOwn && w >= 0 && w < kOwn && plane >= 0 && plane < kPlanes;
      const size_t at = size_t(((plane * kOwn + w) * kOwn + d) * 8 * kBlocks + 8 * block + c);
      const uint16_t want = inside ? values[at] : uint16_t(0);
      if (got[size_t(i)] != want) {
        return "plane " + std::to_string(plane) + ", element " + std::to_string(i) + " is " +
               std::to_string(got[size_t(i)]) + ", should be " + std::to_string(want);
      }
    }
  }
  return "";
}

std::string Probe::product(int start, int pitch) {
  const DeviceArray<float> out(size_t(kM * kN));
  launch(stream_, {"product", 1, 128, 128 + 2 * 17 * pitch}, product_kernel, start, pitch, out.data());
  check(cudaStreamSynchronize(stream_.handle), "product");
  const std::vector<float> got = out.values();
  int wrong = 0;
  for (int m = 0; m < kM; ++m) {
    for (int n = 0; n < kN; ++n) {
      int want = 0;
      for (int k = 0; k < kK; ++k) want += left(m, k) * right(k, n);
      wrong += got[size_t(m * kN + n)] != float(want);
    }
  }
  return wrong == 0 ? "" : std::to_string(wrong) + " of " + std::to_string(kM * kN) + " sums differ";
}

template <int kLoader, int kNormaliser, int kProduct>
std::string Probe::registers() {
  const DeviceArray<int> out(std::vector<int>(512, 0));
  launch(stream_, {"registers", 1, 512}, registers_kernel<kLoader, kNormaliser, kProduct>, out.data());
  check(cudaStreamSynchronize(stream_.handle), "registers");
  const std::vector<int> got = out.values();
  for (int i = 0; i < 512; ++i) {
    if (got[size_t(i)] != i / 128 + 1) return "thread " + std::to_string(i) + " did not come through";
  }
  return "";
}

void Probe::say_clocks(const std::string& what, int blocks, const DeviceArray<int64_t>& clocks) {
  const std::vector<int64_t> each = clocks.values();
  const int64_t most = *std::max_element(each.begin(), each.begin() + blocks);
  char text[200];
  std::snprintf(text, sizeof text, "%s, %d block%s: %.2f clocks a row of 16 bytes%s", what.c_str(), blocks,
                blocks == 1 ? "" : "s", double(most) / kLaps / kPlaneRows,
                emulated_ ? " (under an emulator: means nothing)" : "");
  say(text);
}

void Probe::clocks() {
  const DeviceArray<uint16_t> volume(std::vector<uint16_t>(kPlaneElements, 0));
  const DeviceArray<int64_t> clocks(size_t(stream_.limits.processors));
  for (int blocks : {1, emulated_ ? 2 : stream_.limits.processors}) {
    if (stream_.limits.arch / 10 == 9) {
      const CUtensorMap map = map_of(volume, kSide, 1);
      launch(stream_, {"box_clocks", unsigned(blocks), 32, kInFlight * 2 * kPlaneElements}, box_clocks_kernel, map,
             clocks.data());
      check(cudaStreamSynchronize(stream_.handle), "box_clocks");
      say_clocks("bulk loads of planes", blocks, clocks);
    }
    for (int threads : {128, 512}) {
      launch(stream_, {"copy_clocks", unsigned(blocks), unsigned(threads), kInFlight * 2 * kPlaneElements},
             copy_clocks_kernel, reinterpret_cast<const uint8_t*>(volume.data()), clocks.data());
      check(cudaStreamSynchronize(stream_.handle), "copy_clocks");
      say_clocks("cp.async of " + std::to_string(threads) + " threads", blocks, clocks);
    }
  }
}

int run(bool emulated) {
  const Stream stream = device_stream();
  Probe probe(stream, emulated);
  // Clocks first: they are right on any device, and a question that ends the device's context would take them along.
  probe.ask("a plane by asynchronous copies, timed", [&] { return probe.clocks(), std::string(); });
  if (stream.limits.arch / 10 != 9) {
    probe.say("not asked: bulk loads, products and registers of sm_90a; this device is sm_" +
              std::to_string(stream.limits.arch));
    return probe.end();
  }
  probe.ask("a box of 5 axes across every border", [&] { return probe.box(); });
  for (int pitch : {128, 160, 288}) {
    for (int start = 0; start < 8; ++start) {
      probe.ask("wgmma, bricks " + std::to_string(pitch) + " bytes apart, from " + std::to_string(16 * start) +
                    " bytes behind a 128-byte line",
                [&] { return probe.product(start, pitch); });
    }
  }
  using namespace marching;
  probe.ask("setmaxnreg 40 / 72 / 200 / 200", [&] { return probe.registers<40, 72, 200>(); });
  probe.ask("setmaxnreg of conv3d_wgmma, " + std::to_string(kLoaderRegisters) + " / " +
                std::to_string(kNormaliserRegisters) + " / " + std::to_string(kProductRegisters) + " twice",
            [&] { return probe.registers<kLoaderRegisters, kNormaliserRegisters, kProductRegisters>(); });
  return probe.end();
}

}  // namespace

}  // namespace sat::test

int main(int count, char** words) {
  try {
    return sat::test::run(count > 1 && std::strcmp(words[1], "emulated") == 0);
  } catch (const std::exception& error) {
    std::printf("%s\n0 passed, 1 failed\n", error.what());
    return 1;
  }
}
