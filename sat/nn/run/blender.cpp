// Blending, with rows that leave as soon as no window can touch them any more.
#include "sat/nn/run/blender.h"

#include <algorithm>

#include "sat/tensor/context.h"
#include "sat/tensor/memory/block_allocator.h"
#include "sat/tensor/weights.h"

namespace sat {

namespace {

constexpr int64_t kChunk = 64;                    // prompts finished at once from kept features: they are read again
                                                  // for the next chunk
constexpr int64_t kSlabBytes = int64_t(1) << 26;  // what such a chunk's rows may take, if that is one row or more
constexpr int64_t kSlabRows = 4;                  // and how many rows, however small

/// An organ is not absent because numbers in the network grew beyond all bounds: what every voxel's score is made from
/// must be finite. Looks at a few thousand numbers, where they are on the CPU; the scores themselves are looked at when
/// masks are made of them (io/masks/restore.h).
void check_finite(const Features& features, const Tensor& masks) {
  if (Context::current().dry()) return;
  for (const Tensor* x : {&masks, &features.center, &features.factor, &features.shift}) {
    const int64_t wrong = on_host(*x) ? count_not_finite(*x) : 0;
    SAT_CHECK(wrong == 0, "the network gave ", wrong, " of ", x->numel(),
              x == &masks ? " values of mask vectors" : " scales of features",
              " that are not finite (NaN or infinite), so there is no mask: numbers in it grew ", "beyond all bounds");
  }
}

/// f32, where the current context computes.
Tensor scores_tensor(const Shape& shape) { return Tensor(shape, DType::f32, Context::current().compute_device()); }
Tensor zero_scores(const Shape& shape) { return zeros(shape, DType::f32, Context::current().compute_device()); }

}  // namespace

const char* name_of(Waiting waiting) {
  constexpr const char* kNames[] = {"scores", "features", "spilled features"};
  return kNames[size_t(waiting)];
}

Blender::Blender(const std::array<int64_t, 3>& size, const std::array<int64_t, 3>& window, Rounding importance,
                 int64_t prompts, BlendPlan plan, RowSink sink)
    : size_(size),
      window_(window),
      prompts_(prompts),
      plan_(plan),
      sink_(std::move(sink)),
      windows_(size, window, plan.axis),
      apart_(Context::current().planned_memory() != nullptr),
      importance_(to_compute_device(importance_map(window, importance))) {
  SAT_CHECK(prompts > 0, "blender: there are no prompts");
  SAT_CHECK((plan_.waiting != Waiting::spilled && !apart_) || plan_.axis == 0,
            "blender: spilled rows, and those of a device, leave along axis 0, not ", plan_.axis);
  const auto axis = size_t(plan_.axis);
  if (plan_.waiting != Waiting::scores) {
    const std::array<int64_t, 3> row = box(1);
    // What lives on a device through the loop is there before it (replay.h).
    if (apart_) last_row_ = scores_tensor({prompts_, row[0] * row[1] * row[2]});
    return;
  }
  const std::array<int64_t, 3> extent = box(std::min(size_[axis], window_[axis] + 1));  // one row stays behind
  scores_ = zero_scores({extent[0], extent[1], extent[2], prompts_});
  weights_ = zero_scores({extent[0], extent[1], extent[2]});
}

std::array<int64_t, 3> Blender::box(int64_t rows) const {
  std::array<int64_t, 3> extent = size_;
  extent[size_t(plan_.axis)] = rows;
  return extent;
}

void Blender::add(Features features, const Tensor& masks) {
  SAT_CHECK(added_ < windows_.size(), "blender: all ", windows_.size(), " windows have been added");
  const auto axis = size_t(plan_.axis);
  const Window window = windows_[added_];
  Kept part{window, 0, 0, std::move(features), masks};
  part.features.rstd = Tensor();
  if (plan_.waiting != Waiting::scores) move(part, to_host);
  check_finite(part.features, part.masks);
  if (plan_.waiting == Waiting::spilled) spill(part);
  if (plan_.waiting != Waiting::scores) {
    kept_.push_back(std::move(part));
  } else {
    accumulate(part, masks, scores_, base_, window.start[axis], window.end[axis]);
    count(window, weights_, base_, window.start[axis], window.end[axis]);
    part = {};
  }
  ++added_;
  const bool last = added_ == windows_.size();
  const int64_t until = last ? size_[axis] : windows_[added_].start[axis];
  if (until <= final_) return;  // the next window still touches the first open row
  if (plan_.waiting == Waiting::spilled && !last) return;
  if (plan_.waiting != Waiting::scores) {
    materialize_features(until);
    give_back_rows(until);
  } else {
    finish_scores(until);
  }
}

void Blender::move(Kept& part, Tensor (*to)(const Tensor&)) {
  Features& features = part.features;
  for (Tensor* x : {&features.values, &features.center, &features.factor, &features.shift, &part.masks}) *x = to(*x);
}

void Blender::accumulate(const Kept& part, const Tensor& masks, Tensor& scores, int64_t base, int64_t first,
                         int64_t last) const {
  ScoreRegion region;
  for (size_t a = 0; a < 3; ++a) {
    region.in_scores[a] = part.window.start[a];
    region.size[a] = part.window.end[a] - part.window.start[a];
  }
  const auto axis = size_t(plan_.axis);
  const int64_t skipped = std::max(first, part.window.start[axis]) - part.window.start[axis];
  region.size[axis] = std::min(last, part.window.end[axis]) - part.window.start[axis] - skipped;
  if (region.size[axis] <= 0) return;
  region.in_importance[axis] = skipped;
  region.in_features[axis] = skipped - part.cut;
  region.in_scores[axis] = part.window.start[axis] + skipped - base;
  accumulate_mask_scores(scores, part.features, masks, importance_, region);
}

void Blender::count(const Window& window, Tensor& weights, int64_t base, int64_t first, int64_t last) const {
  const auto axis = size_t(plan_.axis);
  ScoreRegion region;
  for (size_t a = 0; a < 3; ++a) {
    const int64_t from = a == axis ? std::max(first, window.start[a]) : window.start[a];
    const int64_t to = a == axis ? std::min(last, window.end[a]) : window.end[a];
    region.in_scores[a] = from - (a == axis ? base : 0);
    region.in_importance[a] = from - window.start[a];
    region.size[a] = to - from;
  }
  if (region.size[axis] > 0) accumulate_importance(weights, importance_, region);
}

/// Hands rows to the sink; from a device a few at a time.
void Blender::leave(const Tensor& scores, const std::array<int64_t, 3>& origin, int64_t first, int64_t last,
                    int64_t first_prompt) {
  if (!apart_) return sink_(scores, origin, first, last, first_prompt);
  const int64_t row_bytes = scores.bytes() / scores.shape[0], there = origin[0] + scores.shape[0];
  const int64_t at_once = std::max<int64_t>(1, kSlabBytes / row_bytes);
  for (int64_t row = first; row < last; row += at_once) {
    const int64_t stop = std::min(last, row + at_once);
    const Tensor some = to_host(scores.slice(row - origin[0], std::min(stop + 1, there) - origin[0]));
    sink_(some, {row, origin[1], origin[2]}, row, stop, first_prompt);
  }
}

void Blender::finish_scores(int64_t until) {
  const auto axis = size_t(plan_.axis);
  divide_rows(scores_, weights_, plan_.axis, final_ - base_, until - base_);
  final_ = until;
  const bool last = until == size_[axis];
  std::array<int64_t, 3> origin{};
  origin[axis] = base_;
  if (last || until - 1 > decided_) leave(scores_, origin, decided_, last ? until : until - 1, 0);
  if (last) return;
  decided_ = until - 1;
  const int64_t rows = weights_.shape[plan_.axis], dropped = decided_ - base_, stays = rows - dropped;
  for (Tensor* x : {&scores_, &weights_}) {
    copy_rows(*x, plan_.axis, 0, *x, dropped, rows);
    zero_rows(*x, plan_.axis, stays, rows);
  }
  base_ = decided_;
}

void Blender::materialize_features(int64_t until) {
  const auto axis = size_t(plan_.axis);
  const std::array<int64_t, 3> one_row = box(1);
  const int64_t area = one_row[0] * one_row[1] * one_row[2];
  const int64_t row_bytes = area * std::min(kChunk, prompts_) * int64_t(sizeof(float));
  const int64_t rows_at_once = std::clamp<int64_t>(kSlabBytes / row_bytes, 1, kSlabRows);
  const bool dry = Context::current().dry();
  if (last_row_.empty()) last_row_ = scores_tensor({prompts_, area});
  while (final_ < until) {
    const int64_t stop = std::min(until, final_ + rows_at_once);
    const int64_t decide = stop == size_[axis] ? stop : stop - 1;  // a lone first row decides nothing yet
    const std::array<int64_t, 3> extent = box(stop - decided_);
    std::array<int64_t, 3> origin{};
    origin[axis] = decided_;
    Tensor weights = zero_scores({extent[0], extent[1], extent[2]});
    const bool fetch = plan_.waiting == Waiting::spilled || apart_;
    const std::vector<Kept> fetched = fetch ? fetched_rows(final_, stop) : std::vector<Kept>();
    const std::vector<Kept>& parts = fetch ? fetched : kept_;
    for (const Kept& part : parts) {
      if (!dry) count(part.window, weights, decided_, final_, stop);
    }
    for (int64_t first = 0; first < prompts_; first += kChunk) {
      const int64_t width = std::min(kChunk, prompts_ - first);
      Tensor scores = zero_scores({extent[0], extent[1], extent[2], width});
      // [area, width] in memory, whatever its shape says: one row.
      Tensor carry = last_row_.slice(first, first + width).reshape({one_row[0], one_row[1], one_row[2], width});
      if (decided_ < final_) copy_rows(scores, plan_.axis, 0, carry, 0, 1);
      for (const Kept& part : parts) {
        accumulate(part, part.masks.slice(first, first + width), scores, decided_, final_, stop);
        if (dry) break;  // the others would take the same memory, one after another
      }
      divide_rows(scores, weights, plan_.axis, final_ - decided_, extent[axis]);
      if (decided_ < decide) leave(scores, origin, decided_, decide, first);
      copy_rows(carry, plan_.axis, 0, scores, extent[axis] - 1, extent[axis]);
    }
    final_ = stop;
    decided_ = stop - 1;
  }
}

/// Drops windows that end at or before row `until`, and the rows before it of the others.
void Blender::give_back_rows(int64_t until) {
  const auto axis = size_t(plan_.axis);
  kept_.erase(
      std::remove_if(kept_.begin(), kept_.end(), [&](const Kept& part) { return part.window.end[axis] <= until; }),
      kept_.end());
  for (Kept& part : kept_) {
    const int64_t drop = until - part.window.start[axis] - part.cut;
    if (drop <= 0) continue;
    Tensor& values = part.features.values;
    const int at = plan_.axis + 1, rows = int(values.shape[at]);
    Tensor shorter(values.shape.with(at, rows - drop), values.dtype);
    copy_rows(shorter, at, 0, values, drop, rows);
    values = std::move(shorter);
    part.cut += drop;
  }
}

/// Moves a window's values to the scratch file, which the first window opens.
void Blender::spill(Kept& part) {
  Tensor& values = part.features.values;
  if (added_ == 0) {
    spilled_shape_ = values.shape;
    spilled_dtype_ = values.dtype;
  }
  SAT_CHECK(values.shape == spilled_shape_ && values.dtype == spilled_dtype_, "blender: features are ", values.dtype,
            " ", values.shape, ", those before were ", spilled_dtype_, " ", spilled_shape_);
  const int64_t row_bytes = values.bytes() / values.shape[1];
  const bool dry = Context::current().dry();
  if (added_ == 0) {
    for (int64_t i = 0; i < windows_.size(); ++i)
      scratch_bytes_ += (windows_[i].end[0] - windows_[i].start[0]) * row_bytes;
    if (!dry) scratch_.emplace(plan_.scratch, scratch_bytes_);
  }
  part.place = next_place_;
  const int64_t bytes = (part.window.end[0] - part.window.start[0]) * row_bytes;
  if (!dry) scratch_->write(part.place, values.raw(), bytes);
  next_place_ += bytes;
  values = Tensor();
}

/// Waiting windows that touch rows [first, last), with those rows where they are computed on: read from disk, or taken
/// to the device.
std::vector<Blender::Kept> Blender::fetched_rows(int64_t first, int64_t last) const {
  std::vector<Kept> parts;
  const auto over = [&](const Kept& part) { return part.window.end[0] <= first; };  // those come first
  for (auto at = std::partition_point(kept_.begin(), kept_.end(), over); at != kept_.end(); ++at) {
    const Kept& part = *at;
    const int64_t from = std::max(first, part.window.start[0]), to = std::min(last, part.window.end[0]);
    if (from >= to) break;  // as all that follow
    Kept fetched = part;
    fetched.cut = from - part.window.start[0];
    Tensor& values = fetched.features.values;
    if (plan_.waiting == Waiting::spilled) {
      values = Tensor(spilled_shape_.with(1, to - from), spilled_dtype_);
      const int64_t row_bytes = values.bytes() / (to - from);
      if (scratch_) scratch_->read(part.place + fetched.cut * row_bytes, values.raw(), values.bytes());
    } else {
      const int64_t skipped = fetched.cut - part.cut;
      values = values.reshape(values.shape.drop_front()).slice(skipped, skipped + to - from);
      values = values.reshape(part.features.values.shape.with(1, to - from));
    }
    move(fetched, to_compute_device);
    parts.push_back(std::move(fetched));
  }
  return parts;
}

}  // namespace sat
