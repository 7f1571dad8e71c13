// What a checkpoint costs before any tensor of it is read is bounded by its header; and a file that changes under its
// reader gives an error.
#include <doctest/doctest.h>
#include <malloc.h>
#include <unistd.h>

#include <string>

#include "sat/io/checkpoints/checkpoint.h"
#include "sat/io/files/hash.h"
#include "sat/io/words/json.h"
#include "tests/support/checkpoint_bytes.h"
#include "tests/support/golden.h"

namespace {

using namespace sat;
using namespace sat::test;

std::string error_of(const std::string& path, const CheckpointLimits& limits = {}) {
  try {
    open_checkpoint(path, limits);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// A header of this many empty tensors.
std::string many_tensors(int64_t count) {
  std::string header = "{";
  for (int64_t i = 0; i < count; ++i) {
    header += (i ? ",\"t" : "\"t") + std::to_string(i) + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  }
  return header + "}";
}

std::string many_pickled(int64_t count) {
  std::string body = "}(";
  for (int64_t i = 0; i < count; ++i) body += pickle::text("t" + std::to_string(i)) + pickle::tensor();
  return pickle::whole(body + "u");
}

}  // namespace

TEST_CASE("65,536 tensors are taken and one more is not, unless the limit is raised") {
  const TempDir folder;
  write_bytes(folder / "most", safetensors(many_tensors(65'536), ""));
  write_bytes(folder / "more", safetensors(many_tensors(65'537), ""));
  CHECK(open_checkpoint(folder / "most").weights.entries().size() == 65'536);
  CHECK(contains(error_of(folder / "more"), "more than 65536 tensors"));
  CHECK(open_checkpoint(folder / "more", {32 << 20}).weights.entries().size() == 65'537);
}

TEST_CASE("headers, directories and pickles beyond the limit are refused with both figures") {
  const TempDir folder;
  const CheckpointLimits small{64 << 10};
  write_bytes(folder / "safetensors", safetensors(many_tensors(2000), ""));
  CHECK(contains(error_of(folder / "safetensors", small), "at most 65536 is taken"));
  const std::string zeros(24, '\0');
  write_bytes(folder / "pickle", torch_zip(many_pickled(500), {{"0", zeros}}));
  CHECK(contains(error_of(folder / "pickle", small), "at most 65536 are taken"));
  write_bytes(folder / "legacy", torch_legacy(many_pickled(500), {{"0", 6, zeros}}));
  CHECK(contains(error_of(folder / "legacy", small), "pickle, byte"));
  std::vector<ZipPart> parts = torch_parts(pickle::whole("}"), {});
  for (int i = 0; i < 300; ++i) parts.push_back({.name = "model/data/" + std::to_string(i)});
  write_bytes(folder / "directory", zip(parts));
  CHECK(contains(error_of(folder / "directory", small), "303 members, at most 256 are taken"));
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_CASE("an open checkpoint takes at most about ten times its header") {
  const auto bytes_in_use = [] {
    const struct mallinfo2 info = ::mallinfo2();
    return int64_t(info.uordblks) + int64_t(info.hblkhd);
  };
  const TempDir folder;
  const std::string header = many_tensors(20'000), pickled = many_pickled(10'000);
  write_bytes(folder / "safetensors", safetensors(header, ""));
  write_bytes(folder / "pickle", torch_zip(pickled, {{"0", std::string(24, '\0')}}));
  for (const auto& file : {std::pair{"safetensors", header.size()}, {"pickle", pickled.size()}}) {
    const char* name = file.first;
    CAPTURE(name);
    const int64_t before = bytes_in_use();
    const Checkpoint checkpoint = open_checkpoint(folder / name);
    CHECK(bytes_in_use() - before < 12 * int64_t(file.second));
  }
}
#endif

TEST_CASE("an object is handed over member by member, and its members' values are bounded") {
  std::string seen;
  Json::each_member(R"( {"a":1, "b":[true,{"c":"d"}],"a":null } )", "text",
                    [&](const std::string& key, const Json& value) { seen += key + value.dump() + ";"; });
  CHECK(seen == R"(a1;b[true,{"c":"d"}];anull;)");
  const auto refused = [](const std::string& text) {
    CHECK_THROWS_AS(Json::each_member(text, "text", [](const std::string&, const Json&) {}), Error);
  };
  for (const char* text :
       {"", "[]", "{", "{\"a\"}", "{\"a\":1", "{\"a\":1,}", "{\"a\":1}x", "{a:1}", "{\"a\":1 \"b\":2}"}) {
    refused(text);
  }
  std::string many = "{\"a\":[0";
  for (int i = 0; i < 250'000; ++i) many += ",0";
  refused(many + "]}");
}

TEST_CASE("a checkpoint shortened while it is open gives an error and no signal") {
  const std::string floats(4 * 100'000, '\0');
  const std::string object =
      pickle::whole(pickle::dict({{"w", pickle::tensor({.numel = 100'000, .sizes = {100'000}, .strides = {1}})}}));
  const std::pair<const char*, std::string> files[] = {
      {"safetensors", safetensors(R"({"w":{"dtype":"F32","shape":[100000],"data_offsets":[0,400000]}})", floats)},
      {"half", safetensors(R"({"w":{"dtype":"F16","shape":[200000],"data_offsets":[0,400000]}})", floats)},
      {"zip", torch_zip(object, {{"0", floats}})},
      {"legacy", torch_legacy(object, {{"0", 100'000, floats}})}};
  const TempDir folder;
  for (const auto& file : files) {
    const char* name = file.first;
    for (const int64_t left : {int64_t(0), int64_t(200'000)}) {
      CAPTURE(name);
      write_bytes(folder / name, file.second);
      const Checkpoint checkpoint = open_checkpoint(folder / name);
      REQUIRE(::truncate((folder / name).c_str(), left) == 0);
      std::string message;
      try {
        checkpoint.weights.entries()[0].load();
      } catch (const Error& error) {
        message = error.what();
      }
      CHECK(contains(message, "was shortened while it was in use"));
      CHECK(contains(message, name));
    }
  }
}
