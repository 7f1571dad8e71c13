// The whole path on a tiny model: the same masks however they are made, memory as planned, and clear refusals.
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>

#include "sat/io/masks/restore.h"
#include "sat/nn/run/dry_run.h"
#include "sat/nn/run/segment_volume.h"
#include "sat/nn/run/session.h"
#include "sat/nn/text/embedding_bank.h"
#include "sat/tensor/memory/memory.h"
#include "tests/support/golden.h"
#include "tests/support/parity/sat_parity.h"
#include "tests/support/tiny_session.h"

using namespace sat;
using namespace sat::test;

namespace {

/// Scores by definition: every window's logits, sigmoids, weighted mean; no streaming.
Tensor whole_scores(const SatModel& model, const Tensor& volume, const Tensor& queries) {
  const std::array<int64_t, 3> size{volume.shape[0], volume.shape[1], volume.shape[2]}, box{16, 16, 8};
  const Tensor importance = importance_map(box, Rounding::f16);
  const int64_t prompts = queries.shape[0];
  std::vector<double> sums(size_t(volume.numel() * prompts)), weights(size_t(volume.numel()));
  for (const Window& window : sliding_windows(size, box)) {
    const Tensor logits = model.logits(cut_window(volume, window, box), queries);
    for (int64_t h = window.start[0]; h < window.end[0]; ++h) {
      for (int64_t w = window.start[1]; w < window.end[1]; ++w) {
        for (int64_t d = window.start[2]; d < window.end[2]; ++d) {
          const int64_t here = (h * size[1] + w) * size[2] + d;
          const int64_t there = ((h - window.start[0]) * 16 + w - window.start[1]) * 8 + d - window.start[2];
          const double g = double(importance.data<float>()[there]);
          weights[size_t(here)] += g;
          for (int64_t n = 0; n < prompts; ++n) {
            sums[size_t(here * prompts + n)] += g / (1 + std::exp(-double(logits.data<float>()[there * prompts + n])));
          }
        }
      }
    }
  }
  Tensor scores({size[0], size[1], size[2], prompts});
  for (int64_t i = 0; i < scores.numel(); ++i) {
    scores.data<float>()[i] = float(2 * sums[size_t(i)] / weights[size_t(i / prompts)] - 1);
  }
  return scores;
}

}  // namespace

