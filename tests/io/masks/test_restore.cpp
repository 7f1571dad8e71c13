// The way back from a model's grid to the scan's: every axis order, any split of the work, and the masks' bits.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "sat/io/masks/bit_masks.h"
#include "sat/io/masks/restore.h"
#include "sat/io/scans/preprocess.h"
#include "sat/tensor/context.h"
#include "sat/tensor/memory/memory.h"
#include "tests/support/golden.h"

using namespace sat;
using namespace sat::test;

namespace {

using Point = std::array<double, 3>;
using Index = std::array<int64_t, 3>;

/// One of the 48 ways that array axes can follow the patient's: axis j follows patient axis order[j].
struct Turn {
  std::array<int, 3> order;
  std::array<bool, 3> mirrored;
};

std::vector<Turn> all_turns() {
  std::vector<Turn> turns;
  std::array<int, 3> order{0, 1, 2};
  do {
    for (int flips = 0; flips < 8; ++flips) turns.push_back({order, {(flips & 1) != 0, (flips & 2) != 0, flips > 3}});
  } while (std::next_permutation(order.begin(), order.end()));
  return turns;
}

/// A grid of patient-axis sizes and spacings, its axes turned, its middle at the patient's (11, -7, 30) mm.
Geometry turned_grid(const Turn& turn, const Index& size, const Point& spacing_mm, bool oblique) {
  const double a = oblique ? 0.21 : 0, b = oblique ? -0.14 : 0;  // radians, about the z and the x axis
  const double ca = std::cos(a), sa = std::sin(a), cb = std::cos(b), sb = std::sin(b);
  const double rotation[3][3] = {{ca, -sa * cb, sa * sb}, {sa, ca * cb, -ca * sb}, {0, sb, cb}};
  Geometry grid;
  Point half{};
  for (size_t j = 0; j < 3; ++j) {
    const size_t patient = size_t(turn.order[j]);
    grid.size[j] = size[patient];
    half[j] = double(grid.size[j] - 1) / 2;
    for (size_t r = 0; r < 3; ++r) {
      grid.voxel_to_world_mm.m[r][j] = rotation[r][patient] * spacing_mm[patient] * (turn.mirrored[j] ? -1 : 1);
    }
  }
  const Point middle = sat::apply(grid.voxel_to_world_mm, half), wanted{11, -7, 30};
  for (size_t r = 0; r < 3; ++r) grid.voxel_to_world_mm.m[r][3] = wanted[r] - middle[r];
  return grid;
}

template <class Value>
Tensor sampled(const Geometry& grid, Value value_at) {  // f32 [H, W, D] of a function of the position in mm
  Tensor values({grid.size[0], grid.size[1], grid.size[2]});
  float* out = values.data<float>();
  for (int64_t h = 0; h < grid.size[0]; ++h) {
    for (int64_t w = 0; w < grid.size[1]; ++w) {
      for (int64_t d = 0; d < grid.size[2]; ++d) {
        *out++ = float(value_at(sat::apply(grid.voxel_to_world_mm, {double(h), double(w), double(d)})));
      }
    }
  }
  return values;
}

double ball(const Point& p, const Point& centre, double radius) {  // millimetres inside
  return radius - std::hypot(p[0] - centre[0], p[1] - centre[1], p[2] - centre[2]);
}

/// A large ball with a small one on its right, front and top side: no mirror image and no exchange of axes is like it.
double organ(const Point& p) { return std::max(ball(p, {7, -9, 27}, 13), ball(p, {24, 0, 41}, 8)); }
double body(const Point& p) { return ball(p, {11, -7, 30}, 29); }

struct Agreement {
  double dice, centroid_mm;
};

Agreement compare(const BitMasks& masks, const Tensor& organ_values, const Geometry& grid) {
  int64_t both = 0, got = 0, want = 0, v = 0;
  Point of_got{}, of_want{};
  for (int64_t h = 0; h < grid.size[0]; ++h) {
    for (int64_t w = 0; w < grid.size[1]; ++w) {
      for (int64_t d = 0; d < grid.size[2]; ++d, ++v) {
        const bool in_mask = masks.get(0, h, w, d), in_organ = organ_values.data<float>()[v] > 0;
        const Point p = sat::apply(grid.voxel_to_world_mm, {double(h), double(w), double(d)});
        both += in_mask && in_organ, got += in_mask, want += in_organ;
        for (size_t a = 0; a < 3; ++a) of_got[a] += in_mask ? p[a] : 0, of_want[a] += in_organ ? p[a] : 0;
      }
    }
  }
  double squared = 0;
  for (size_t a = 0; a < 3; ++a) squared += std::pow(of_got[a] / double(got) - of_want[a] / double(want), 2);
  return {2 * double(both) / double(got + want), std::sqrt(squared)};
}

/// Scores of one prompt as restore_rows takes them.
Tensor as_scores(const Tensor& voxels) {
  return voxels.reshape({voxels.shape[0], voxels.shape[1], voxels.shape[2], 1});
}

void restore_all(BitMasks& out, const ModelGrid& grid, const Tensor& scores, float* const* probabilities = nullptr) {
  restore_rows(out, grid, scores, {0, 0, 0}, 0, 0, grid.model.size[0], 0, probabilities);
}

/// The definition, voxel by voxel: scores embedded at the crop in a volume of -1, sampled in double.
double reference_score(const ModelGrid& grid, const Tensor& scores, int64_t prompt, const Index& voxel) {
  const Point q = sat::apply(grid.scan_to_resampled, {double(voxel[0]), double(voxel[1]), double(voxel[2])});
  double sum = 0;
  for (int corner = 0; corner < 8; ++corner) {
    double weight = 1;
    int64_t at = 0;
    bool inside = true;
    for (size_t a = 0; a < 3; ++a) {
      const double clamped = std::clamp(q[a], 0.0, double(grid.resampled.size[a] - 1));
      const int64_t index = int64_t(std::floor(clamped)) + (corner >> a & 1);
      weight *= corner >> a & 1 ? clamped - std::floor(clamped) : 1 - (clamped - std::floor(clamped));
      inside = inside && index >= grid.crop[a][0] && index < grid.crop[a][1];
      at = at * grid.model.size[a] + index - grid.crop[a][0];
    }
    if (weight == 0) continue;
    sum += weight * (inside ? double(scores.data<float>()[at * scores.shape[3] + prompt]) : -1);
  }
  return sum;
}

/// Rows [first, last] of the scores along an axis, as a slab of their own.
Tensor slab_of(const Tensor& scores, int axis, int64_t first, int64_t last, int64_t prompt, int64_t prompts) {
  Shape shape = scores.shape.with(axis, std::min(last + 1, scores.shape[axis]) - first);
  shape[3] = prompts;
  Tensor slab(shape);
  float* out = slab.data<float>();
  for (int64_t h = 0; h < shape[0]; ++h) {
    for (int64_t w = 0; w < shape[1]; ++w) {
      for (int64_t d = 0; d < shape[2]; ++d) {
        Index at{h, w, d};
        at[size_t(axis)] += first;
        const int64_t v = (at[0] * scores.shape[1] + at[1]) * scores.shape[2] + at[2];
        for (int64_t p = 0; p < prompts; ++p) *out++ = scores.data<float>()[v * scores.shape[3] + prompt + p];
      }
    }
  }
  return slab;
}

struct Case {
  ModelGrid grid;
  Tensor scores;
};

/// An oblique scan whose crop lies inside the volume on some sides and reaches its border on others.
Case oblique_case(int64_t prompts) {
  const Geometry scan = turned_grid({{2, 0, 1}, {true, false, false}}, {31, 37, 21}, {1.3, 0.9, 2.4}, true);
  const Volume volume{sampled(scan, [](const Point& p) { return ball(p, {20, -7, 38}, 16); }), scan};
  Case c{preprocess(volume, {}).grid, {}};
  const Index& size = c.grid.model.size;
  c.scores = field("scores", {size[0], size[1], size[2], prompts}, 0.8, -0.2);
  return c;
}

}  // namespace

