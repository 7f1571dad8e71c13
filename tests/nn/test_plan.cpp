// Plans: quick for any number of windows, ended at once where that is asked for, and with all that goes to disk.
#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include "sat/io/files/disk_room.h"
#include "sat/nn/run/session.h"
#include "sat/tensor/context.h"
#include "sat/tensor/parallel.h"
#include "tests/support/golden.h"
#include "tests/support/tiny_model.h"

using namespace sat;
using namespace sat::test;

namespace {

RunOptions mri() {
  RunOptions run;
  run.modality = "mri";
  return run;
}

Geometry grid_of(const std::array<int64_t, 3>& size) {
  Geometry grid;
  grid.size = size;
  grid.voxel_to_world_mm.m[2][2] = 3;
  return grid;
}

ModelOptions tiny_files(const TempDir& folder) {
  ModelOptions options;
  options.model = folder / "model.safetensors";
  options.bank = folder / "bank.safetensors";
  write_tiny_model(options.model, options.bank, 8);
  return options;
}

}  // namespace

TEST_CASE("a flat scan of twelve thousand windows is planned in moments" * doctest::timeout(60)) {
  const SegmentationPlan plan = plan_segmentation(published_config("UNET"), grid_of({16000, 16000, 1}), mri(), 100);
  CHECK(plan.windows == 111 * 111);
  CHECK(plan.window == std::array<int64_t, 3>{288, 288, 96});
}

TEST_CASE("a scan of more than a million windows is refused by their number, before anything is planned") {
  CHECK_THROWS_WITH_AS(plan_segmentation(tiny_config(), grid_of({16000, 16000, 1}), mri(), 1),
                       "a volume of 16000 x 16000 x 1 voxels takes 1999 x 1999 x 1 windows of 16 x 16 x 8 voxels; at "
                       "most 1000000 are computed",
                       Error);
}

TEST_CASE("planning stops when it is told to, from the start and in the middle") {
  for (int most : {0, 1, 100, 5000}) {
    int asked = 0;
    ContextOptions options;
    options.threads = 1;
    options.cancelled = [&] { return ++asked > most; };
    Context context(options);
    UseContext use(context);
    CHECK_THROWS_AS(plan_segmentation(tiny_config(), grid_of({400, 400, 40}), mri(), 3), Cancelled);
    CHECK(asked == most + 1);
  }
}

TEST_CASE("a loop asks before every piece whether to go on, and only its caller's thread asks") {
  for (int threads : {1, 3}) {
    const auto caller = std::this_thread::get_id();
    std::atomic<int> asked{0}, elsewhere{0};
    ContextOptions options;
    options.threads = threads;
    options.cancelled = [&] {
      elsewhere += std::this_thread::get_id() != caller;
      return ++asked > 40;
    };
    Context context(options);
    UseContext use(context);
    std::atomic<int> ran{0};
    parallel_for(30, 1, [&](int64_t, int64_t) { ++ran; });
    CHECK(ran == 30);
    CHECK(elsewhere == 0);
    if (threads == 1) CHECK(asked == 31);
    const auto piece = [&](int64_t, int64_t) {
      ++ran;
      while (std::this_thread::get_id() != caller && asked <= 40) std::this_thread::yield();
    };
    CHECK_THROWS_AS(parallel_for(1000000, 1, piece), Cancelled);
    CHECK(ran < 1000030);
  }
}

TEST_CASE("loading a model stops when it is told to") {
  const TempDir folder;
  ModelOptions options = tiny_files(folder);
  options.cancelled = [] { return true; };
  CHECK_THROWS_AS(Model::open(options), Cancelled);
}

TEST_CASE("preprocessing a flat volume asks all the time whether to go on") {
  for (const std::array<int64_t, 3> size : {std::array<int64_t, 3>{1, 600, 600}, {600, 600, 1}, {600, 1, 600}}) {
    Volume scan{full({size[0], size[1], size[2]}, 1), grid_of(size)};
    scan.voxels.data<float>()[77] = 0;
    for (size_t axis = 0; axis < 3; ++axis) scan.geometry.voxel_to_world_mm.m[axis][axis] = 1.5;
    int asked = 0;
    ContextOptions options;
    options.threads = 1;
    options.cancelled = [&] { return ++asked, false; };
    Context context(options);
    UseContext use(context);
    const Preprocessed done = preprocess(scan, PreprocessOptions());
    CHECK(asked > done.voxels.numel() / (int64_t(1) << 16));
  }
}

TEST_CASE("probabilities count in the plan: on disk where they lie there, else in memory") {
  const auto plan = [](bool on_disk, bool wanted) {
    RunOptions run = mri();
    run.probabilities_on_disk = on_disk;
    if (wanted) run.probabilities = [](const Geometry&) { return std::vector<float*>(); };
    return plan_segmentation(tiny_config(), grid_of({40, 30, 20}), run, 5);
  };
  const int64_t bytes = int64_t(40) * 30 * 20 * 5 * 4;
  const SegmentationPlan none = plan(false, false), disk = plan(true, true), memory = plan(false, true);
  CHECK(none.probability_bytes == 0);
  CHECK(disk.probability_bytes == bytes);
  CHECK(disk.process_bytes == none.process_bytes);
  CHECK(memory.probability_bytes == 0);
  CHECK(memory.process_bytes == none.process_bytes + bytes);
}

TEST_CASE("a run hands over its plan before the first window, and can be refused then") {
  const TempDir folder;
  const Session session(Model::open(tiny_files(folder)));
  const Volume scan = tiny_scan({37, 30, 17});
  RunOptions run = mri();
  int plans = 0, reports = 0;
  run.on_progress = [&](const Progress& progress) { reports += progress.windows > 0; };
  run.on_plan = [&](const SegmentationPlan& plan) {
    ++plans;
    CHECK(plan.windows > 1);
    CHECK(reports == 0);
    fail("no room");
  };
  CHECK_THROWS_WITH_AS(session.run(scan, {"prompt 0"}, run), "no room", Error);
  CHECK(plans == 1);
  CHECK(reports == 0);
}

TEST_CASE("a disk with too little room is refused with the figures, needs of one disk together") {
  const TempDir folder;
  const int64_t huge = int64_t(1) << 60;
  CHECK_NOTHROW(check_disk_room({}));
  CHECK_NOTHROW(check_disk_room({{folder.path(), 1, "a byte"}, {"no/such/folder", 0, "nothing"}}));
  CHECK_THROWS_WITH_AS(
      check_disk_room({{folder.path(), huge, "masks"}}),
      doctest::Contains("this run needs 1152921504606846976 bytes of disk (1099511627776 MiB for masks in"), Error);
  CHECK_THROWS_WITH_AS(check_disk_room({{folder.path(), 1, "a byte"}, {folder.path(), huge - 1, "masks"}}),
                       doctest::Contains("needs 1152921504606846976 bytes"), Error);
  CHECK_THROWS_WITH_AS(check_disk_room({{"no/such/folder", 1, "a byte"}}),
                       doctest::Contains("cannot find the folder no/such/folder"), Error);
}
