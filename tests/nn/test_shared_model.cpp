// One model that several sessions run at the same time: equal bits, and weights once in memory. Built with the thread
// sanitizer too (sat_thread_tests).
#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include "sat/nn/run/dry_run.h"
#include "sat/tensor/memory/memory.h"
#include "tests/support/tiny_session.h"

using namespace sat;
using namespace sat::test;

TEST_CASE("two sessions run one model at the same time, with the masks of one alone and the weights once in memory") {
  TinyFiles files;
  files.session.threads = 2;
  const Volume scans[] = {tiny_scan({37, 30, 17}), tiny_scan({30, 22, 25})};
  const auto asked = [](size_t which) { return phrases(int64_t(5 * which), int64_t(5 * which + 30)); };
  Segmentation alone[2];
  for (const size_t which : {0, 1}) alone[which] = files.open().run(scans[which], asked(which), run_options());

  const std::shared_ptr<const Model> model = Model::open(files.model);
  CHECK(model.use_count() == 1);
  int64_t live[2] = {-1, -1}, opened[2] = {-1, -1};
  Segmentation together[2];
  std::atomic<int> ready{0};
  const auto work = [&](size_t which) {
    const Session session(model, files.session);
    opened[which] = session.context().memory()->live_bytes();
    for (++ready; ready < 2;) std::this_thread::yield();
    for (int again = 0; again < 3; ++again) together[which] = session.run(scans[which], asked(which), run_options());
    live[which] = session.context().memory()->live_bytes();
  };
  std::thread other(work, 1);
  work(0);
  other.join();
  for (const size_t which : {0, 1}) {
    CHECK(mismatch(together[which].masks.bits, alone[which].masks.bits, {}) == "");
    CHECK(opened[which] == 0);  // a session has no weights of its own
    const int64_t kept = live[which] - together[which].masks.bits.bytes();
    CHECK(kept < model->bytes().on_host / 4);
  }
  CHECK(model->bytes().on_host > 0);
}
