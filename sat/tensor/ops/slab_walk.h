// Private: the order in which a convolution's planes are computed where its result is written over its input, and the
// few up-sampled planes that exist at a time. Both backends walk by it; how a slab is computed is theirs.
//
// A volume is made with a margin of planes before it. The next result lies in front of its input by that margin, the
// one after it behind again, and slabs are computed in the order in which nothing is overwritten that is still to be
// read. Statistics are kept for groups of planes and merged in the order of planes, so that no bit depends on where a
// result lies.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "sat/tensor/parallel.h"
#include "sat/tensor/tensor.h"

namespace sat {

/// [B, H, W, D, C] of a 3x3x3 convolution with padding 1.
Shape conv_output_shape(const Shape& in, int64_t out, int64_t stride);

/// Memory for a result [B, H, W, D, C]. A volume of many planes gets room for the next one to be written over it, slabs
/// of `slab` planes at a time.
Tensor room_for_next(const Shape& shape, DType dtype, Device device, int64_t slab);

/// Where the result of one convolution goes, and in which order its slabs are computed.
class SlabWalk {
 public:
  /// The result [B, H, W, D, C] of a convolution of `x`, held as `store`: over x where nobody else reads it, shape and
  /// type agree and there is room, else in memory of its own. A slab has `slab` planes; the margin is one plane more.
  /// `cut`: there are slabs even where the result lies apart.
  SlabWalk(const Tensor& x, const Shape& shape, DType store, int64_t slab, bool cut);

  Tensor& result() { return result_; }

  /// body(first, last) for the slabs of planes of each sample, each once.
  template <class Body>
  void for_each(const Body& body) const {
    const int64_t planes = result_.shape[1], slabs = divide_up(planes, slab_);
    for (int64_t i = 0; i < slabs; ++i) {
      const int64_t first = (upwards_ ? slabs - 1 - i : i) * slab_;  // a result behind its input begins at the end
      body(first, first + slab_ < planes ? first + slab_ : planes);
    }
  }
  int64_t longest() const { return slab_; }  // planes of a slab, at most

 private:
  Tensor result_;
  int64_t slab_;
  bool upwards_ = false;
};

/// Which planes of an up-sampled volume are there: a ring of pairs, each made from one plane of the volume below.
class UpRing {
 public:
  /// For slabs of `slab` planes, with their halo: planes() of them are held.
  UpRing(int64_t low_planes, int64_t slab) : low_planes_(low_planes), pairs_(size_t((slab + 4) / 2), -1) {}
  int64_t planes() const { return 2 * int64_t(pairs_.size()); }

  /// Sees to it that up-sampled planes [first, last) are there: make(from, to) makes the pairs of planes [from, to) of
  /// the volume below, pair p at planes 2 * place(p) and 2 * place(p) + 1 of the ring.
  template <class Make>
  void require(int64_t first, int64_t last, const Make& make) {
    const int64_t end = (last + 1) / 2 < low_planes_ ? (last + 1) / 2 : low_planes_;
    for (int64_t pair = first > 0 ? first / 2 : 0; pair < end;) {
      const int64_t from = pair;
      while (pair < end && std::exchange(pairs_[size_t(place(pair))], pair) != pair) ++pair;
      if (from < pair) make(from, pair);
      if (pair < end) ++pair;
    }
  }
  int64_t place(int64_t pair) const { return pair % int64_t(pairs_.size()); }

 private:
  int64_t low_planes_;
  std::vector<int64_t> pairs_;  // which pair is in each place
};

}  // namespace sat
