// NumPy's .npy: what is written reads back, what NumPy wrote reads as it should, and malformed files are refused.
#include <doctest/doctest.h>

#include <string>

#include "sat/io/arrays/npy.h"
#include "sat/io/files/file.h"
#include "tests/support/checkpoint_bytes.h"
#include "tests/support/golden.h"

using namespace sat;
using test::raw;
using test::TempDir;

namespace {

/// A file as NumPy writes it, around this dict.
std::string npy(const std::string& dict, const std::string& data, char version = 1) {
  std::string bytes = "\x93NUMPY" + std::string{version, 0};
  bytes += version == 1 ? raw(uint16_t(dict.size())) : raw(uint32_t(dict.size()));
  return bytes + dict + data;
}

std::string dict_of(const std::string& type, const std::string& shape, const char* fortran = "False") {
  return "{'descr': '" + type + "', 'fortran_order': " + fortran + ", 'shape': " + shape + ", }\n";
}

Tensor read(const std::string& bytes) {
  const TempDir folder;
  write_file_atomically(folder / "x.npy", bytes);
  return sat::read_npy(folder / "x.npy");
}

/// The message that refuses the file, or "taken".
std::string refusal(const std::string& bytes) {
  try {
    read(bytes);
    return "taken";
  } catch (const Error& error) {
    return error.what();
  }
}

const std::string kSix = raw(std::vector<float>{1, 2, 3, 4, 5, 6});

}  // namespace

TEST_CASE("an array that was written reads back, by us and by the tests' own reader") {
  const TempDir folder;
  for (const Shape& shape : {Shape{2, 3}, Shape{5}, Shape{2, 1, 3}, Shape{}, Shape{0, 4}}) {
    const Tensor x = test::field("x", shape, 1);
    write_npy(folder / "x.npy", x);
    CHECK(test::mismatch(sat::read_npy(folder / "x.npy"), x, {}) == "");
    if (shape.numel() > 0) CHECK(test::mismatch(test::read_npy(folder / "x.npy"), x, {}) == "");
    CHECK(npy_head(shape, DType::f32).size() % 64 == 0);
  }
  const Tensor ids = from_ids({3}, {1, -2, int64_t(1) << 40});
  write_npy(folder / "ids.npy", ids);
  CHECK(sat::read_npy(folder / "ids.npy").data<int64_t>()[2] == int64_t(1) << 40);
}

TEST_CASE("every type and version that NumPy writes reads as the same numbers") {
  const Tensor want = from_values({2, 3}, {1, 2, 3, 4, 5, 6});
  for (const char version : {1, 2, 3})
    CHECK(test::mismatch(read(npy(dict_of("<f4", "(2, 3)"), kSix, version)), want, {}) == "");
  CHECK(test::mismatch(read(npy(dict_of("<f8", "(2, 3)"), raw(std::vector<double>{1, 2, 3, 4, 5, 6}))), want, {}) ==
        "");
  CHECK(read(npy(dict_of("|u1", "(6,)"), "abcdef")).data<uint8_t>()[5] == 'f');
  CHECK(read(npy(dict_of("<i4", "(1,)"), raw(int32_t(-7)))).data<int32_t>()[0] == -7);
  CHECK(read(npy(dict_of("|b1", "(2,)"), std::string("\0\1", 2))).data<bool>()[1]);
  CHECK(read(npy(dict_of("<f2", "(1,)"), raw(uint16_t(0x3C00)))).data<float>()[0] == 1);
}

TEST_CASE("an array in Fortran order is turned to rows") {
  const Tensor x = read(npy(dict_of("<f4", "(2, 3)", "True"), kSix));
  CHECK(test::mismatch(x, from_values({2, 3}, {1, 3, 5, 2, 4, 6}), {}) == "");
}

TEST_CASE("malformed arrays are refused in one sentence") {
  const std::string good = npy(dict_of("<f4", "(2, 3)"), kSix);
  REQUIRE(refusal(good) == "taken");
  const auto names = [](const std::string& message, const std::string& why) {
    return message.find(why) != std::string::npos ? "" : message;
  };
  CHECK(names(refusal("not an array at all"), "does not begin") == "");
  CHECK(names(refusal(good.substr(0, 9)), "does not begin") == "");
  CHECK(names(refusal(good.substr(0, good.size() - 1)), "does not fill the 23 bytes") == "");
  CHECK(names(refusal(good + "x"), "does not fill the 25 bytes") == "");
  CHECK(names(refusal(npy(dict_of("<f4", "(2, 3)"), kSix, 4)), "version 4.0") == "");
  CHECK(names(refusal(npy(dict_of(">f4", "(2, 3)"), kSix)), "the type is '>f4'") == "");
  CHECK(names(refusal(npy(dict_of("|O", "(2, 3)"), kSix)), "the type is '|O'") == "");
  CHECK(names(refusal(npy(dict_of("<f4", "(4611686018427387904, 8)"), kSix)), "shape") == "");
  CHECK(names(refusal(npy(dict_of("<f4", "(4611686018427387904, 8)", "True"), kSix)), "too many elements") == "");
  CHECK(names(refusal(npy(dict_of("<f4", "(-2, 3)"), kSix)), "no tuple of sizes") == "");
  CHECK(names(refusal(npy(dict_of("<f4", "(1, 1, 1, 1, 1, 2, 3)"), kSix)), "more than 6 axes") == "");
  CHECK(names(refusal(npy("{'descr': '<f4', 'shape': (6,)}", kSix)), "not all there") == "");
  CHECK(names(refusal(npy("{'descr': '<f4', 'descr': '<f4'}", kSix)), "each once") == "");
  CHECK(names(refusal(npy("{'descr': '<f4", kSix)), "never closed") == "");
  CHECK(names(refusal(npy(dict_of("<f4", "(6,)", "Maybe"), kSix)), "neither True nor False") == "");
  CHECK(names(refusal(npy(dict_of("<f4", "(6,)") + "import os", kSix)), "text follows") == "");
  CHECK(names(refusal("\x93NUMPY" + std::string{2, 0} + raw(uint32_t(0xFFFFFFF0)) + kSix), "length is 4294967280") ==
        "");
}
