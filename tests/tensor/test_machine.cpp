// What the system grants a process, read from forged trees of its files; what is made of it; and stopping at once.
#include "sat/tensor/memory/machine.h"

#include <doctest/doctest.h>
#include <sched.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "sat/io/files/file.h"
#include "sat/io/files/hash.h"
#include "sat/nn/run/plan.h"
#include "sat/tensor/context.h"
#include "sat/tensor/memory/memory.h"
#include "sat/tensor/parallel.h"
#include "tests/support/golden.h"
#include "tests/support/tiny_model.h"

namespace sat::test {

namespace {

/// A folder that stands for "/".
struct Root {
  TempDir folder;
  void put(const std::string& path, const std::string& text) const {
    std::filesystem::create_directories(folder_of(folder / path));
    write_file_atomically(folder / path, text);
  }
  const std::string& path() const { return folder.path(); }
};

constexpr int64_t kGiga = int64_t(1) << 30;

}  // namespace

TEST_CASE("a processor quota of version 2 is the least of all groups up to the mount, and is rounded up") {
  const Root root;
  CHECK(processor_quota(root.path()) == 0);
  root.put("proc/self/cgroup", "0::/job/step\n");
  CHECK(processor_quota(root.path()) == 0);
  root.put("sys/fs/cgroup/job/step/cpu.max", "max 100000\n");
  CHECK(processor_quota(root.path()) == 0);
  root.put("sys/fs/cgroup/job/cpu.max", "350000 100000\n");
  CHECK(processor_quota(root.path()) == 3.5);
  root.put("sys/fs/cgroup/job/step/cpu.max", "50000 100000\n");
  CHECK(processor_quota(root.path()) == 0.5);
  CHECK(usable_processors(root.path()) == 1);
  root.put("sys/fs/cgroup/job/step/cpu.max", "nonsense\n");
  CHECK(processor_quota(root.path()) == 3.5);
}

TEST_CASE("a processor quota of version 1 is found where a container hides the path") {
  const Root root;
  root.put("proc/self/cgroup", "9:name=systemd:/\n4:cpu,cpuacct:/docker/0123\n3:memory:/docker/0123\n");
  root.put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  root.put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  CHECK(processor_quota(root.path()) == 0);
  root.put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "150000\n");
  CHECK(processor_quota(root.path()) == 1.5);
}

TEST_CASE("the memory limit is the least of the machine's and the groups', and says which") {
  const Root root;
  CHECK(memory_limit(root.path()).bytes == 0);
  root.put("proc/meminfo", "MemTotal:       16777216 kB\nMemFree: 1 kB\n");
  CHECK(memory_limit(root.path()).bytes == 16 * kGiga);
  CHECK(memory_limit(root.path()).source == root.path() + "/proc/meminfo");
  root.put("proc/self/cgroup", "3:memory:/slurm/job_7/step_0\n0::/slurm\n");
  root.put("sys/fs/cgroup/memory/slurm/job_7/step_0/memory.limit_in_bytes", "9223372036854771712\n");
  CHECK(memory_limit(root.path()).bytes == 16 * kGiga);
  const std::string parent = "sys/fs/cgroup/memory/slurm/job_7/memory.limit_in_bytes";
  root.put(parent, std::to_string(4 * kGiga) + "\n");
  CHECK(memory_limit(root.path()).bytes == 4 * kGiga);
  CHECK(memory_limit(root.path()).source == root.path() + "/" + parent);
  root.put("sys/fs/cgroup/slurm/memory.max", "max\n");
  CHECK(memory_limit(root.path()).bytes == 4 * kGiga);
  root.put("sys/fs/cgroup/slurm/memory.max", std::to_string(2 * kGiga) + "\n");
  CHECK(memory_limit(root.path()).bytes == 2 * kGiga);
  root.put("proc/self/cgroup", "0::/../elsewhere\n");
  root.put("sys/fs/cgroup/memory.max", std::to_string(kGiga) + "\n");
  CHECK(memory_limit(root.path()).bytes == kGiga);
}

TEST_CASE("a context without a number of threads has as many as the affinity mask allows") {
  CHECK(memory_limit().bytes > 0);
  cpu_set_t before, one;
  REQUIRE(::sched_getaffinity(0, sizeof before, &before) == 0);
  CPU_ZERO(&one);
  for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++i) {
    if (CPU_ISSET(i, &before)) CPU_SET(i, &one);
  }
  CHECK(usable_processors() <= CPU_COUNT(&before));
  REQUIRE(::sched_setaffinity(0, sizeof one, &one) == 0);
  const int allowed = usable_processors(), threads = Context().threads().size();
  ::sched_setaffinity(0, sizeof before, &before);
  CHECK(allowed == 1);
  CHECK(threads == 1);
}

TEST_CASE("an op stops between its pieces, and hashing and writing stop, when the user wants to") {
  const TempDir folder;
  write_file_atomically(folder / "bytes", std::string(1000, 'x'));
  std::atomic<bool> stop{false};
  ContextOptions options;
  options.threads = 2;
  options.cancelled = [&] { return stop.load(); };
  Context context(options);
  UseContext use(context);
  std::atomic<int64_t> done{0};
  const auto body = [&](int64_t, int64_t) {
    stop = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    ++done;
  };
  CHECK_THROWS_AS(parallel_for(1000, 1, body), Cancelled);
  CHECK(done < 100);
  CHECK_THROWS_AS(sha256_of_file(folder / "bytes"), Cancelled);
  CHECK_THROWS_AS(write_file_atomically(folder / "fresh", "text"), Cancelled);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("features go to disk above what the caller says, and want of memory is an error of its own kind") {
  Geometry scan;
  scan.size = {60, 50, 40};
  scan.voxel_to_world_mm.m[2][2] = 3;
  RunOptions run;
  run.modality = "mri";
  const auto plan = [&](const PlanLimits& limits) { return plan_segmentation(tiny_config(), scan, run, 40, limits); };
  const SegmentationPlan roomy = plan({0, kSpillAbove, true});
  CHECK(roomy.waiting != Waiting::spilled);
  CHECK(plan({0, roomy.process_bytes - 1, true}).waiting == Waiting::spilled);
  CHECK(plan({0, roomy.process_bytes - 1, false}).waiting != Waiting::spilled);
  CHECK_THROWS_AS(plan({roomy.process_bytes - 1, kSpillAbove, false}), MemoryError);
  CachingAllocator capped(1000);
  CHECK_THROWS_AS(capped.allocate(2000), MemoryError);
}

TEST_CASE("a dry run stops when the user wants to") {
  ContextOptions options;
  int64_t asked = 0;
  options.cancelled = [&] { return ++asked > 5; };
  options.threads = 1;
  Context context(options);
  UseContext use(context);
  Geometry scan;
  scan.size = {200, 200, 60};
  RunOptions run;
  run.modality = "mri";
  CHECK_THROWS_AS(plan_segmentation(tiny_config(), scan, run, 4), Cancelled);
}

}  // namespace sat::test
