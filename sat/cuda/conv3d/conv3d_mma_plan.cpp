// Which form of conv3d_mma computes a shape: the one that multiplies the fewest zeros.
#include "sat/cuda/conv3d/conv3d_mma_plan.h"

#include <algorithm>

namespace sat::cuda {

namespace {

constexpr int64_t kEnoughItems = 128;  // about the multiprocessors of a large device
constexpr int64_t kRowsGain = 5;       // fixed rows are taken up to 5/4 of the products: they load operands once a row

constexpr int64_t kLargeShared = 163 << 10;  // bytes a block, of sm_80; sm_90 has more, sm_86 and sm_89 99 KiB
constexpr int kRowsVoxels = kMmaSide * kMmaSide;
constexpr int kLargeSlot = 128 * kRowsVoxels;  // 64 channels of 18 x 18 pixels, or 32 of twice as many
constexpr int kSmallSlot = 64 * 318;           // 32 channels; three fit into a small shared memory

int chunks_of(const ConvInput& input, int chunk) { return int(divide_up(input.channels, chunk)); }

/// The products that a plan takes, in tiles of one voxel and one output channel.
double cost(const MmaPlan& plan, const Conv& conv) {
  return double(divide_up(conv.out_size[0], plan.tile_h)) * double(plan.columns()) * plan.voxels * plan.blocks_out *
         plan.block_out;
}

MmaPlan with_form(const Conv& conv, MmaForm form, int chunk, int voxels, int block_out, int slot_bytes) {
  MmaPlan plan;
  plan.slot_bytes = slot_bytes;
  plan.form = form;
  plan.chunk = chunk;
  plan.voxels = voxels;
  plan.block_out = block_out;
  plan.blocks_out = int(divide_up(conv.out, block_out));
  plan.first_chunks = chunks_of(conv.inputs[0], chunk);
  plan.chunks = plan.first_chunks + chunks_of(conv.inputs[1], chunk);
  return plan;
}

MmaPlan fixed_rows(const Conv& conv, bool large_shared) {
  MmaPlan plan = !large_shared    ? with_form(conv, MmaForm::rows32, 32, 256, 64, 64 * kRowsVoxels)
                 : conv.out <= 64 ? with_form(conv, MmaForm::rows64, 64, 256, 64, 128 * kRowsVoxels)
                                  : with_form(conv, MmaForm::rows128, 64, 256, 128, 128 * kRowsVoxels);
  plan.columns_w = int(divide_up(conv.out_size[1], plan.tile_w));
  plan.columns_d = int(divide_up(conv.out_size[2], plan.tile_d));
  return plan;
}

int box_side(int64_t side, int64_t stride) { return int(stride * (side - 1) + 3); }
/// Along D the even and the odd voxels of a stride of 2 lie apart.
int box_pitch(int64_t side, int64_t stride) { return int(stride == 1 ? side + 2 : 2 * (side + 1)); }

void set_tile(MmaPlan& plan, const Conv& conv, int64_t w, int64_t d) {
  plan.tile_w = int(w);
  plan.tile_d = int(d);
  plan.box_w = box_side(w, conv.stride);
  plan.box_d = box_pitch(d, conv.stride);
  plan.columns_w = int(divide_up(conv.out_size[1], w));
  plan.columns_d = int(divide_up(conv.out_size[2], d));
}

/// Rectangles of a plane, as few as can be.
MmaPlan rectangles(const Conv& conv, MmaPlan plan) {
  const int64_t capacity = plan.slot_bytes / (2 * plan.chunk);
  int64_t best = 0;
  for (int64_t columns_d = 1, before = 0; columns_d <= conv.out_size[2]; ++columns_d) {
    const int64_t d = divide_up(conv.out_size[2], columns_d), pitch = box_pitch(d, conv.stride);
    if (d == before || d > plan.voxels) continue;
    before = d;
    const int64_t held = (capacity / pitch - 3) / conv.stride + 1;  // rows whose input fits
    const int64_t most = std::min({conv.out_size[1], plan.voxels / d, held});
    if (capacity / pitch < 3 || most < 1) continue;
    const int64_t columns_w = divide_up(conv.out_size[1], most), columns = columns_w * divide_up(conv.out_size[2], d);
    if (best != 0 && columns >= best) continue;
    best = columns;
    set_tile(plan, conv, divide_up(conv.out_size[1], columns_w), d);
  }
  return plan;
}

/// Several whole planes an item, where they are small; nothing (chunks == 0) where one does not fit. Such volumes have
/// few voxels and many channels, so the sum over the channels is split too.
MmaPlan whole_planes(const Conv& conv, MmaPlan plan) {
  plan.partial = true;
  set_tile(plan, conv, conv.out_size[1], conv.out_size[2]);
  const int64_t area = conv.out_size[1] * conv.out_size[2], box = int64_t(plan.box_w) * plan.box_d;
  const int64_t capacity = plan.slot_bytes / (2 * plan.chunk);
  if (area > plan.voxels || 3 * box > capacity) {
    plan.chunks = 0;
    return plan;
  }
  const int64_t held = (capacity / box - 3) / conv.stride + 1;
  const int64_t most = std::min({conv.out_size[0], plan.voxels / area, held});
  const int64_t groups = divide_up(conv.out_size[0], most);
  plan.tile_h = int(divide_up(conv.out_size[0], groups));
  plan.box_h = box_side(plan.tile_h, conv.stride);
  plan.splits = int(std::min<int64_t>(divide_up(kEnoughItems, groups * plan.blocks_out), plan.chunks));
  while (plan.chunks % plan.splits != 0) ++plan.splits;
  return plan;
}

}  // namespace

bool has_large_shared(const DeviceLimits& limits) { return limits.shared_bytes >= kLargeShared; }

MmaPlan plan_mma(const Conv& conv, bool large_shared) {
  const int slot = large_shared ? kLargeSlot : kSmallSlot;
  const MmaPlan free = conv.stride == 1 ? with_form(conv, MmaForm::boxes, 32, 256, 128, slot)
                       : conv.out <= 64 ? with_form(conv, MmaForm::halves64, 32, 128, 64, slot)
                                        : with_form(conv, MmaForm::halves128, 32, 128, 128, slot);
  MmaPlan best = rectangles(conv, free);
  const MmaPlan planes = whole_planes(conv, free);
  const bool few = best.columns() * best.blocks_out * conv.out_size[0] < kEnoughItems;
  if (planes.chunks > 0 && (few || cost(planes, conv) < cost(best, conv))) best = planes;
  if (conv.stride != 1) return best;
  const MmaPlan rows = fixed_rows(conv, large_shared);
  return 4 * cost(rows, conv) <= kRowsGain * cost(best, conv) ? rows : best;
}

int64_t mma_partials(const Conv& conv) {
  return std::max(plan_mma(conv, true).columns(), plan_mma(conv, false).columns());
}

}  // namespace sat::cuda
