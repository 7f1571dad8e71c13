// The cache: what lies in it is what the model would see, and whatever is wrong with sources or cache is noticed.
#include <doctest/doctest.h>

#include <sys/stat.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "sat/io/arrays/npy.h"
#include "sat/io/datasets/cache/case_cache.h"
#include "sat/io/files/file.h"
#include "sat/io/nifti/nifti.h"
#include "sat/io/scans/resample.h"
#include "tests/support/datasets/phantom.h"
#include "tests/support/golden.h"

using namespace sat;
using namespace sat::test;

namespace {

LabelledCase ball_case(const std::string& folder, const std::string& id) {
  LabelledCase one;
  one.id = one.patient = id;
  one.dataset = "balls";
  one.modality = "ct";
  one.image = folder + "/" + id + "_ct.nii.gz";
  const std::string labels = folder + "/" + id + "_label.nii.gz";
  one.structures = {{"ball", {labels}, {1}, {}}, {"small ball", {labels}, {2}, {}}, {"both", {labels}, {1, 2}, {}}};
  return one;
}

Tensor whole(const CachedCase& cached) { return cached.image({0, 0, 0}, cached.size()); }

bool in_mask(const CachedCase& cached, int64_t structure, const BitMasks& mask, int64_t h, int64_t w, int64_t d) {
  const VoxelBox& box = cached.structures()[size_t(structure)].box;
  for (const auto& [at, axis] : {std::pair{h, 0}, {w, 1}, {d, 2}}) {
    if (at < box.start[size_t(axis)] || at >= box.end[size_t(axis)]) return false;
  }
  return mask.get(0, h - box.start[0], w - box.start[1], d - box.start[2]);
}

void flip_byte(const std::string& path, int64_t at) {
  std::string bytes = read_file(path, 1 << 24);
  bytes[size_t(at < 0 ? int64_t(bytes.size()) + at : at)] ^= 0x40;
  write_file_atomically(path, bytes);
}

}  // namespace

TEST_CASE("a cached case has the voxels that the model sees, to half width, however the scan lies") {
  const TempDir folder;
  const CaseCache cache(folder / "cache");
  for (const char* axes : {"RAS", "LPS", "SLP"}) {
    CAPTURE(axes);
    write_phantom(folder.path(), axes, phantom(axes));
    const CachedCase cached = cache.open(ball_case(folder.path(), axes));
    const Preprocessed seen =
        preprocess(read_nifti(folder / (std::string(axes) + "_ct.nii.gz")).volume, published_preprocess("ct"));
    CHECK(cached.size() == seen.grid.model.size);
    CHECK(mismatch(whole(cached), seen.voxels, {1e-3, 1e-6}) == "");
  }
}

TEST_CASE("image and masks lie where the scan's spheres are, however the scan lies") {
  const TempDir folder;
  const CaseCache cache(folder / "cache");
  for (const std::string axes : {"RAS", "LPS", "SLP"}) {
    CAPTURE(axes);
    const Phantom made = phantom(axes);
    write_phantom(folder.path(), axes, made);
    const CachedCase cached = cache.open(ball_case(folder.path(), axes));
    const Affine to_world =
        preprocess({made.image(), made.geometry}, published_preprocess("ct")).grid.model.voxel_to_world_mm;
    const Tensor image = whole(cached);
    const float background = image.data<float>()[0];
    const auto& size = cached.size();
    for (size_t i = 0; i < 2; ++i) {
      const Sphere& sphere = made.spheres[i];
      const BitMasks mask = cached.mask(int64_t(i));
      std::array<double, 3> of_mask{}, of_image{};
      double set = 0, bright = 0;
      for (int64_t h = 0; h < size[0]; ++h) {
        for (int64_t w = 0; w < size[1]; ++w) {
          for (int64_t d = 0; d < size[2]; ++d) {
            const auto at = sat::apply(to_world, {double(h), double(w), double(d)});
            const auto& c = sphere.centre_mm;
            if (std::hypot(at[0] - c[0], at[1] - c[1], at[2] - c[2]) > sphere.radius_mm + 4) continue;
            const auto weight = double(image.data<float>()[(h * size[1] + w) * size[2] + d] - background);
            const double in = in_mask(cached, int64_t(i), mask, h, w, d) ? 1 : 0;
            set += in, bright += weight;
            for (size_t axis = 0; axis < 3; ++axis) of_mask[axis] += in * at[axis], of_image[axis] += weight * at[axis];
          }
        }
      }
      CHECK(set == double(cached.structures()[i].voxels));
      for (size_t axis = 0; axis < 3; ++axis) {  // half a voxel of 1 x 1 x 3 mm
        CHECK(std::fabs(of_mask[axis] / set - sphere.centre_mm[axis]) < 0.5);
        CHECK(std::fabs(of_image[axis] / bright - sphere.centre_mm[axis]) < 0.5);
      }
      CHECK(set == doctest::Approx(4.0 / 3 * 3.14159 * std::pow(sphere.radius_mm, 3) / 3).epsilon(0.2));
    }
  }
}

