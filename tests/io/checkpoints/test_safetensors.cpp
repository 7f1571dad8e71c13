// safetensors files read and written here are what the format says, bit for bit.
#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "sat/io/checkpoints/safetensors.h"
#include "sat/io/files/file.h"
#include "sat/tensor/context.h"
#include "sat/tensor/memory/memory.h"
#include "tests/support/checkpoint_bytes.h"
#include "tests/support/golden.h"

namespace {

using namespace sat;
using namespace sat::test;

template <class T>
Tensor tensor_of(const Shape& shape, const std::vector<T>& values) {
  Tensor x(shape, DTypeOf<T>::value);
  std::copy(values.begin(), values.end(), x.data<T>());
  return x;
}

template <class T>
std::vector<T> values_of(const Tensor& x) {
  return std::vector<T>(x.data<T>(), x.data<T>() + x.numel());
}

Checkpoint read(const std::string& bytes) {
  const TempDir folder;
  write_bytes(folder / "x.safetensors", bytes);
  return read_safetensors(folder / "x.safetensors");
}

}  // namespace

TEST_CASE("safetensors: a file written by hand is read") {
  const std::string header = R"({"__metadata__":{"format":"pt"},"b":{"dtype":"I64","shape":[2],"data_offsets":[8,24]},)"
                             R"("a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}  )";
  const Checkpoint checkpoint = read(safetensors(header, raw<float>({1.5f, -2}) + raw<int64_t>({7, INT64_MIN})));
  CHECK(checkpoint.metadata == std::map<std::string, std::string>{{"format", "pt"}});
  CHECK(values_of<float>(checkpoint.weights.get("a", {1, 2})) == std::vector<float>{1.5f, -2});
  CHECK(values_of<int64_t>(checkpoint.weights.get("b", {2})) == std::vector<int64_t>{7, INT64_MIN});
  CHECK(checkpoint.weights.never_read().empty());
}

TEST_CASE("safetensors: half, bfloat and double arrive as f32 and report how they are stored") {
  const std::string header = R"({"h":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},)"
                             R"("b":{"dtype":"BF16","shape":[2],"data_offsets":[4,8]},)"
                             R"("d":{"dtype":"F64","shape":[2],"data_offsets":[8,24]},)"
                             R"("t":{"dtype":"BOOL","shape":[3],"data_offsets":[24,27]},)"
                             R"("f":{"dtype":"F32","shape":[1],"data_offsets":[27,31]}})";
  const std::string data = raw<uint16_t>({0x3C00, 0xC000}) + raw<uint16_t>({0x3F80, 0xC040}) +
                           raw<double>({0.1, INFINITY}) + raw<uint8_t>({0, 1, 2}) + raw(2.5f);
  const Checkpoint checkpoint = read(safetensors(header, data));
  const Weights& w = checkpoint.weights;
  CHECK(values_of<float>(w.get("h", {2})) == std::vector<float>{1, -2});
  CHECK(values_of<float>(w.get("b", {2})) == std::vector<float>{1, -3});
  CHECK(values_of<float>(w.get("d", {2})) == std::vector<float>{0.1f, INFINITY});
  CHECK(values_of<bool>(w.get("t", {3})) == std::vector<bool>{false, true, true});
  CHECK(values_of<float>(w.get("f", {1})) == std::vector<float>{2.5f});
  CHECK(w.entries()[0].dtype == DType::bf16);
  CHECK(w.entries()[3].dtype == DType::f16);
}

