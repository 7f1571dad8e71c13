// Fuzzes the zip reader: the directory, every member's bytes and checksum.
#include "sat/io/checkpoints/zip.h"

#include <memory>

#include "sat/io/checkpoints/checkpoint.h"
#include "sat/io/files/open_file.h"
#include "tests/fuzz/fuzz.h"

using namespace sat;
using namespace sat::test;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t count) {
  return try_input([&] {
    const CheckpointLimits limits;
    const ZipArchive archive(std::make_shared<OpenFile>(input_file("input.zip", bytes, count)), limits.header,
                             limits.entries());
    for (const auto& [name, member] : archive.members()) {
      must(int64_t(archive.bytes_of(member).size()) == member.size);
      try_input([&, &name = name, &member = member] { archive.check_crc(name, member); });
    }
  });
}
