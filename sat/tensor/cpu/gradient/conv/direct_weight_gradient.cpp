// The weight's gradient as 27 matrix products: of a box of output gradients and, for each tap, the inputs that it
// reads.
#include <algorithm>
#include <array>

#include "sat/tensor/convert.h"
#include "sat/tensor/cpu/conv/feature_reader.h"
#include "sat/tensor/cpu/gradient/conv/weight_gradient.h"
#include "sat/tensor/cpu/vector/vector_avx2.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kBoxVoxels = 256;
constexpr int64_t kBoxLine = 128;  // most of them along D
constexpr int64_t kBoxes = 16;     // that a piece has at least

/// A box of output voxels, and the inputs under it, cut at the volume's faces.
struct Box {
  int64_t sample;
  std::array<int64_t, 3> first, size, in_first, in_size;
  int64_t in_voxels() const { return in_size[0] * in_size[1] * in_size[2]; }
};

/// The division of a batch into boxes.
class Boxes {
 public:
  explicit Boxes(const GradientShape& shape) : shape_(shape) {
    int64_t left = kBoxVoxels;
    for (size_t axis = 3; axis-- > 0;) {
      const int64_t size = shape.out_size[axis];
      const int64_t most = std::clamp<int64_t>(axis == 2 ? std::min(left, kBoxLine) : left, 1, size);
      count_[axis] = divide_up(size, most);
      most_[axis] = divide_up(size, count_[axis]);
      left /= most_[axis];
    }
  }

  int64_t count() const { return shape_.batch * count_[0] * count_[1] * count_[2]; }
  int64_t most_voxels() const { return most_[0] * most_[1] * most_[2]; }
  int64_t most_inputs() const {
    int64_t voxels = 1;
    for (const int64_t most : most_) voxels *= (most - 1) * shape_.stride + 3;
    return voxels;
  }

  Box operator[](int64_t index) const {
    Box box{};
    box.sample = index / (count_[0] * count_[1] * count_[2]);
    const std::array<int64_t, 3> place{index % count_[0], index / count_[0] / count_[2] % count_[1],
                                       index / count_[0] % count_[2]};
    for (size_t axis = 0; axis < 3; ++axis) {
      box.first[axis] = place[axis] * most_[axis];
      box.size[axis] = std::min(most_[axis], shape_.out_size[axis] - box.first[axis]);
      box.in_first[axis] = std::max<int64_t>(0, box.first[axis] * shape_.stride - 1);
      const int64_t last = (box.first[axis] + box.size[axis] - 1) * shape_.stride + 2;
      box.in_size[axis] = std::min(last, shape_.size[axis]) - box.in_first[axis];
    }
    return box;
  }

 private:
  const GradientShape& shape_;
  std::array<int64_t, 3> count_{}, most_{};
};

/// Where the terms of a tap lie: the pairs of voxels that it joins.
class TapTerms {
 public:
  explicit TapTerms(int64_t most) : x_at_(size_t(most)), y_at_(size_t(most)) {}

  /// In box arrays of x_step and y_step floats a voxel.
  void find(const Box& box, const GradientShape& shape, int64_t tap, int32_t x_step, int32_t y_step) {
    const int64_t stride = shape.stride;
    const std::array<int64_t, 3> shift{tap / 9 - 1, tap / 3 % 3 - 1, tap % 3 - 1};
    std::array<int64_t, 3> from{}, to{};  // of the box, where the tap meets an input
    for (size_t axis = 0; axis < 3; ++axis) {
      const int64_t first = box.first[axis] * stride + shift[axis] - box.in_first[axis];
      from[axis] = first < 0 ? 1 : 0;
      to[axis] = std::min(box.size[axis], divide_up(std::max<int64_t>(0, box.in_size[axis] - first), stride));
    }
    count_ = 0;
    for (int64_t h = from[0]; h < to[0]; ++h) {
      const int64_t plane = (box.first[0] + h) * stride + shift[0] - box.in_first[0];
      for (int64_t w = from[1]; w < to[1]; ++w) {
        const int64_t line = plane * box.in_size[1] + (box.first[1] + w) * stride + shift[1] - box.in_first[1];
        const int64_t x = line * box.in_size[2] + box.first[2] * stride + shift[2] - box.in_first[2];
        const int64_t y = (h * box.size[1] + w) * box.size[2];
        for (int64_t d = from[2]; d < to[2]; ++d, ++count_) {
          x_at_[size_t(count_)] = int32_t(x + d * stride) * x_step;
          y_at_[size_t(count_)] = int32_t(y + d) * y_step;
        }
      }
    }
  }