TEST_CASE("nearest resampling takes the voxel that rounding names, in any box") {
  Geometry geometry;
  geometry.size = {7, 6, 5};
  geometry.voxel_to_world_mm.m = {{{-1.5, 0, 0, 3}, {0, 2, 0, -4}, {0, 0, 2.5, 1}, {0, 0, 0, 1}}};
  Tensor labels({7, 6, 5});
  for (int64_t v = 0; v < labels.numel(); ++v) labels.data<float>()[v] = float(v);
  const AxisOrder order = axis_order(geometry.voxel_to_world_mm, "RAS");
  const SpacedGrid grid = space_grid(reorient(geometry, order), {1, 1, 3});
  const auto& size = grid.geometry.size;
  const Tensor all = resample_nearest(labels, order, grid, {{{0, size[0]}, {0, size[1]}, {0, size[2]}}});
  const Tensor some = resample_nearest(labels, order, grid, {{{2, 7}, {1, 9}, {1, 3}}});
  for (int64_t h = 0; h < size[0]; ++h) {
    for (int64_t w = 0; w < size[1]; ++w) {
      for (int64_t d = 0; d < size[2]; ++d) {
        const auto p = sat::apply(grid.to_source, {double(h), double(w), double(d)});
        const auto near = [](double x, int64_t n) {
          return int64_t(std::nearbyint(std::clamp(x, 0.0, double(n - 1))));
        };
        const int64_t at = ((6 - near(p[0], 7)) * 6 + near(p[1], 6)) * 5 + near(p[2], 5);  // axis 0 was flipped
        const float got = all.data<float>()[(h * size[1] + w) * size[2] + d];
        CHECK(got == float(at));
        if (h >= 2 && h < 7 && w >= 1 && w < 9 && d >= 1 && d < 3) {
          CHECK(some.data<float>()[((h - 2) * 8 + w - 1) * 2 + d - 1] == got);
        }
      }
    }
  }
}

