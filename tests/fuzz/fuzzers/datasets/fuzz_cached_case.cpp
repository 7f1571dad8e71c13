// Fuzzes cached cases. The input is a file's inside without the bytes before and after: two bytes that say how long the
// voxels and masks are, these, and the table. What stands around them is made to fit, or no table would be looked at.
#include <cstring>

#include "sat/io/datasets/cache/cached_case.h"
#include "sat/io/files/file.h"
#include "tests/fuzz/fuzz.h"

using namespace sat;
using namespace sat::test;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t count) {
  if (count < 2) return 0;
  const auto parts = std::min(count - 2, size_t(bytes[0]) | size_t(bytes[1]) << 8);
  const std::string inside(reinterpret_cast<const char*>(bytes) + 2, count - 2), table = inside.substr(parts);
  const auto length = int64_t(table.size());
  const uint32_t crc = crc32(table.data(), length);
  std::string tail(12, '\0');
  std::memcpy(tail.data(), &length, sizeof length);
  std::memcpy(tail.data() + 8, &crc, sizeof crc);
  const std::string whole = "SATCASE1" + inside + tail + "SATCASE1";
  const std::string path = input_file("x.case", reinterpret_cast<const uint8_t*>(whole.data()), whole.size());
  return try_input([&] {
    const CachedCase cached(path);
    for (int64_t along : cached.size()) must(along >= 1);
    try_input([&] { must(cached.image({-1, 0, 1}, {3, 4, 2}).numel() == 24); });
    for (size_t i = 0; i < cached.structures().size(); ++i) {
      try_input([&] {
        const BitMasks mask = cached.mask(int64_t(i));
        const auto& structure = cached.structures()[i];
        const auto at = voxel_of_rank(mask, structure.voxels - 1);
        for (size_t axis = 0; axis < 3; ++axis) must(at[axis] + structure.box.start[axis] < cached.size()[axis]);
      });
    }
  });
}
