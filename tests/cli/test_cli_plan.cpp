// `sat plan` from outside: what probabilities take, in words and in JSON.
#include <doctest/doctest.h>

#include "sat/io/nifti/nifti.h"
#include "sat/io/words/json.h"
#include "tests/support/golden.h"
#include "tests/support/program.h"

using namespace sat;
using namespace sat::test;

namespace {

/// A scan of zeros, 1 x 1 x 3 mm.
std::string write_scan(const std::string& path, const std::array<int64_t, 3>& size) {
  Geometry grid;
  grid.size = size;
  grid.voxel_to_world_mm.m[2][2] = 3;
  write_nifti(path, zeros({size[0], size[1], size[2]}, DType::u8), header_for(grid));
  return path;
}

}  // namespace

TEST_CASE("sat plan --save-probabilities tells what they take on disk, twice while a case is written") {
  const TempDir folder;
  const std::string scan = write_scan(folder / "scan.nii", {40, 36, 32});
  Words words{"plan", scan, "--modality", "ct", "--prompts-count", "100", "--architecture", "UNET"};
  const Ran without = sat_run(words);
  CHECK(without.status == 0);
  CHECK(!contains(without.out, "on disk"));
  words.push_back("--save-probabilities");
  const Ran with = sat_run(words);
  CHECK(with.status == 0);
  CHECK(contains(with.out, "on disk      36864000 bytes (36 MiB) for probabilities"));
  words.push_back("--json");
  CHECK(Json::parse(sat_run(words).out, "plan")["probability_bytes"].integer() == 18432000);
}