  OuterTerms of(const float* x, const float* y) const { return {x, y, x_at_.data(), y_at_.data(), count_}; }

 private:
  std::vector<int32_t> x_at_, y_at_;
  int64_t count_ = 0;
};

/// Final values of a part's inputs: to [count, part.in], zero behind the last input.
void read_inputs(float* to, const Features& x, const GradientPart& part, int64_t sample, int64_t voxel, int64_t count) {
  const int64_t channels = x.values.shape[4];
  const PendingNorm norm = pending_norm(x, sample);
  for (int64_t i = 0; i < count; ++i, to += part.in) {
    const int64_t at = (voxel + i) * channels + part.input;
    if (x.values.dtype == DType::f16) {
      convert_row(to, x.values.address<f16>() + at, part.inputs);
    } else {
      std::copy_n(x.values.address<float>() + at, part.inputs, to);
    }
    if (norm.center) {
      avx2::normalise_leaky_relu(to, to, norm.center + part.input, norm.factor + part.input, norm.shift + part.input,
                                 norm.slope, 1, part.inputs);
    }
    std::fill(to + part.inputs, to + part.in, 0.f);
  }
}

}  // namespace

void direct_weight_gradient(const WeightGradient& job, OuterProduct outer) {
  const GradientShape& shape = job.shape;
  const Boxes boxes(shape);
  const int64_t x_room = boxes.most_inputs() * kGradientBlock;
  const PartSizes sizes{boxes.count(), kBoxes, kGradientBlock, x_room + boxes.most_voxels() * kGradientBlock};
  sum_parts(job, sizes, [&](float* sums, float* room, const GradientPart& part) {
    TapTerms terms(boxes.most_voxels());
    for (int64_t index = part.first; index < part.last; ++index) {
      const Box box = boxes[index];
      float *x = room, *y = room + x_room;
      for (int64_t line = 0; line < box.in_size[0] * box.in_size[1]; ++line) {
        const int64_t h = box.in_first[0] + line / box.in_size[1], w = box.in_first[1] + line % box.in_size[1];
        const int64_t voxel = ((box.sample * shape.size[0] + h) * shape.size[1] + w) * shape.size[2] + box.in_first[2];
        read_inputs(x + line * box.in_size[2] * part.in, job.x, part, box.sample, voxel, box.in_size[2]);
      }
      for (int64_t v = 0; v < box.size[0] * box.size[1] * box.size[2]; ++v) {
        const int64_t h = box.first[0] + v / box.size[2] / box.size[1],
                      w = box.first[1] + v / box.size[2] % box.size[1];
        const int64_t voxel = ((box.sample * shape.out_size[0] + h) * shape.out_size[1] + w) * shape.out_size[2] +
                              box.first[2] + v % box.size[2];
        std::copy_n(job.dy + voxel * shape.out + part.output, part.outputs, y + v * part.out);
        std::fill(y + v * part.out + part.outputs, y + (v + 1) * part.out, 0.f);
      }
      for (int64_t tap = 0; tap < kGradientTaps; ++tap) {
        terms.find(box, shape, tap, int32_t(part.in), int32_t(part.out));
        outer(sums + tap * part.tap, terms.of(x, y), part.in, part.out / kPanel);
      }
    }
  });
}

}  // namespace sat::cpu