TEST_CASE("safetensors: what is written is read back to the same bits, scalars and empty tensors too") {
  const TempDir folder;
  const std::map<std::string, Tensor> tensors = {{"f", field("f", {3, 5, 2}, 2)},
                                                 {"module.i", tensor_of<int64_t>({2}, {-1, INT64_MAX})},
                                                 {"i32", tensor_of<int32_t>({1, 1}, {-7})},
                                                 {"bytes", tensor_of<uint8_t>({3}, {0, 128, 255})},
                                                 {"flags", tensor_of<bool>({2}, {true, false})},
                                                 {"scalar", tensor_of<float>(Shape{}, {-0.f})},
                                                 {"none", Tensor({0, 4})},
                                                 {"quote\"\n\xC3\xA9", full({1}, 3)},
                                                 {"half", field("h", {7}, 1).cast(DType::f16)},
                                                 {"brain", field("b", {7}, 1).cast(DType::bf16)}};
  write_safetensors(folder / "a", tensors, {{"architecture", "unet"}, {"note", "\xC3\xA9"}});
  const Checkpoint checkpoint = read_safetensors(folder / "a");
  CHECK(checkpoint.metadata.at("note") == "\xC3\xA9");
  CHECK(checkpoint.weights.entries().size() == tensors.size());
  for (const auto& each : tensors) {
    const std::string& name = each.first;
    const Tensor& tensor = each.second;
    CAPTURE(name);
    const bool stored_half = tensor.dtype == DType::f16 || tensor.dtype == DType::bf16;
    const Tensor want = stored_half ? tensor.cast(DType::f32) : tensor;
    const Tensor got = checkpoint.weights.get(name, tensor.shape);
    REQUIRE(got.dtype == want.dtype);
    REQUIRE(got.bytes() == want.bytes());
    CHECK((got.bytes() == 0 || std::memcmp(got.raw(), want.raw(), size_t(got.bytes())) == 0));
  }
}

TEST_CASE("safetensors: the bytes written depend on the tensors alone, and the header is padded to eight") {
  const TempDir folder;
  const std::map<std::string, Tensor> tensors = {{"b", full({2}, 1)}, {"a", full({1}, 2)}, {"c", from_ids({1}, {3})}};
  write_safetensors(folder / "one", tensors, {{"k", "v"}});
  const std::string header = R"({"__metadata__":{"k":"v"},"c":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},)"
                             R"("a":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},)"
                             R"("b":{"dtype":"F32","shape":[2],"data_offsets":[12,20]}})";
  const std::string padding((8 - header.size() % 8) % 8, ' ');
  CHECK(read_file(folder / "one", 1 << 20) == safetensors(header + padding, raw(int64_t(3)) + raw<float>({2, 1, 1})));
}

TEST_CASE("safetensors: a tensor is read into bytes of its own, and takes no memory beside them") {
  const TempDir folder;
  write_safetensors(folder / "x", {{"a", full({1000}, 1)}}, {});
  Context context;
  const UseContext use(context);
  const Checkpoint checkpoint = read_safetensors(folder / "x");
  CHECK(context.memory()->peak_bytes() == 0);
  const Tensor a = checkpoint.weights.get("a", {1000});
  CHECK(context.memory()->peak_bytes() < 5000);
  CHECK(a.owns_alone());
  CHECK(a.data<float>()[999] == 1);
}

TEST_CASE("safetensors: tensors of types that nothing here has are read over, and named") {
  const std::string header = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                             R"("mask":{"dtype":"I16","shape":[3],"data_offsets":[4,10]}})";
  const Checkpoint checkpoint = read(safetensors(header, raw(2.f) + "abcdef"));
  CHECK(checkpoint.weights.entries().size() == 1);
  CHECK(checkpoint.skipped == std::map<std::string, std::string>{{"mask", "a tensor of I16"}});
}

TEST_CASE("safetensors: what the format cannot hold is not written") {
  const TempDir folder;
  CHECK_THROWS_AS(write_safetensors(folder / "x", {{"__metadata__", full({1}, 1)}}, {}), Error);
  CHECK_THROWS_AS(write_safetensors(folder / "x", {{"a", Tensor()}}, {}), Error);
  CHECK_THROWS_AS(write_safetensors(folder / "x", {{"\xFF", full({1}, 1)}}, {}), Error);
  CHECK_THROWS_AS(read_file(folder / "x", 1), Error);
}

TEST_CASE("safetensors: a refusal names file, tensor and rule") {
  const TempDir folder;
  const std::string path = folder / "x.safetensors";
  write_bytes(path, safetensors(R"({"w":{"dtype":"F4","shape":[4],"data_offsets":[0,2]}})", "ab"));
  CHECK_THROWS_WITH_AS(read_safetensors(path),
                       (path + ": safetensors header, entry 'w': type 'F4' is not one of F32, F16, BF16, F64, I32, "
                               "I64, U8, BOOL")
                           .c_str(),
                       Error);
}
