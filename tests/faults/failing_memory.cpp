// The Nth allocation fails, once or from then on, while a model is loaded, a scan read, segmented and written: always
// an error, never the end of the process, and what was asked is answered with the same bits as soon as there is memory.
// A program of its own, since it takes the place of the C library's malloc.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include "sat/sat.h"
#include "sat/tensor/memory/block_allocator.h"
#include "sat/tensor/parallel.h"
#include "tests/support/golden.h"
#include "tests/support/tiny_model.h"

extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
}

namespace {

std::atomic<int64_t> allocations{0};
std::atomic<int64_t> failing{0};  // this one fails; 0: none
std::atomic<bool> for_ever{false};

bool fails() {
  const int64_t count = ++allocations, first = failing;
  if (first == 0 || (for_ever ? count < first : count != first)) return false;
  errno = ENOMEM;
  return true;
}

/// From now on `first` is the allocation that fails; 0: none.
void fail_allocation(int64_t first, bool ever) {
  allocations = 0;
  for_ever = ever;
  failing = first;
}

}  // namespace

extern "C" {
void* malloc(size_t bytes) { return fails() ? nullptr : __libc_malloc(bytes); }
void* calloc(size_t count, size_t bytes) { return fails() ? nullptr : __libc_calloc(count, bytes); }
void* realloc(void* block, size_t bytes) { return fails() ? nullptr : __libc_realloc(block, bytes); }
void* aligned_alloc(size_t alignment, size_t bytes) { return fails() ? nullptr : __libc_memalign(alignment, bytes); }
int posix_memalign(void** block, size_t alignment, size_t bytes) {
  *block = fails() ? nullptr : __libc_memalign(alignment, bytes);
  return *block ? 0 : ENOMEM;
}
}

using namespace sat;
using namespace sat::test;

namespace {

constexpr unsigned kSecondsAChild = 60;

/// A model and a scan on disk, and what becomes of them.
struct Work {
  const std::string& folder;
  int threads;
  std::optional<Session> session = {};
  std::optional<NiftiScan> scan = {};

  void load() {
    ModelOptions options;
    options.model = folder + "/model.safetensors";
    options.bank = folder + "/bank.safetensors";
    options.threads = threads;
    SessionOptions of_session;
    of_session.threads = threads;
    if (!session) session.emplace(Model::open(options), of_session);
    const UseContext use(session->context());
    if (!scan) scan.emplace(read_nifti(folder + "/scan.nii.gz"));
  }
  /// The masks' bytes, which are also written.
  std::string run() {
    load();
    const UseContext use(session->context());
    RunOptions run;
    run.modality = "mri";
    const Segmentation found = session->run(scan->volume, {"prompt 0", "prompt 1", "prompt 7"}, run);
    write_nifti_mask(folder + "/mask.nii.gz", found.masks, 0, scan->header);
    return std::string(static_cast<const char*>(found.masks.bits.raw()), size_t(found.masks.bits.bytes()));
  }
};

void write_inputs(const std::string& folder) {
  write_tiny_model(folder + "/model.safetensors", folder + "/bank.safetensors", 8);
  const Volume scan = tiny_scan({24, 20, 9});
  write_nifti(folder + "/scan.nii.gz", scan.voxels, header_for(scan.geometry));
}

enum Outcome : int { succeeded = 20, memory_error, other_error, wrong_bits, unusable, foreign };
const std::map<int, std::string> kNames = {
    {succeeded, "the same masks"},
    {memory_error, "bad_alloc"},
    {other_error, "Error"},
    {wrong_bits, "other masks"},
    {unusable, "an object that cannot be used again"},
    {foreign, "some other exception"},
};

/// What a child process ends with: an Outcome, or the signal that ended it.
std::string in_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(kSecondsAChild);
    ::_exit(body());
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status));
  const auto name = kNames.find(WEXITSTATUS(status));
  return name == kNames.end() ? "status " + std::to_string(WEXITSTATUS(status)) : name->second;
}