TEST_CASE("any region of a cached case is the same part of the whole, and zero outside") {
  const TempDir folder;
  const Phantom wide = phantom("RAS", {0.5, 0.5, 2});  // more rows than a block has
  write_phantom(folder.path(), "a", wide);
  const CaseCache cache(folder / "cache", [](const std::string& modality) {
    PreprocessOptions options = published_preprocess(modality);
    options.spacing_mm = {0.5, 0.5, 2};
    return options;
  });
  const CachedCase cached = cache.open(ball_case(folder.path(), "a"));
  const Tensor all = whole(cached);
  const auto& n = cached.size();
  REQUIRE(n[1] > 64);
  using Sizes = std::array<int64_t, 3>;
  for (const auto& [start, size] : {std::pair{Sizes{0, 0, 0}, Sizes{3, 3, 3}},
                                    {Sizes{5, 31, 2}, Sizes{4, 2, 7}},
                                    {Sizes{n[0] - 2, 60, n[2] - 1}, Sizes{5, 40, 4}},
                                    {Sizes{-3, -1, -2}, Sizes{6, 70, 5}},
                                    {Sizes{n[0] + 5, 0, 0}, Sizes{2, 2, 2}}}) {
    const Tensor part = cached.image(start, size);
    int64_t wrong = 0;
    for (int64_t h = 0; h < size[0]; ++h) {
      for (int64_t w = 0; w < size[1]; ++w) {
        for (int64_t d = 0; d < size[2]; ++d) {
          const int64_t H = h + start[0], W = w + start[1], D = d + start[2];
          const bool inside = H >= 0 && H < n[0] && W >= 0 && W < n[1] && D >= 0 && D < n[2];
          const float want = inside ? all.data<float>()[(H * n[1] + W) * n[2] + D] : 0;
          wrong += part.data<float>()[(h * size[1] + w) * size[2] + d] != want;
        }
      }
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("boxes, counts and ranks of masks are those of their voxels") {
  const TempDir folder;
  write_phantom(folder.path(), "a", phantom());
  const CaseCache cache(folder / "cache");
  const CachedCase cached = cache.open(ball_case(folder.path(), "a"));
  REQUIRE(cached.structures().size() == 3);
  const BitMasks mask = cached.mask(2);
  CHECK(cached.structures()[2].voxels == mask.count(0));
  CHECK(cached.structures()[2].voxels == cached.structures()[0].voxels + cached.structures()[1].voxels);
  CHECK(cached.foreground().voxels == mask.count(0));
  int64_t rank = 0;
  for (int64_t h = 0; h < mask.size[0]; ++h) {
    mask.for_each_set(0, h, [&](int64_t w, int64_t d) {
      CHECK(voxel_of_rank(mask, rank++) == std::array<int64_t, 3>{h, w, d});
    });
  }
  CHECK_THROWS_AS(voxel_of_rank(mask, rank), Error);
}

TEST_CASE("a case is made once, again when a source or a setting changed, and again when its file is damaged") {
  const TempDir folder;
  write_phantom(folder.path(), "a", phantom());
  const CaseCache cache(folder / "cache");
  LabelledCase one = ball_case(folder.path(), "a");
  const std::string path = cache.path_of(one);
  const std::string key = cache.open(one).key(), made = read_file(path, 1 << 24);
  const auto changed = [&] {
    struct stat status {};
    REQUIRE(::stat(path.c_str(), &status) == 0);
    return std::pair(status.st_ino, status.st_mtim.tv_nsec);
  };
  const auto before = changed();
  cache.open(one);
  CHECK(changed() == before);

  for (int64_t at : {int64_t(0), int64_t(200), int64_t(made.size()) - 30, int64_t(-1), int64_t(-10)}) {
    CAPTURE(at);
    flip_byte(path, at);
    const CachedCase again = cache.open(one);
    if (at == 200) {  // voxels are checked when they are read
      CHECK_THROWS_WITH_AS(whole(again), doctest::Contains("voxels of plane 0 are damaged"), Error);
      cache.remake(one);
    }
    CHECK(read_file(path, 1 << 24) == made);
  }
  write_file_atomically(path, made.substr(0, made.size() / 2));
  cache.open(one);
  CHECK(read_file(path, 1 << 24) == made);

  Phantom other = phantom();
  other.spheres[0].intensity = 310;
  write_phantom(folder.path(), "a", other);
  CHECK(cache.open(one).key() != key);
  one.structures.pop_back();
  CHECK(cache.open(one).structures().size() == 2);
}

TEST_CASE("a damaged mask is noticed when it is read") {
  const TempDir folder;
  write_phantom(folder.path(), "a", phantom());
  const CaseCache cache(folder / "cache");
  const LabelledCase one = ball_case(folder.path(), "a");
  const std::string path = cache.path_of(one);
  const auto size = cache.open(one).size();
  const int64_t masks_at = 8 + size[0] * (size[1] * size[2] * 2 + (size[1] + 31) / 32 * 4);
  flip_byte(path, masks_at + 5);
  const CachedCase cached = cache.open(one);
  CHECK_THROWS_WITH_AS(cached.mask(0), doctest::Contains("the mask of ball is damaged"), Error);
  CHECK_NOTHROW(cached.mask(1));
}

TEST_CASE("what is wrong with a source is an error that names case and file") {
  const TempDir folder;
  const Phantom good = phantom();
  write_phantom(folder.path(), "a", good);
  const CaseCache cache(folder / "cache");
  const LabelledCase fine = ball_case(folder.path(), "a");
  std::vector<CaseProblem> problems;
  const auto reason = [&](const LabelledCase& one) {
    problems.clear();
    const auto prepared = prepare_cases(cache, {one, fine}, [&](const CaseProblem& p) { problems.push_back(p); });
    CHECK(prepared.size() == 1);  // the good one stays
    REQUIRE(problems.size() == 1);
    CHECK(problems[0].reason.find("case a of balls: ") == 0);
    CHECK_THROWS_AS(prepare_cases(cache, {one}, {}), Error);
    return problems[0].reason;
  };
  const NiftiHeader header = header_for(good.geometry);
  const std::string labels = folder / "other_label.nii.gz";
  LabelledCase bad = fine;
  for (StructureSource& source : bad.structures) source.paths = {labels};

  CHECK(reason(bad).find("other_label.nii.gz") != std::string::npos);  // missing

  Phantom elsewhere = good;
  elsewhere.geometry.voxel_to_world_mm.m[0][3] += 4;
  write_nifti(labels, good.labels(), header_for(elsewhere.geometry));
  CHECK(reason(bad).find("lies elsewhere than its scan") != std::string::npos);

  Phantom smaller = good;
  smaller.geometry.size[1] -= 1;
  write_nifti(labels, smaller.labels(), header_for(smaller.geometry));
  CHECK(reason(bad).find("voxels, and its scan") != std::string::npos);

  Tensor voxels = good.labels();
  voxels.data<uint8_t>()[11] = 7;
  write_nifti(labels, voxels, header);
  CHECK(reason(bad).find("holds the value 7, which belongs to no label") != std::string::npos);
  bad.ignored = {7};
  CHECK_NOTHROW(cache.open(bad));
  bad.ignored = {};

  Tensor broken = good.image();
  broken.data<float>()[5] = 0.5f;
  write_nifti(labels, broken, header);
  CHECK(reason(bad).find("holds 40, which is no label") == std::string::npos);  // 40 is whole, 0.5 is not
  CHECK(reason(bad).find("holds 0.5, which is no label") != std::string::npos);

  broken.data<float>()[5] = std::numeric_limits<float>::quiet_NaN();
  write_nifti(labels, broken, header);
  CHECK(reason(bad).find("1 voxels are not finite numbers") != std::string::npos);

  write_nifti(folder / "nan_ct.nii.gz", broken, header);
  LabelledCase nan_image = fine;
  nan_image.image = folder / "nan_ct.nii.gz";
  CHECK(reason(nan_image).find("nan_ct.nii.gz: 1 voxels are not finite numbers") != std::string::npos);

  write_file_atomically(folder / "text_ct.nii.gz", "no scan");
  LabelledCase no_scan = fine;
  no_scan.image = folder / "text_ct.nii.gz";
  CHECK(reason(no_scan).find("text_ct.nii.gz") != std::string::npos);
}

TEST_CASE("a structure without voxels is refused, absent or unlabelled, as the case says") {
  const TempDir folder;
  Phantom one_ball = phantom();
  one_ball.spheres.pop_back();
  write_phantom(folder.path(), "a", one_ball);
  const CaseCache cache(folder / "cache");
  LabelledCase one = ball_case(folder.path(), "a");
  one.empty = EmptyLabel::refuse;
  CHECK_THROWS_WITH_AS(cache.open(one), doctest::Contains("'small ball' has no voxel"), Error);
  one.empty = EmptyLabel::absent;
  {
    const CachedCase cached = cache.open(one);
    REQUIRE(cached.structures().size() == 3);
    CHECK(cached.structures()[1].voxels == 0);
    CHECK(cached.unlabelled().empty());
    CHECK_THROWS_WITH_AS(cached.mask(1), doctest::Contains("small ball has no mask"), Error);
  }
  one.empty = EmptyLabel::unlabelled;
  const CachedCase cached = cache.open(one);
  CHECK(cached.structures().size() == 2);
  CHECK(cached.unlabelled() == std::vector<std::string>{"small ball"});
  one.structures = {one.structures[1]};
  one.ignored = {1};
  CHECK_THROWS_WITH_AS(cache.open(one), doctest::Contains("nothing is labelled"), Error);
}

TEST_CASE("a structure too small for the model's grid is unlabelled there, with a warning") {
  const TempDir folder;
  Phantom tiny = phantom("RAS", {2, 1.5, 0.5});
  write_phantom(folder.path(), "a", tiny);
  Tensor labels = tiny.labels();
  for (int64_t v = 0; v < labels.numel(); ++v) {
    if (labels.data<uint8_t>()[v] == 2) labels.data<uint8_t>()[v] = 0;
  }
  const auto& n = tiny.geometry.size;
  labels.data<uint8_t>()[(5 * n[1] + 5) * n[2] + 4] = 2;  // between two planes of the model's, 6 scan planes apart
  write_nifti(folder / "a_label.nii.gz", labels, header_for(tiny.geometry));
  const CaseCache cache(folder / "cache");
  const CachedCase cached = cache.open(ball_case(folder.path(), "a"));
  CHECK(cached.unlabelled() == std::vector<std::string>{"small ball"});
  REQUIRE(cached.warnings().size() == 1);
  CHECK(cached.warnings()[0].find("'small ball' has voxels in the scan and none on the model's grid") == 0);
}

TEST_CASE("masks in files of their own are the same as a label map, and unions of them") {
  const TempDir folder;
  const Phantom made = phantom();
  write_phantom(folder.path(), "a", made);
  const Tensor labels = made.labels();
  for (int value : {1, 2}) {
    Tensor mask = zeros(labels.shape, DType::u8);
    for (int64_t v = 0; v < mask.numel(); ++v) mask.data<uint8_t>()[v] = labels.data<uint8_t>()[v] == value ? 255 : 0;
    write_nifti(folder / ("m" + std::to_string(value) + ".nii.gz"), mask, header_for(made.geometry));
  }
  const CaseCache cache(folder / "cache");
  LabelledCase maps = ball_case(folder.path(), "a"), masks = maps;
  masks.id = "b";
  masks.structures = {{"ball", {folder / "m1.nii.gz"}, {}, {}},
                      {"small ball", {folder / "m2.nii.gz"}, {}, {}},
                      {"both", {folder / "m1.nii.gz", folder / "m2.nii.gz"}, {}, {}}};
  const CachedCase a = cache.open(maps), b = cache.open(masks);
  for (int64_t i = 0; i < 3; ++i) {
    const BitMasks from_map = a.mask(i), from_mask = b.mask(i);
    CHECK(a.structures()[size_t(i)].box.start == b.structures()[size_t(i)].box.start);
    CHECK(from_map.size == from_mask.size);
    CHECK(std::memcmp(from_map.bits.raw(), from_mask.bits.raw(), size_t(from_map.bits.bytes())) == 0);
  }
}

TEST_CASE("a converted record is taken as it is") {
  const TempDir folder;
  const Tensor image = field("converted", {1, 9, 8, 7}, 1.5);
  write_npy(folder / "x.npy", image);
  Tensor mask = zeros({3, 2, 4}, DType::boolean);
  mask.data<bool>()[0] = mask.data<bool>()[23] = true;
  write_npy(folder / "liver.npy", mask);
  LabelledCase one;
  one.id = "x", one.dataset = "d", one.modality = "mri", one.image = folder / "x.npy", one.converted = true;
  one.structures = {{"liver", {folder / "liver.npy"}, {}, VoxelBox{{2, 3, 1}, {5, 5, 5}}}, {"spleen", {}, {}, {}}};
  const CaseCache cache(folder / "cache");
  const CachedCase cached = cache.open(one);
  CHECK(mismatch(whole(cached), image.select(0), {1e-3, 1e-6}) == "");
  CHECK(cached.structures()[0].voxels == 2);
  CHECK(in_mask(cached, 0, cached.mask(0), 2, 3, 1));
  CHECK(in_mask(cached, 0, cached.mask(0), 4, 4, 4));
  CHECK(cached.structures()[1].voxels == 0);

  one.structures[0].box = VoxelBox{{2, 3, 1}, {5, 5, 6}};
  CHECK_THROWS_WITH_AS(cache.open(one), doctest::Contains("liver.npy: holds [3, 2, 4]"), Error);
  one.structures[0].box = VoxelBox{{7, 3, 1}, {10, 5, 5}};
  CHECK_THROWS_WITH_AS(cache.open(one), doctest::Contains("its box ends at 10 of 9"), Error);
  Tensor broken = image.clone();
  broken.data<float>()[3] = std::numeric_limits<float>::quiet_NaN();
  write_npy(folder / "x.npy", broken);
  CHECK_THROWS_WITH_AS(cache.open(one), doctest::Contains("x.npy: holds nan"), Error);
}