TEST_CASE("rows leave with the same scores along any axis, however windows wait, and as defined") {
  const SatModel model(generated_weights(""), tiny_config());
  const Tensor queries = field("queries", {71, 12}, 1);
  const int64_t N = queries.shape[0];
  const TempDir folder;
  for (const std::array<int64_t, 3> size : {std::array<int64_t, 3>{37, 25, 13}, {16, 40, 5}, {7, 9, 26}, {17, 16, 9}}) {
    const Tensor volume = field("volume", {size[0], size[1], size[2]}, 1.5);
    const Tensor want = whole_scores(model, volume, queries);
    for (int axis = 0; axis < 3; ++axis) {
      Tensor before;
      for (Waiting waiting : {Waiting::scores, Waiting::features, Waiting::spilled}) {
        if (waiting == Waiting::spilled && axis != 0) continue;
        Tensor got = full(want.shape, NAN);
        std::vector<int64_t> decided(size_t(N), 0);
        segment_volume(model, volume, tiny_config().modality("mri"), queries, {axis, waiting, folder.path()},
                       [&](const Tensor& scores, const std::array<int64_t, 3>& origin, int64_t first, int64_t last,
                           int64_t first_prompt) {
                         const int64_t rows = size[size_t(axis)], prompts = scores.shape[3];
                         for (int64_t n = 0; n < prompts; ++n) {
                           CHECK(decided[size_t(first_prompt + n)] == first);  // rows come in order, once
                           decided[size_t(first_prompt + n)] = last;
                         }
                         for (int64_t v = 0; v < want.numel() / N; ++v) {
                           const std::array<int64_t, 3> at{v / (size[1] * size[2]), v / size[2] % size[1], v % size[2]};
                           const int64_t row = at[size_t(axis)];
                           if (row < first || row > std::min(last, rows - 1)) continue;
                           const int64_t here =
                               ((at[0] - origin[0]) * scores.shape[1] + at[1] - origin[1]) * scores.shape[2] + at[2] -
                               origin[2];
                           for (int64_t n = 0; n < prompts; ++n) {
                             got.data<float>()[v * N + first_prompt + n] = scores.data<float>()[here * prompts + n];
                           }
                         }
                       });
        CAPTURE(name_of(waiting));
        CHECK(mismatch(got, want, {0, 2e-5}) == "");
        if (!before.empty()) CHECK(mismatch(got, before, {}) == "");  // the same bits
        before = got;
        for (int64_t end : decided) CHECK(end == size[size_t(axis)]);
      }
    }
  }
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("half-width features with a pending norm wait in any way with the same scores") {
  const std::array<int64_t, 3> size{37, 20, 9}, box{16, 16, 8};
  const int64_t C = 5, N = 70;
  const TempDir folder;
  for (int axis = 0; axis < 3; ++axis) {
    std::vector<Tensor> found;
    for (Waiting waiting : {Waiting::scores, Waiting::features, Waiting::spilled}) {
      if (waiting == Waiting::spilled && axis != 0) continue;
      Tensor all = full({size[0], size[1], size[2], N}, NAN);
      Blender blender(size, box, Rounding::f16, N, {axis, waiting, folder.path()},
                      [&](const Tensor& scores, const std::array<int64_t, 3>& origin, int64_t first, int64_t last,
                          int64_t first_prompt) {
                        for (int64_t v = 0; v < size[0] * size[1] * size[2]; ++v) {
                          const std::array<int64_t, 3> at{v / (size[1] * size[2]), v / size[2] % size[1], v % size[2]};
                          if (at[size_t(axis)] < first || at[size_t(axis)] >= last) continue;
                          const int64_t here =
                              ((at[0] - origin[0]) * scores.shape[1] + at[1] - origin[1]) * scores.shape[2] + at[2] -
                              origin[2];
                          std::copy_n(scores.data<float>() + here * scores.shape[3], scores.shape[3],
                                      all.data<float>() + v * N + first_prompt);
                        }
                      });
      for (int64_t i = 0; i < blender.windows().size(); ++i) {
        const auto start = blender.windows()[i].start;
        const std::string name = std::to_string((start[0] * 100 + start[1]) * 100 + start[2]);
        blender.add({field("values" + name, {1, box[0], box[1], box[2], C}, 1).cast(DType::f16),
                     field("center" + name, {1, C}, 0.3), field("factor" + name, {1, C}, 0.5, 1),
                     field("shift" + name, {1, C}, 0.3), 0.01f},
                    field("masks" + name, {N, C}, 1));
      }
      CHECK((blender.scratch_bytes() > 0) == (waiting == Waiting::spilled));
      found.push_back(all);
      CHECK(mismatch(all, found[0], {}) == "");
    }
  }
}

TEST_CASE("features that find no room on disk are refused in one sentence") {
  const std::array<int64_t, 3> box{16, 16, 8};
  const RowSink nowhere = [](const Tensor&, const std::array<int64_t, 3>&, int64_t, int64_t, int64_t) {};
  Blender missing(box, box, Rounding::f32, 1, {0, Waiting::spilled, "no/such/folder"}, nowhere);
  CHECK_THROWS_WITH_AS(missing.add({zeros({1, 16, 16, 8, 2}), {}, {}, {}}, zeros({1, 2})),
                       doctest::Contains("cannot make a scratch file in no/such/folder"), Error);
  const TempDir folder;
  CHECK_THROWS_AS(ScratchFile(folder.path(), int64_t(1) << 60), Error);
  CHECK(std::filesystem::is_empty(folder.path()));
  ScratchFile small(folder.path(), 10);
  CHECK_THROWS_WITH_AS(small.write(8, "abc", 3), "scratch file: bytes 8 to 11 of 10", Error);
  small.write(7, "abc", 3);
  char back[4] = {};
  small.read(6, back, 4);
  CHECK(std::string(back, 4) == std::string("\0abc", 4));
}

TEST_CASE("masks have the same bits for any threads and any batch of prompts") {
  TinyFiles files;
  const Volume scan = tiny_scan({37, 30, 17});
  Segmentation first;
  for (int threads : {1, 2, 3, 4, 8}) {
    files.session.threads = threads;
    const Session session = files.open();
    const Segmentation all = session.run(scan, phrases(0, 40), run_options());
    if (first.prompts.empty()) first = all;
    CHECK(mismatch(all.masks.bits, first.masks.bits, {}) == "");
    CHECK(all.pairing_checked);
    const Segmentation some = session.run(scan, phrases(30, 33), run_options());
    for (int64_t n = 0; n < 3; ++n) {
      CHECK(mismatch(some.masks.bits.select(n), first.masks.bits.select(30 + n), {}) == "");
    }
  }
  int64_t positive = 0;
  for (int64_t n = 0; n < 40; ++n) positive += first.masks.count(n);
  CHECK(positive > 1000);
  CHECK(positive < 39 * 37 * 30 * 17);
}

TEST_CASE("measured memory stays below the plan, which is no exaggeration") {
  for (int64_t prompts : {3, 400}) {
    TinyFiles files(prompts);
    files.session.threads = 2;
    const Session session = files.open();
    UseContext use(session.context());
    const Volume scan = tiny_scan({60, 50, 40});
    const SegmentationPlan plan = session.plan(scan.geometry, run_options(), prompts);
    const Segmentation done = session.run(scan, phrases(0, prompts), run_options());
    CAPTURE(plan.tensor_bytes);
    CAPTURE(done.peak_bytes);
    CHECK(double(done.peak_bytes) <= 1.05 * double(plan.tensor_bytes));
    CHECK(double(done.peak_bytes) >= 0.8 * double(plan.tensor_bytes));
    CHECK(done.windows == plan.windows);
    CHECK((plan.waiting == Waiting::features) == (prompts == 400));
  }
}

TEST_CASE(
    "where a limit is too low for memory alone, features are spilled to the folder offered, with the same masks") {
  TinyFiles files(400);
  files.session.threads = 2;
  const std::array<int64_t, 3> size{60, 50, 40};
  const Geometry grid = tiny_scan(size).geometry;
  const auto plan = [&](int64_t max_ram, bool may_spill) {
    return plan_segmentation(tiny_config(), grid, run_options(), 400, {max_ram, kSpillAbove, may_spill});
  };
  const SegmentationPlan free = plan(0, true);
  CHECK(free.waiting == Waiting::features);
  CHECK(free.scratch_bytes == 0);
  CHECK(plan(free.process_bytes, true).waiting == Waiting::features);
  const int64_t limit = free.process_bytes - 1;
  CHECK_THROWS_WITH_AS(plan(limit, false), doctest::Contains("this run needs"), Error);
  const SegmentationPlan tight = plan(limit, true);
  CHECK(tight.waiting == Waiting::spilled);
  CHECK(tight.scratch_bytes > 0);
  CHECK(tight.tensor_bytes < free.tensor_bytes);

  const Volume scan = tiny_scan(size);
  const Segmentation before = files.open().run(scan, phrases(0, 400), run_options());
  files.model.max_ram = files.session.max_ram = tight.process_bytes;
  files.session.scratch = files.folder.path();
  const Session session = files.open();
  UseContext use(session.context());
  const Volume counted = tiny_scan(size);
  double last = 0;
  RunOptions run = run_options();
  run.on_progress = [&](const Progress& now) {
    CHECK(now.fraction >= last);
    last = now.fraction;
  };
  const Segmentation done = session.run(counted, phrases(0, 400), run);
  CHECK(done.plan.waiting == Waiting::spilled);
  CHECK(mismatch(done.masks.bits, before.masks.bits, {}) == "");
  CHECK(double(done.peak_bytes) <= 1.05 * double(tight.tensor_bytes));
  CHECK(double(done.peak_bytes) >= 0.8 * double(tight.tensor_bytes));
  CHECK(last == 1);
}

TEST_CASE("497 prompts on a large scan fit 6 GB with disk, and would not without") {
  Geometry scan;
  scan.size = {400, 400, 200};
  scan.voxel_to_world_mm.m[2][2] = 3;
  RunOptions run = run_options();
  run.modality = "ct";
  const auto plan = [&](bool may_spill) {
    return plan_segmentation(published_config("UNET"), scan, run, 497, {0, kSpillAbove, may_spill});
  };
  const SegmentationPlan spilled = plan(true), kept = plan(false);
  CHECK(spilled.waiting == Waiting::spilled);
  CHECK(double(spilled.process_bytes) < 6e9);
  CHECK(kept.waiting == Waiting::features);
  CHECK(kept.process_bytes > kSpillAbove);
}

TEST_CASE("memory grows by a bit a voxel and prompt, not by a float") {
  const SatConfig config = tiny_config();
  Geometry grid;
  grid.size = {200, 200, 60};
  grid.voxel_to_world_mm.m[2][2] = 3;
  const auto bytes = [&](int64_t prompts) {
    return plan_segmentation(config, grid, run_options(), prompts).tensor_bytes;
  };
  const double voxels = 200 * 200 * 60;
  CHECK(double(bytes(2000) - bytes(1000)) < 1000 * voxels / 8 * 2.0);
}

TEST_CASE("a limit is obeyed, or refused before anything is computed with the figure needed") {
  TinyFiles files;
  files.model.max_ram = files.session.max_ram = int64_t(100) << 20;
  const Session session = files.open();
  const Volume small = tiny_scan({20, 20, 10});
  CHECK(session.run(small, phrases(0, 2), run_options()).masks.prompts == 2);
  Geometry large;
  large.size = {400, 400, 200};
  CHECK_THROWS_WITH_AS(session.plan(large, run_options(), 40), doctest::Contains("this run needs"), Error);
  const std::shared_ptr<const Model> roomy = Model::open(files.model);
  files.model.max_ram = files.session.max_ram = (int64_t(96) << 20) + 1000;
  CHECK_THROWS_WITH_AS(files.open(), doctest::Contains("loading this model needs"), Error);
  CHECK_THROWS_WITH_AS(Session(roomy, files.session), doctest::Contains("less than the program and the model need"),
                       Error);
  files.model.machine_bytes = files.model.max_ram;
  files.model.max_ram = 0;
  CHECK_THROWS_WITH_AS(files.open(), doctest::Contains("loading this model needs"), Error);
  files.model.max_ram = 1000;
  CHECK_THROWS_WITH_AS(files.open(), doctest::Contains("less than the program itself needs"), Error);
}

TEST_CASE("the planned figure is enough as a limit") {
  TinyFiles files;
  const std::array<int64_t, 3> size{60, 50, 40};
  Geometry grid = tiny_scan(size).geometry;
  files.model.max_ram = files.session.max_ram = plan_segmentation(tiny_config(), grid, run_options(), 40).process_bytes;
  const Session session = files.open();
  UseContext use(session.context());
  const Volume scan = tiny_scan(size);
  CHECK(session.run(scan, phrases(0, 40), run_options()).masks.prompts == 40);
  CHECK_THROWS_WITH_AS(session.run(tiny_scan({60, 50, 44}), phrases(0, 40), run_options()),
                       doctest::Contains("this run needs"), Error);
}

TEST_CASE("progress grows to one, cancelling stops the run, and the session can be used again") {
  TinyFiles files;
  const Session session = files.open();
  const Volume scan = tiny_scan({37, 30, 17});
  RunOptions run = run_options();
  double last = 0;
  run.on_progress = [&](const Progress& now) {
    CHECK(now.fraction >= last);
    last = now.fraction;
  };
  session.run(scan, phrases(0, 2), run);
  CHECK(last == 1);
  run.on_progress = {};
  int asked = 0;
  run.cancelled = [&] { return ++asked > 20; };
  CHECK_THROWS_AS(session.run(scan, phrases(0, 2), run), Cancelled);
  CHECK(session.run(scan, phrases(0, 2), run_options()).masks.prompts == 2);
}

TEST_CASE("masks on both grids of one run are those of a run for each, and are planned") {
  const TinyFiles files;
  const Session session = files.open();
  Volume scan = tiny_scan({20, 18, 12});
  scan.geometry.voxel_to_world_mm.m[0][0] = 1.5;  // so that the grids differ
  RunOptions run = run_options();
  const Segmentation here = session.run(scan, phrases(0, 3), run);
  run.space = Space::model;
  const Segmentation there = session.run(scan, phrases(0, 3), run);
  run = run_options();
  const int64_t planned = session.plan(scan.geometry, run, 3).process_bytes;
  run.model_masks = true;
  CHECK(session.plan(scan.geometry, run, 3).process_bytes >= planned);
  const Segmentation both = session.run(scan, phrases(0, 3), run);
  CHECK(here.model_masks.prompts == 0);
  CHECK(both.masks.size != both.model_masks.size);
  CHECK(mismatch(both.masks.bits, here.masks.bits, {}) == "");
  CHECK(mismatch(both.model_masks.bits, there.masks.bits, {}) == "");
}

TEST_CASE("probabilities agree with the masks") {
  TinyFiles files;
  const Session session = files.open();
  const Volume scan = tiny_scan({37, 30, 17});
  std::vector<float> p(size_t(2 * scan.geometry.voxels()));
  RunOptions run = run_options();
  run.probabilities = [&](const Geometry& grid) {
    CHECK(grid.size == scan.geometry.size);
    return std::vector<float*>{p.data(), p.data() + grid.voxels()};
  };
  const Segmentation found = session.run(scan, phrases(0, 2), run);
  int64_t wrong = 0;
  for (int64_t n = 0; n < 2; ++n) {
    for (int64_t v = 0; v < scan.geometry.voxels(); ++v) {
      const float here = p[size_t(n * scan.geometry.voxels() + v)];
      const bool set = found.masks.get(n, v / (30 * 17), v / 17 % 30, v % 17);
      wrong += std::fabs(here - 0.5f) > 1e-6f && set != (here > 0.5f);
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("a run that is to be verified says what its precision costs on a window") {
  const TinyFiles files;
  const Volume scan = tiny_scan({40, 30, 14});
  const auto verified = [&](Precision precision) {
    ModelOptions options = files.model;
    options.precision = precision;
    RunOptions run = run_options();
    run.verify = true;
    const Segmentation found = Session(Model::open(options)).run(scan, phrases(0, 35), run);
    REQUIRE(found.verification);
    return *found.verification;
  };
  CHECK(verified(Precision::exact).largest_difference == 0);
  const Verification fast = verified(Precision::fast);
  CHECK(fast.largest_difference > 0);
  CHECK(fast.largest_difference <= 2e-2);
  CHECK(fast.changed <= 1e-2);
}

TEST_CASE("what cannot be segmented is refused by name") {
  TinyFiles files;
  const Session session = files.open();
  const Volume scan = tiny_scan({20, 20, 10});
  CHECK_THROWS_WITH_AS(session.run(scan, {}, run_options()), "there are no prompts", Error);
  CHECK_THROWS_WITH_AS(session.run(scan, {"spline"}, run_options()), doctest::Contains("spline"), Error);
  RunOptions unknown = run_options();
  unknown.modality = "xray";
  CHECK_THROWS_WITH_AS(session.run(scan, phrases(0, 1), unknown), doctest::Contains("xray"), Error);
  Volume hot = tiny_scan({20, 20, 10});
  hot.voxels.data<float>()[77] = NAN;
  CHECK_THROWS_AS(session.run(hot, phrases(0, 1), run_options()), Error);
}

TEST_CASE("a bank or text encoder of another model is refused") {
  TinyFiles files;
  EmbeddingBank bank = read_bank(files.model.bank);
  bank.text_identity = std::string(64, 'b');
  files.model.bank = files.folder / "other.safetensors";
  write_bank(files.model.bank, bank);
  CHECK_THROWS_WITH_AS(files.open(), doctest::Contains("does not belong to the model"), Error);
  bank.text_identity = std::string(64, 'a');
  bank.model_identity = std::string(64, 'c');
  write_bank(files.model.bank, bank);
  CHECK_THROWS_WITH_AS(files.open(), doctest::Contains("this bank was made for the model cccc"), Error);
}