TEST_CASE("all 48 axis orders, not resampled: any mask comes back voxel for voxel") {
  for (const Turn& turn : all_turns()) {
    const Geometry scan = turned_grid(turn, {13, 11, 9}, {1, 1, 3}, false);
    Tensor voxels = field("intensities", {scan.size[0], scan.size[1], scan.size[2]}, 90, 100);
    const ModelGrid grid = preprocess({voxels, scan}, {}).grid;
    REQUIRE_FALSE(grid.resampled_any);
    CHECK(grid.model.size == Index{13, 11, 9});
    const Tensor wanted = field("any mask", voxels.shape, 1);

    // Which scan voxel lies at a model voxel follows from the two affines alone.
    const Affine to_scan = inverse(scan.voxel_to_world_mm);
    const Tensor scores = sampled(grid.model, [&](const Point& mm) {
      const Point index = sat::apply(to_scan, mm);
      const int64_t h = std::lround(index[0]), w = std::lround(index[1]), d = std::lround(index[2]);
      return wanted.data<float>()[(h * scan.size[1] + w) * scan.size[2] + d];
    });
    BitMasks masks(scan.size, 1);
    restore_all(masks, grid, as_scores(scores));
    int64_t different = 0, v = 0;
    for (int64_t h = 0; h < scan.size[0]; ++h) {
      for (int64_t w = 0; w < scan.size[1]; ++w) {
        for (int64_t d = 0; d < scan.size[2]; ++d, ++v)
          different += masks.get(0, h, w, d) != (wanted.data<float>()[v] > 0);
      }
    }
    CHECK(different == 0);
  }
}

