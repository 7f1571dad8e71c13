// The convolution on tensor cores of sm_80 and newer: mma.sync, ldmatrix, and cp.async into a ring of planes.
#include <algorithm>
#include <string>

#include "sat/cuda/conv3d/conv3d_mma_block.cuh"
#include "sat/cuda/conv3d/conv3d_mma_store.cuh"

namespace sat::cuda {

namespace {

/// One 3x3x3 convolution, f16 or bf16 inputs, sums in f32: MmaWork of items (see item_at).
///   inputs   [H, W, D, channels], with a pending norm or without; weights [27][pad16(out)][pad16(in0) + pad16(in1)]
///   values   [H', W', D', out] f16, bf16 or f32; partials [H'][columns of items][out]; or partial sums (MmaWork)
/// A product of voxels x input channels by input channels x output channels for each tap. A block of 8 warps, 4 along
/// the voxels x 2 along the outputs, has up to 256 voxels x 64 or 128 outputs of it in registers. It goes through a run
/// of items in order, so a run may be of any length and the results are the same.
/// Input comes as boxes of voxels with a halo, one plane x kChunk channels (or, partial, all planes), into three slots
/// of shared memory: one that is multiplied, one whose norm is taken, one that arrives. With one chunk of channels and
/// whole rows a block marches along H: a plane is loaded once and serves three output planes. Weights come from the
/// second cache in stages of three taps along W, two stages ahead. A warp's voxels being whole rows, the rows that it
/// loads for one tap along W serve the other two.
/// Traffic of 64 -> 64: input x 324 / 256 + weights a plane of 256 voxels (from the second cache) + one write.
template <class S>
__global__ __launch_bounds__(kMmaThreads, 1) void conv3d_mma_kernel(const __grid_constant__ MmaWork work) {
  extern __shared__ __align__(128) unsigned char bytes[];
  MmaShared<S>& shared = *reinterpret_cast<MmaShared<S>*>(bytes);
  MmaProducts<S> products(work);
  const bool marches = S::kRows && work.plan.chunks == 1;
  const int plane_taps = work.plan.partial ? 1 : 3;  // loads of a chunk
  const int end = int(int64_t(work.items) * (blockIdx.x + 1) / gridDim.x);
  int number = int(int64_t(work.items) * blockIdx.x / gridDim.x);
  while (number < end) {
    // A run: items whose loads follow each other. Where the block marches, the planes of one column.
    const int stop = marches ? min(end, (number / work.groups + 1) * work.groups) : end;
    const int run = stop - number;
    const int loads = marches ? run + 2 : run * (work.plan.chunks / work.plan.splits) * plane_taps;
    const MmaLoads<S> input(work, shared, number, marches);
    MmaWeights<S> weights(work, number, stop);
    int stage = 0, copied = min(loads, 2), finishing = loads > 1 ? 1 : -1;
    wait_copies<0>();
    __syncthreads();  // the run before is done with shared memory
    if (threadIdx.x < min(loads, kMmaSlots)) input.describe(int(threadIdx.x));
    __syncthreads();
    for (int load = 0; load < copied; ++load) {
      input.copy_norm(load);
      input.copy(load, 0, input.rounds);
    }
    for (int i = 0; i < kMmaStages - 1; ++i) {
      weights.copy_next(work, shared_address(shared.stages[i]));
      close_copies();
    }
    wait_copies<1>();
    __syncthreads();
    input.finish(0, 0, input.rounds);

    for (int used = 0; number < stop; ++number) {
      const MmaItem item = item_at(work, number);
      products.clear();
      for (int chunk = item.first_chunk; chunk < item.last_chunk; ++chunk) {
        const int parts = (channels_of<S>(work, chunk) + S::kSub - 1) / S::kSub;
        for (int plane_tap = 0; plane_tap < plane_taps; ++plane_tap, ++used) {
          // One load is multiplied. Loads below `needed` are not needed any more.
          const int current = marches ? used / 3 + plane_tap : used;
          const int needed = marches && plane_tap > 1 ? current - 1 : current;
          const int copying = copied < min(loads, needed + kMmaSlots) ? copied++ : -1;
          const int stages = work.plan.partial ? 9 * parts : 3 * parts;
          const int share = (input.rounds + stages - 1) / stages;
          const uint32_t slot = shared_address(shared.slot(work, current));
          for (int i = 0, part = 0, depth = 0, box_plane = 0; i < stages; ++i) {
            wait_copies<kMmaStages - 2>();
            __syncthreads();  // the stage is there for all, and the one before is used up
            const int rounds = min(input.rounds, i * share), more = min(input.rounds, rounds + share);
            weights.copy_next(work, shared_address(shared.stages[(stage + kMmaStages - 1) % kMmaStages]));
            const auto prepare = [&] {
              if (copying >= 0 && i == 0) {
                input.copy_norm(copying);
                if (threadIdx.x == kMmaThreads - 1 && copying + 1 < loads) input.describe(copying + 1);
              }
              if (copying >= 0) input.copy(copying, rounds, more);
              if (finishing >= 0) input.finish(finishing, rounds, more);
            };
            // Of two warps that share a scheduler, one multiplies while the other prepares.
            const bool before = threadIdx.x < kMmaThreads / 2;
            if (before) prepare();
            products.add(work, slot, tap_shift<S>(work, box_plane, depth), part, shared_address(shared.stages[stage]));
            if (!before) prepare();
            close_copies();
            stage = stage + 1 < kMmaStages ? stage + 1 : 0;
            if (++part == parts) part = 0, ++depth;
            if (depth == 3) depth = 0, ++box_plane;
          }
          finishing = copying;
        }
      }
      if (work.plan.partial) {
        store_partial<S>(work, item, products);
      } else {
        store_values<S>(work, item, products);
        store_statistics<S>(work, item, products, shared);
      }
    }
  }
}

template <class S>
constexpr int64_t shared_bytes(const MmaPlan& plan) {
  return int64_t(sizeof(MmaShared<S>)) + int64_t(kMmaSlots) * plan.slot_bytes;
}

template <class S>
void launch_form(const Stream& stream, const MmaWork& work) {
  const unsigned blocks = unsigned(std::min(work.items, stream.limits.processors));
  launch(stream, {"conv3d_mma", dim3(blocks), dim3(kMmaThreads), shared_bytes<S>(work.plan)}, conv3d_mma_kernel<S>,
         work);
}

/// Calls body(sizes) with the sizes of a form.
template <class T, class Body>
auto with_sizes(MmaForm form, Body body) {
  switch (form) {
    case MmaForm::rows64: return body(MmaSizes<T, 64, 256, 64, 1, true>());
    case MmaForm::rows128: return body(MmaSizes<T, 64, 256, 128, 1, true>());
    case MmaForm::rows32: return body(MmaSizes<T, 32, 256, 64, 1, true>());
    case MmaForm::boxes: return body(MmaSizes<T, 32, 256, 128, 1, false>());
    case MmaForm::halves64: return body(MmaSizes<T, 32, 128, 64, 2, false>());
    case MmaForm::halves128: return body(MmaSizes<T, 32, 128, 128, 2, false>());
  }
  fail("unknown form ", int(form));
}

MmaWork work_of(const Conv& conv, bool large_shared) {
  MmaWork work{};
  work.plan = plan_mma(conv, large_shared);
  work.inputs[0] = conv.inputs[0];
  work.inputs[1] = conv.inputs[1];
  work.weights = conv.weights;
  work.values = conv.values;
  work.partials = conv.partials;
  work.split_sums = static_cast<float*>(conv.workspace);
  work.in_channels = pad16(conv.inputs[0].channels) + pad16(conv.inputs[1].channels);
  work.out_padded = int(pad16(conv.out));
  work.out = int(conv.out);
  work.in_w = int(conv.in_size[1]);
  work.in_d = int(conv.in_size[2]);
  work.out_w = int(conv.out_size[1]);
  work.out_d = int(conv.out_size[2]);
  work.in_first = int(std::max<int64_t>(0, conv.first * conv.stride - 1));
  work.in_last = int(std::min(conv.in_size[0], (conv.last - 1) * conv.stride + 2));
  work.first = int(conv.first);
  work.last = int(conv.last);
  const MmaPlan& plan = work.plan;
  work.groups = int(divide_up(conv.last - conv.first, plan.tile_h));
  work.items = int(work.groups * plan.splits * plan.blocks_out * plan.columns());
  work.partials_a_plane = mma_partials(conv);
  work.dtype = conv.dtype;
  work.by_box_d = Divider(plan.box_d);
  work.by_box_w = Divider(plan.box_w);
  work.by_tile_d = Divider(plan.tile_d);
  work.by_tile_area = Divider(int64_t(plan.tile_w) * plan.tile_d);
  return work;
}

bool is_half(DType dtype) { return dtype == DType::f16 || dtype == DType::bf16; }

}  // namespace

void conv3d_mma(const Stream& stream, const Conv& conv) {
  if (conv.first >= conv.last) return;
  const MmaWork work = work_of(conv, has_large_shared(stream.limits));
  const auto launch_sizes = [&](auto sizes) { launch_form<decltype(sizes)>(stream, work); };
  if (conv.inputs[0].dtype == DType::f16) {
    with_sizes<__half>(work.plan.form, launch_sizes);
  } else {
    with_sizes<__nv_bfloat16>(work.plan.form, launch_sizes);
  }
  if (work.plan.partial) conv3d_mma_sum(stream, conv, work.plan);
}

std::string conv3d_mma_refusal(const Conv& conv, const DeviceLimits& limits) {
  const auto [first, second] = conv.inputs;
  if (limits.arch < 80) return "sm_" + std::to_string(limits.arch) + " has no cp.async; sm_80 has";
  if (!is_half(first.dtype)) return std::string("inputs are ") + name_of(first.dtype) + ", not f16 or bf16";
  if (second.channels > 0 && second.dtype != first.dtype) return "its inputs are of two types";
  if (first.channels % 8 != 0 || second.channels % 8 != 0 || conv.out % 8 != 0) {
    return "8 does not divide its channels (" + std::to_string(first.channels) + " + " +
           std::to_string(second.channels) + " -> " + std::to_string(conv.out) + ")";
  }
  const MmaPlan plan = plan_mma(conv, has_large_shared(limits));
  const int64_t shared = with_sizes<__half>(plan.form, [&](auto sizes) { return shared_bytes<decltype(sizes)>(plan); });
  if (limits.shared_bytes < shared) {
    return "it takes " + std::to_string(shared) + " bytes of shared memory a block, the device has " +
           std::to_string(limits.shared_bytes);
  }
  return "";
}

int64_t conv3d_mma_partials(const Conv& conv) { return mma_partials(conv); }

int64_t conv3d_mma_workspace(const Conv& conv, const DeviceLimits& limits) {
  const MmaPlan plan = plan_mma(conv, has_large_shared(limits));
  if (!plan.partial) return 0;
  return plan.splits * (conv.last - conv.first) * conv.out_size[1] * conv.out_size[2] * conv.out *
         int64_t(sizeof(float));
}

}  // namespace sat::cuda
