// SHA-256 agrees with the standard's own examples, however the bytes are split.
#include "sat/io/files/hash.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "sat/io/files/file.h"
#include "tests/support/golden.h"

namespace sat {
namespace {

TEST_CASE("SHA-256 of the standard's examples") {
  CHECK(sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(sha256(std::string(1000000, 'a')) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("SHA-256 does not depend on how the bytes arrive, at every length around a block") {
  for (int64_t length = 0; length < 200; ++length) {
    CAPTURE(length);
    std::string bytes;
    for (int64_t i = 0; i < length; ++i) bytes += char(i * 37);
    const std::string whole = sha256(bytes);
    for (int64_t step : {1, 7, 63, 64, 65}) {
      Sha256 hash;
      for (int64_t at = 0; at < length; at += step) hash.update(bytes.data() + at, std::min(step, length - at));
      CHECK(hash.finish() == whole);
    }
  }
}

TEST_CASE("SHA-256 by the processor's own instructions is that of the standard's letters") {
  std::string bytes;
  for (int64_t length = 0; length < 1000; length += 37) {
    while (int64_t(bytes.size()) < length) bytes += char(bytes.size() * bytes.size() % 251);
    Sha256 plain(Sha256::Rounds::plain);
    plain.update(bytes.data(), length);
    CAPTURE(length);
    CHECK(plain.finish() == sha256(bytes));
  }
}

TEST_CASE("SHA-256 of a file is that of its bytes") {
  const test::TempDir folder;
  const std::string bytes(100001, 'x');
  write_file_atomically(folder / "file", bytes);
  CHECK(sha256_of_file(folder / "file") == sha256(bytes));
  CHECK_THROWS_AS(sha256_of_file(folder / "absent"), Error);
}

}  // namespace
}  // namespace sat