TEST_CASE("all 48 axis orders, equal and unequal spacing, straight and oblique: a shape comes back in its place") {
  double least_dice = 1, most_mm = 0;
  for (const Turn& turn : all_turns()) {
    for (bool isotropic : {true, false}) {
      for (bool oblique : {false, true}) {
        const Geometry scan = isotropic ? turned_grid(turn, {42, 44, 40}, {1.6, 1.6, 1.6}, oblique)
                                        : turned_grid(turn, {70, 56, 26}, {0.9, 1.2, 2.6}, oblique);
        const Preprocessed model = preprocess({sampled(scan, body), scan}, {});
        REQUIRE(model.grid.resampled_any);
        CHECK(model.grid.model.voxels() < model.grid.resampled.voxels());  // the body does not fill the scan
        const Tensor scores =
            sampled(model.grid.model, [](const Point& p) { return std::clamp(organ(p) / 3, -1.0, 1.0); });
        BitMasks masks(scan.size, 1);
        restore_all(masks, model.grid, as_scores(scores));
        const Agreement found = compare(masks, sampled(scan, organ), scan);
        least_dice = std::min(least_dice, found.dice), most_mm = std::max(most_mm, found.centroid_mm);
      }
    }
  }
  CHECK(least_dice > 0.985);
  CHECK(most_mm < 0.1);
}

TEST_CASE("an exact mask of plus and minus one in the model's space comes back within half a model voxel") {
  const Geometry scan = turned_grid({{1, 2, 0}, {true, false, true}}, {70, 56, 26}, {0.9, 1.2, 2.6}, true);
  const ModelGrid grid = preprocess({sampled(scan, body), scan}, {}).grid;
  const Tensor scores = sampled(grid.model, [](const Point& p) { return organ(p) > 0 ? 1 : -1; });
  BitMasks masks(scan.size, 1);
  restore_all(masks, grid, as_scores(scores));
  const Agreement found = compare(masks, sampled(scan, organ), scan);
  CHECK(found.dice > 0.94);
  CHECK(found.centroid_mm < 0.3);
}

