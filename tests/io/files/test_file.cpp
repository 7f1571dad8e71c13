// Files are read within bounds, replaced whole or not at all, and gzip holds what was put in or says why not.
#include "sat/io/files/file.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <csignal>
#include <filesystem>

#include "sat/tensor/context.h"
#include "tests/support/golden.h"

namespace sat {
namespace {

using namespace test;

/// The message of the Error that `body` throws, or "" if it throws none.
template <class Body>
std::string error_of(Body body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string text_of(int64_t bytes) {
  std::string text;
  for (int64_t i = 0; int64_t(text.size()) < bytes; ++i) text += std::to_string(i * i % 10007) + " ";
  return text.substr(0, size_t(bytes));
}

std::string inflate_all(const std::string& gzip, int64_t step = 1000) {
  GzipReader reader(reinterpret_cast<const uint8_t*>(gzip.data()), int64_t(gzip.size()), "test.gz");
  std::string out, part(size_t(step), '\0');
  for (int64_t got = step; got == step;) {
    got = reader.read(part.data(), step);
    out.append(part, 0, size_t(got));
  }
  reader.finish(0);
  return out;
}

std::string gzip_of(const std::string& bytes, int level = 6, size_t step = size_t(-1)) {
  const TempDir folder;
  AtomicFile file(folder / "x.gz");
  GzipWriter writer(file, level);
  for (size_t at = 0; at < bytes.size(); at += std::min(step, bytes.size() - at)) {
    writer.write(bytes.data() + at, int64_t(std::min(step, bytes.size() - at)));
  }
  writer.finish();
  file.commit();
  return read_text(folder / "x.gz");
}

TEST_CASE("a file read in pieces and a file read whole have the bytes written") {
  const TempDir folder;
  const std::string bytes = text_of(100003);
  write_file_atomically(folder / "a", bytes);
  CHECK(read_file(folder / "a", 100003) == bytes);
  const OpenFile open(folder / "a");
  CHECK(open.text(0, 100003) == bytes);
  CHECK(open.text(99990, 13) == bytes.substr(99990));
  write_file_atomically(folder / "empty", "");
  CHECK(read_file(folder / "empty", 0) == "");
}

TEST_CASE("what cannot be read is refused at once with the reason") {
  const TempDir folder;
  write_file_atomically(folder / "empty", "");
  write_file_atomically(folder / "ten", "0123456789");
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  CHECK(contains(error_of([&] { OpenFile file(folder / "absent"); }), "absent: no such file"));
  CHECK(contains(error_of([&] { OpenFile file(folder.path()); }), "is a folder"));
  CHECK(contains(error_of([&] { OpenFile file(folder / "pipe"); }), "not a regular file"));
  CHECK(contains(error_of([&] { OpenFile file("/dev/zero"); }), "not a regular file"));
  CHECK(contains(error_of([&] { OpenFile file(folder / "empty"); }), "is empty"));
  CHECK(contains(error_of([&] { OpenFile file(""); }), "empty"));
  CHECK(contains(error_of([&] { OpenFile file(std::string("a\0b", 3)); }), "zero byte"));
  CHECK(contains(error_of([&] { read_file(folder / "ten", 9); }), "has 10 bytes, at most 9"));
  CHECK(contains(error_of([&] { read_file(folder / "pipe", 9); }), "not a regular file"));
}

TEST_CASE("a file appears only on commit, and replaces the old one whole") {
  const TempDir folder;
  const auto entries = [&] { return std::distance(std::filesystem::directory_iterator(folder.path()), {}); };
  write_file_atomically(folder / "a", "old");
  {
    AtomicFile file(folder / "a");
    file.write(text_of(300000));
    CHECK(read_text(folder / "a") == "old");
  }
  CHECK(entries() == 1);  // dropped without commit: nothing stays
  AtomicFile file(folder / "a");
  for (const std::string& part : {std::string("new "), text_of(200000), std::string(" end")}) file.write(part);
  file.commit();
  CHECK(read_text(folder / "a") == "new " + text_of(200000) + " end");
  CHECK(entries() == 1);
  CHECK_THROWS_AS(file.commit(), Error);
  CHECK_THROWS_AS(file.write("more"), Error);
  const mode_t mask = ::umask(0);
  ::umask(mask);
  CHECK(int(std::filesystem::status(folder / "a").permissions()) == int(0666 & ~mask));
}

TEST_CASE("two writers of one file do not disturb each other: the last commit wins") {
  const TempDir folder;
  AtomicFile first(folder / "a"), second(folder / "a");
  first.write("first");
  second.write("second");
  second.commit();
  first.commit();
  CHECK(read_text(folder / "a") == "first");
}

TEST_CASE("a target that cannot be written is refused with the reason, before any byte") {
  const TempDir folder;
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  std::filesystem::create_directory(folder / "sub");
  CHECK(contains(error_of([&] { AtomicFile file(folder / "absent/a"); }), "no such file or folder"));
  CHECK(contains(error_of([&] { AtomicFile file(folder / "sub"); }), "is a folder"));
  CHECK(contains(error_of([&] { AtomicFile file(folder / "new/"); }), "names a folder"));
  CHECK(contains(error_of([&] { AtomicFile file(folder / "pipe"); }), "not a regular file"));
  CHECK(contains(error_of([&] { AtomicFile file("/dev/full"); }), "not a regular file"));
  CHECK(contains(error_of([&] { write_file_atomically(folder / std::string(300, 'n'), "x"); }), "name is too long"));
  CHECK(std::filesystem::is_empty(folder / "sub"));
}

TEST_CASE("a write that the system stops leaves the old file and no temporary one") {
  const TempDir folder;
  write_file_atomically(folder / "a", "old");
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{100000, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &small);
  const std::string message = error_of([&] { write_file_atomically(folder / "a", text_of(400000)); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  CHECK(contains(message, "larger than the system allows"));
  CHECK(read_text(folder / "a") == "old");
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("gzip holds what was put in, at every length around a chunk and every level") {
  const int64_t chunk = 1 << 18;
  for (int64_t length : {int64_t(0), int64_t(1), chunk - 1, chunk, chunk + 1, 16 * chunk, 16 * chunk + 5}) {
    CAPTURE(length);
    const std::string bytes = text_of(length);
    CHECK(inflate_all(gzip_of(bytes, 1), 70000) == bytes);
  }
  for (int level = 1; level <= 9; ++level) CHECK(inflate_all(gzip_of(text_of(270000), level)) == text_of(270000));
  const TempDir folder;
  AtomicFile file(folder / "runs.gz");
  GzipWriter runs(file, 4, Repeats::runs);
  const std::string mask = std::string(300000, '\0') + text_of(5000) + std::string(400000, '\1');
  runs.write(mask.data(), int64_t(mask.size()));
  runs.finish();
  file.commit();
  CHECK((inflate_all(read_text(folder / "runs.gz"), 70000) == mask));
  CHECK(read_text(folder / "runs.gz").size() < 8000);
  CHECK_THROWS_AS(gzip_of("x", 0), Error);
  CHECK_THROWS_AS(gzip_of("x", 10), Error);
}

TEST_CASE("what GzipWriter makes is one member that zlib's own reader accepts") {
  const TempDir folder;
  const std::string bytes = text_of(4400000);
  write_file_atomically(folder / "x.gz", gzip_of(bytes, 1));
  const gzFile file = ::gzopen((folder / "x.gz").c_str(), "rb");
  std::string got(bytes.size() + 1, '\0');
  CHECK(::gzread(file, got.data(), unsigned(got.size())) == int(bytes.size()));
  CHECK(::gzclose(file) == Z_OK);
  got.resize(bytes.size());
  CHECK(got == bytes);
}

TEST_CASE("gzip bytes depend neither on the threads nor on how they were written") {
  const std::string bytes = text_of(4400000);
  const std::string want = gzip_of(bytes, 1);
  for (int threads : {2, 3, 8}) {
    Context context({threads, 0, best_cpu_level(), {}});
    const UseContext use(context);
    CHECK(gzip_of(bytes, 1) == want);
    CHECK(gzip_of(bytes, 1, 100001) == want);
  }
}

TEST_CASE("runs give the gzip bytes that their bytes give, for any number of threads") {
  const int64_t chunk = GzipWriter::kChunk;
  const TempDir folder;
  for (int64_t before : {int64_t(0), int64_t(7), chunk, 15 * chunk + 9}) {
    for (int64_t zeros : {int64_t(0), int64_t(1), chunk - 7, chunk, 2 * chunk + 3, 40 * chunk + 1}) {
      const std::string head = text_of(before), tail = text_of(1000), middle(size_t(zeros), '\0');
      const auto written = [&](int threads, const auto& put) {
        Context context({threads, 0, best_cpu_level(), {}});
        const UseContext use(context);
        AtomicFile file(folder / "x.gz");
        GzipWriter gzip(file, 1, Repeats::runs);
        gzip.write(head.data(), before);
        gzip.end_chunk();
        put(gzip);
        gzip.end_chunk();
        gzip.write(tail.data(), 1000);
        gzip.finish();
        file.commit();
        return read_text(folder / "x.gz");
      };
      const std::string want = written(1, [&](GzipWriter& gzip) { gzip.write(middle.data(), zeros); });
      for (int threads : {1, 3}) {
        const std::string got = written(threads, [&](GzipWriter& gzip) {
          gzip.write_runs(zeros, [&](int64_t first, int64_t count, RunBlock& block) {
            block.add(0, count);
            return crc32(middle.data() + first, count);
          });
        });
        CAPTURE(before);
        CAPTURE(zeros);
        const bool same = got == want;
        CHECK(same);
      }
      CHECK((inflate_all(want, 1 << 20) == head + middle + tail));
    }
  }
}

TEST_CASE("gzip members in a row are one stream, and zero padding after them is no error") {
  const std::string both = gzip_of("one ") + gzip_of("") + gzip_of("two");
  CHECK(inflate_all(both, 2) == "one two");
  CHECK(inflate_all(both + std::string(1000, '\0')) == "one two");
}

TEST_CASE("damaged gzip is refused with the reason") {
  const std::string good = gzip_of(text_of(50000));
  const auto refused = [](const std::string& bytes) { return error_of([&] { inflate_all(bytes); }); };
  for (size_t length = 2; length < good.size(); length += length < 30 ? 1 : 997) {
    CAPTURE(length);
    CHECK(contains(refused(good.substr(0, length)), "ends too early"));
  }
  for (size_t back : {1u, 5u, 8u}) {  // the length and the checksum
    std::string bad = good;
    bad[bad.size() - back] ^= 1;
    CHECK(contains(refused(bad), "damaged"));
  }
  std::string reserved = good;
  reserved[3] = char(0xE0);
  CHECK(contains(refused(reserved), "damaged"));
  CHECK(contains(refused(good + std::string("\x1F\x8B", 2)), "ends too early"));
  CHECK(contains(refused("no gzip"), "not gzip"));
  CHECK(refused("") != "");
}

TEST_CASE("bytes after the last gzip member are left alone and counted, padding is not") {
  const std::string good = gzip_of("a scan");
  const auto garbage_after = [&](const std::string& rest, int64_t piece) {
    const std::string bytes = good + rest;
    int64_t at = 0;
    const auto pull = [&](void* out, int64_t room) {
      const int64_t step = std::min({room, int64_t(bytes.size()) - at, piece});
      std::memcpy(out, bytes.data() + at, size_t(step));
      at += step;
      return step;
    };
    GzipReader reader(pull, int64_t(bytes.size()), "x.gz");
    std::string out(6, '\0');
    CHECK(reader.read(out.data(), 6) == 6);
    CHECK(out == "a scan");
    reader.finish(0);
    return reader.garbage();
  };
  const int64_t whole = 1 << 20;
  CHECK(garbage_after("", whole) == 0);
  CHECK(garbage_after(std::string(300000, '\0'), whole) == 0);
  CHECK(garbage_after("garbage", whole) == 7);
  CHECK(garbage_after("\x1F", whole) == 1);
  CHECK(garbage_after(std::string(300000, '\0') + "x", whole) == 300001);
}

TEST_CASE("a file read piece by piece gives its bytes, and an error when it becomes shorter meanwhile") {
  const TempDir folder;
  const std::string bytes = text_of(5000);
  write_file_atomically(folder / "a", bytes);
  FileReader reader(folder / "a");
  CHECK(reader.size() == 5000);
  std::string out(5000, '\0');
  CHECK(reader.read(out.data(), 10) == 10);
  reader.skip(90);
  CHECK(reader.read(out.data() + 100, 900) == 900);
  CHECK(out.substr(0, 10) == bytes.substr(0, 10));
  CHECK(out.substr(100, 900) == bytes.substr(100, 900));
  CHECK(reader.left() == 4000);
  CHECK(truncate((folder / "a").c_str(), 1500) == 0);
  CHECK(contains(error_of([&] { reader.read(out.data(), 4000); }), "it had 5000 bytes, and none is left at byte 1500"));

  write_file_atomically(folder / "b", bytes);
  FileReader to_the_end(folder / "b");
  CHECK(to_the_end.read(out.data(), 9000) == 5000);
  CHECK(to_the_end.read(out.data(), 1) == 0);
  CHECK(out == bytes);
  CHECK(contains(error_of([&] { FileReader file(folder.path()); }), "is a folder"));
  CHECK(contains(error_of([&] { FileReader file(folder / "absent"); }), "no such file"));
  write_file_atomically(folder / "empty", "");
  CHECK(contains(error_of([&] { FileReader file(folder / "empty"); }), "is empty"));
}

TEST_CASE("a reader takes no more from a bomb than it was asked for") {
  const std::string bomb = gzip_of(std::string(40 << 20, '\0'), 6);
  CHECK(int64_t(bomb.size()) * kMaxInflation >= 40 << 20);
  GzipReader reader(reinterpret_cast<const uint8_t*>(bomb.data()), int64_t(bomb.size()), "bomb.gz");
  std::string out(100, 'x');
  CHECK(reader.read(out.data(), 10) == 10);
  CHECK(out == std::string(10, '\0') + std::string(90, 'x'));
  CHECK(contains(error_of([&] { reader.finish(1000); }), "more than 1000 bytes follow"));
}

TEST_CASE("a CRC continues where another ended") {
  CHECK(crc32("123456789", 9) == 0xCBF43926u);
  CHECK(crc32("6789", 4, crc32("12345", 5)) == 0xCBF43926u);
  CHECK(crc32(nullptr, 0, 7) == 7);
}

TEST_CASE("extensions and folders of paths") {
  CHECK(has_extension("a/b.nii.gz", ".nii.gz"));
  CHECK(has_extension("B.NII.GZ", ".nii.gz"));
  CHECK(has_extension("b.nii.gz", ".gz"));
  CHECK_FALSE(has_extension("b.nii", ".nii.gz"));
  CHECK_FALSE(has_extension(".nii", ".nii"));
  CHECK_FALSE(has_extension("a/.nii", ".nii"));
  CHECK(folder_of("a/b") == "a");
  CHECK(folder_of("b") == ".");
  CHECK(folder_of("/b") == "/");
}

}  // namespace
}  // namespace sat