int attempt(Work work, const std::string& expected, int64_t allocation, bool ever) {
  int outcome = succeeded;
  fail_allocation(allocation, ever);
  try {
    const std::string found = work.run();
    fail_allocation(0, false);
    if (found != expected) return wrong_bits;
  } catch (const std::bad_alloc&) {
    outcome = memory_error;
  } catch (const Error&) {
    outcome = other_error;
  } catch (...) {
    outcome = foreign;
  }
  fail_allocation(0, false);
  try {
    return work.run() == expected ? outcome : unusable;
  } catch (...) {
    return unusable;
  }
}

/// The ways in which sampled allocations end, each with the first that ended so.
std::map<std::string, std::string> ways_of_ending(int threads, bool ever, int64_t samples) {
  const TempDir folder;
  write_inputs(folder.path());
  std::map<std::string, std::string> ways;
  fail_allocation(0, false);
  const std::string expected = Work{folder.path(), threads}.run();
  const int64_t total = allocations;
  CHECK(total > samples);
  for (int64_t i = 0; i < samples; ++i) {
    const int64_t allocation = 1 + i * total / samples;
    const std::string way = in_child([&] { return attempt({folder.path(), threads}, expected, allocation, ever); });
    ways.emplace(way, "allocation " + std::to_string(allocation) + " of " + std::to_string(total));
  }
  return ways;
}

void check_ways(const std::map<std::string, std::string>& ways) {
  for (const auto& each : ways) {
    const std::string &way = each.first, &first = each.second;
    CAPTURE(first);
    const bool good = way == kNames.at(succeeded) || way == kNames.at(memory_error) || way == kNames.at(other_error);
    CHECK_MESSAGE(good, way);
  }
  CHECK(ways.count(kNames.at(memory_error)) == 1);
}

}  // namespace

TEST_CASE("an allocation that fails once is an error, and the same objects then give the same masks") {
  for (int threads : {1, 3}) check_ways(ways_of_ending(threads, false, 120));
}

TEST_CASE("memory that stays used up is an error, and the same objects give the same masks when there is some again") {
  for (int threads : {1, 3}) check_ways(ways_of_ending(threads, true, 120));
}

TEST_CASE("tensors are given back without any memory") {
  const std::string way = in_child([] {
    Context context;
    UseContext use(context);
    std::vector<Tensor> many;
    for (int64_t i = 0; i < 2000; ++i) many.emplace_back(Shape{i * i % 1777 + 1});
    for (int64_t i = 0; i < 2000; i += 3) many[size_t(i)] = Tensor();
    for (int64_t i = 0; i < 2000; i += 6) many[size_t(i)] = Tensor(Shape{i * i % 1777 + 1});
    fail_allocation(1, true);
    while (!many.empty()) many.pop_back();
    return int(succeeded);
  });
  CHECK(way == kNames.at(succeeded));
}

TEST_CASE("a device's blocks are given back without any memory, in any order") {
  const std::string way = in_child([] {
    BlockAllocator allocator(
        {[](int64_t bytes) { return __libc_malloc(size_t(bytes)); }, [](void* block) { std::free(block); }});
    allocator.reserve(1 << 20);
    std::vector<void*> blocks;
    for (int i = 0; i < 3000; ++i) blocks.push_back(allocator.allocate(512 * (i % 3 + 1)));
    fail_allocation(1, true);
    for (int i = 0; i < 3000; ++i)
      allocator.deallocate(blocks[size_t(i * 1777 % 3000)], 512 * (i * 1777 % 3000 % 3 + 1));
    const bool all_back = allocator.live_bytes() == 0;
    allocator.trim();
    return all_back && allocator.peak_bytes() >= 0 ? int(succeeded) : int(unusable);
  });
  CHECK(way == kNames.at(succeeded));
}

TEST_CASE("a thread pool that gets no memory for all of its threads works with fewer") {
  for (int64_t allocation = 1; allocation <= 20; ++allocation) {
    const std::string way = in_child([&] {
      std::atomic<int> ran{0};
      fail_allocation(allocation, true);
      try {
        ThreadPool pool(8);
        fail_allocation(0, false);
        pool.run(100, [&](int64_t) { ++ran; });
      } catch (const std::bad_alloc&) {
        return int(memory_error);
      }
      return ran == 100 ? int(succeeded) : int(unusable);
    });
    CAPTURE(allocation);
    CHECK((way == kNames.at(succeeded) || way == kNames.at(memory_error)));
  }
}