TEST_CASE("restoring by rows equals the whole-volume definition, probabilities too") {
  const Case c = oblique_case(3);
  const Index& size = c.grid.scan.size;
  CHECK(c.grid.crop[0][0] + c.grid.crop[1][0] + c.grid.crop[2][0] > 0);  // both kinds of border occur
  CHECK((c.grid.crop[0][1] == c.grid.resampled.size[0] || c.grid.crop[1][1] == c.grid.resampled.size[1] ||
         c.grid.crop[2][1] == c.grid.resampled.size[2]));
  Tensor first = zeros({size[0], size[1], size[2]}), last = zeros({size[0], size[1], size[2]});
  float* const probabilities[] = {first.data<float>(), nullptr, last.data<float>()};
  BitMasks masks(size, 3);
  restore_all(masks, c.grid, c.scores, probabilities);
  int64_t wrong_bits = 0, v = 0;
  double largest = 0;
  for (int64_t h = 0; h < size[0]; ++h) {
    for (int64_t w = 0; w < size[1]; ++w) {
      for (int64_t d = 0; d < size[2]; ++d, ++v) {
        for (int64_t p = 0; p < 3; ++p) {
          const double score = reference_score(c.grid, c.scores, p, {h, w, d});
          if (std::fabs(score) > 1e-6) wrong_bits += masks.get(p, h, w, d) != (score > 0);
          if (probabilities[p] != nullptr) {
            largest = std::max(largest, std::fabs(double(probabilities[p][v]) - (score + 1) / 2));
          }
        }
      }
    }
  }
  CHECK(wrong_bits == 0);
  CHECK(largest < 1e-6);
  for (int64_t p = 0; p < 3; ++p) CHECK(masks.count(p) > 100);
}

/// The score of a voxel to the bit: weights multiplied in double, then products summed in f32, corner by corner.
float exact_score(const ModelGrid& grid, const Tensor& scores, int64_t prompt, const Index& voxel) {
  const auto& m = grid.scan_to_resampled.m;
  std::array<double, 3> fraction{};
  Index lower{};
  for (size_t a = 0; a < 3; ++a) {
    const double line = m[a][0] * double(voxel[0]) + m[a][1] * double(voxel[1]) + m[a][3];
    const double q = std::clamp(line + m[a][2] * double(voxel[2]), 0.0, double(grid.resampled.size[a] - 1));
    lower[a] = int64_t(q);
    fraction[a] = q - double(lower[a]);
  }
  float inside = 0, outside = 0;
  std::array<float, 8> products{};
  size_t count = 0;
  for (int corner = 0; corner < 8; ++corner) {
    double weight = 1;
    int64_t at = 0;
    bool in_crop = true;
    for (size_t a = 0; a < 3; ++a) {
      const int upper = corner >> (2 - a) & 1;
      weight *= upper != 0 ? fraction[a] : 1 - fraction[a];
      const int64_t index = lower[a] + upper;
      in_crop = in_crop && index >= grid.crop[a][0] && index < grid.crop[a][1] && (upper == 0 || fraction[a] > 0);
      at = at * grid.model.size[a] + index - grid.crop[a][0];
    }
    if (in_crop) {
      products[count++] = float(weight) * scores.data<float>()[at * scores.shape[3] + prompt];
    } else {
      outside += float(weight);
    }
  }
  inside = -outside;
  for (size_t i = 0; i < count; ++i) inside += products[i];
  return inside;
}

