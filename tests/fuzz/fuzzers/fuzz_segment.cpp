// Fuzzes the whole path: a hostile scan through a tiny model to a written mask.
#include <memory>

#include "sat/io/files/file.h"
#include "sat/io/nifti/nifti.h"
#include "sat/nn/run/session.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/tiny_model.h"

using namespace sat;
using namespace sat::test;

namespace {

constexpr int64_t kMostWindowsHere = 4;  // more would be tried too seldom

struct Engine {
  TempDir folder;
  std::unique_ptr<Session> session;

  Engine() {
    ModelOptions options;
    options.model = folder / "model.safetensors";
    options.bank = folder / "bank.safetensors";
    options.threads = 1;
    SessionOptions of_session;
    of_session.threads = 1;
    of_session.max_ram = options.max_ram = int64_t(256) << 20;
    write_tiny_model(options.model, options.bank, 3);
    session = std::make_unique<Session>(Model::open(options), of_session);
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t count) {
  static const Engine engine;
  const std::string path = input_file(is_gzip(bytes, int64_t(count)) ? "scan.nii.gz" : "scan.nii", bytes, count);
  return try_input([&] {
    RunOptions run;
    run.modality = "ct";
    const SegmentationPlan plan = engine.session->plan(read_nifti_header(path).geometry, run, 2);
    if (plan.windows > kMostWindowsHere) return;
    const UseContext use(engine.session->context());
    const NiftiScan scan = read_nifti(path);
    const Segmentation found = engine.session->run(scan.volume, {"prompt 0", "prompt 2"}, run);
    must(found.masks.size == scan.volume.geometry.size && found.windows <= plan.windows);
    write_nifti_mask(engine.folder / "mask.nii.gz", found.masks, 1, scan.header);
    must(read_nifti_header(engine.folder / "mask.nii.gz").geometry.size == scan.volume.geometry.size);
  });
}