TEST_CASE("every bit is that of the mean in f32, however ragged the scores, near 0 or so small that shares vanish") {
  for (const float scale : {1.f, 1e-6f, 1e-40f}) {
    const int64_t prompts = 37;  // two times sixteen, and five
    Case c = oblique_case(prompts);
    for (int64_t i = 0; i < c.scores.numel(); ++i) {
      float& score = c.scores.data<float>()[i];
      score = i / prompts % 29 < 9 ? std::fabs(score) * scale : score * scale;  // some are positive at all corners
    }
    const Index& size = c.grid.scan.size;
    BitMasks masks(size, prompts);
    restore_all(masks, c.grid, c.scores);
    int64_t wrong = 0;
    for (int64_t h = 0; h < size[0]; ++h) {
      for (int64_t w = 0; w < size[1]; ++w) {
        for (int64_t d = 0; d < size[2]; ++d) {
          for (int64_t p = 0; p < prompts; p += 3) {
            wrong += masks.get(p, h, w, d) != (exact_score(c.grid, c.scores, p, {h, w, d}) > 0);
          }
        }
      }
    }
    CAPTURE(scale);
    CHECK(wrong == 0);
    CHECK(masks.count(36) > 100);
  }
}

TEST_CASE("the same bits for any axis, rows a call, prompts a call and number of threads") {
  const int64_t prompts = 67;  // more than one word of 64
  const Case c = oblique_case(prompts);
  BitMasks whole(c.grid.scan.size, prompts);
  restore_all(whole, c.grid, c.scores);
  REQUIRE(whole.count(66) > 100);
  struct Split {
    int axis;
    int64_t rows, prompts;
    int threads;
  };
  for (const Split& split : {Split{0, 1, 67, 2}, Split{1, 1, 10, 3}, Split{2, 1, 66, 4}, Split{0, 7, 1, 1},
                             Split{1, 13, 67, 8}, Split{2, 2, 31, 1}}) {
    ContextOptions with;
    with.threads = split.threads;
    Context context(with);
    const UseContext use(context);
    BitMasks masks(c.grid.scan.size, prompts);
    for (int64_t prompt = 0; prompt < prompts; prompt += split.prompts) {
      const int64_t chunk = std::min(split.prompts, prompts - prompt);
      const int64_t rows = c.grid.model.size[size_t(split.axis)];
      for (int64_t first = 0; first < rows; first += split.rows) {
        const int64_t last = std::min(first + split.rows, rows);
        Index origin{};
        origin[size_t(split.axis)] = first;
        restore_rows(masks, c.grid, slab_of(c.scores, split.axis, first, last, prompt, chunk), origin, split.axis,
                     first, last, prompt);
      }
    }
    CHECK(mismatch(masks.bits, whole.bits, {}) == "");
  }
}

TEST_CASE("restoring takes eight bytes a voxel of the slab for every 64 prompts, as a dry run says") {
  const Case c = oblique_case(67);
  for (bool dry : {false, true}) {
    ContextOptions with;
    with.dry = dry;
    Context context(with);
    const UseContext use(context);
    BitMasks masks(c.grid.scan.size, 67);
    const int64_t before = context.memory()->live_bytes();
    restore_all(masks, c.grid, c.scores);
    CHECK(context.memory()->peak_bytes() == before + CachingAllocator::rounded(c.grid.model.voxels() * 2 * 8));
  }
}

TEST_CASE("in the model's own space the scores' signs are the mask") {
  const Case c = oblique_case(2);
  const ModelGrid own = model_space(c.grid);
  CHECK(own.scan.size == c.grid.model.size);
  BitMasks masks(own.scan.size, 2);
  restore_all(masks, own, c.scores);
  for (int64_t p = 0; p < 2; ++p) {
    const Tensor mask = masks.unpack(p);
    int64_t different = 0;
    for (int64_t v = 0; v < mask.numel(); ++v) {
      different += mask.data<uint8_t>()[v] != (c.scores.data<float>()[2 * v + p] > 0);
    }
    CHECK(different == 0);
  }
}

TEST_CASE("slabs that do not hold what is to be decided are refused") {
  const Case c = oblique_case(2);
  const Index& rows = c.grid.model.size;
  BitMasks masks(c.grid.scan.size, 2);
  const auto refused = [&](const Tensor& scores, Index origin, int axis, int64_t first, int64_t last, int64_t prompt) {
    CHECK_THROWS_AS(restore_rows(masks, c.grid, scores, origin, axis, first, last, prompt), Error);
  };
  refused(c.scores, {0, 0, 0}, 3, 0, rows[0], 0);
  refused(c.scores, {0, 0, 0}, 0, 0, rows[0] + 1, 0);
  refused(c.scores, {0, 0, 0}, 0, 2, 2, 0);
  refused(c.scores, {0, 0, 0}, 0, -1, 2, 0);
  refused(c.scores, {0, 0, 0}, 0, 0, rows[0], 1);
  refused(c.scores, {1, 0, 0}, 0, 1, rows[0], 0);
  refused(c.scores.slice(0, 3), {0, 0, 0}, 0, 0, 3, 0);  // row 3 is needed too
  refused(c.scores.reshape({rows[0], rows[1], rows[2] * 2}), {0, 0, 0}, 0, 0, rows[0], 0);
  BitMasks other({1, 2, 3}, 2);
  CHECK_THROWS_AS(restore_rows(other, c.grid, c.scores, {0, 0, 0}, 0, 0, rows[0], 0), Error);
}

TEST_CASE("bit masks count, box and unpack what was set, plane by plane") {
  BitMasks masks({4, 9, 15}, 3);
  CHECK(masks.plane_bytes == 24);  // 135 bits
  CHECK(masks.bits.bytes() == BitMasks::bytes_needed({4, 9, 15}, 3));
  masks.set(1, 0, 3, 4);
  masks.set(1, 2, 8, 14);
  masks.set(1, 2, 5, 2);
  masks.set(1, 2, 5, 2);
  CHECK(masks.get(1, 2, 8, 14));
  CHECK_FALSE(masks.get(1, 2, 8, 13));
  CHECK_FALSE(masks.get(0, 2, 8, 14));
  CHECK(masks.count(0) == 0);
  CHECK(masks.count(1) == 3);
  const VoxelBox box = masks.bounding_box(1);
  CHECK(box.start == Index{0, 3, 2});
  CHECK(box.end == Index{3, 9, 15});
  CHECK(masks.bounding_box(0).empty());
  CHECK(union_of(masks.bounding_box(0), box).end == box.end);
  CHECK(union_of({{1, 2, 3}, {4, 5, 6}}, {{0, 4, 3}, {2, 9, 5}}).start == Index{0, 2, 3});
  CHECK(union_of({{1, 2, 3}, {4, 5, 6}}, {{0, 4, 3}, {2, 9, 5}}).end == Index{4, 9, 6});
  std::vector<Index> set;
  for (int64_t h = 0; h < 4; ++h) {
    masks.for_each_set(1, h, [&](int64_t w, int64_t d) { set.push_back({h, w, d}); });
  }
  CHECK(set == std::vector<Index>{{0, 3, 4}, {2, 5, 2}, {2, 8, 14}});
  const Tensor unpacked = masks.unpack(1);
  CHECK(unpacked.shape == Shape{4, 9, 15});
  int64_t ones = 0;
  for (int64_t v = 0; v < unpacked.numel(); ++v) ones += unpacked.data<uint8_t>()[v];
  CHECK(ones == 3);
  CHECK(unpacked.data<uint8_t>()[(2 * 9 + 5) * 15 + 2] == 1);
  CHECK_THROWS_AS(masks.count(3), Error);
  CHECK_THROWS_AS(masks.unpack(-1), Error);
  CHECK_THROWS_AS(BitMasks({4, 0, 4}, 1), Error);
  CHECK_THROWS_AS(BitMasks({int64_t(1) << 31, int64_t(1) << 31, int64_t(1) << 31}, 1), Error);
}
