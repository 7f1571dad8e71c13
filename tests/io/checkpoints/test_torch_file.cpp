// PyTorch files of both forms give the tensors that PyTorch would, without running anything.
#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "sat/io/checkpoints/checkpoint.h"
#include "sat/io/checkpoints/torch_file.h"
#include "tests/support/checkpoint_bytes.h"
#include "tests/support/golden.h"

namespace {

using namespace sat;
using namespace sat::test;
using pickle::dict;
using pickle::integer;
using pickle::text;
using pickle::whole;

const std::string kSix = raw<float>({0, 1, 2, 3, 4, 5});

Checkpoint read(const std::string& bytes) {
  const TempDir folder;
  write_bytes(folder / "x.pth", bytes);
  return read_torch_file(folder / "x.pth");
}

template <class T>
std::vector<T> values_of(const Tensor& x) {
  return std::vector<T>(x.data<T>(), x.data<T>() + x.numel());
}

}  // namespace

TEST_CASE("torch file: a real checkpoint has the names, shapes and values that PyTorch wrote") {
  const Checkpoint checkpoint = open_checkpoint(golden_path("trained-small/text-projection.pth"));
  CHECK(checkpoint.metadata == std::map<std::string, std::string>{{"step", "1702"}});
  struct Expected {
    const char* name;
    Shape shape;
    float first, last;
    double sum;
  };
  const Expected expected[] = {
      {"module.projection_layer.0.weight", {128, 768}, -0x1.4473fap-2f, -0.23493526875972748f, 269.53078563770964},
      {"module.projection_layer.0.bias", {128}, 0x1.06bd6ep+0f, 0.06767243891954422f, -7.267352283932269},
      {"module.projection_layer.2.weight", {768, 128}, -0x1.60898ep-5f, 0.008735660463571548f, -20.689046088128066},
      {"module.projection_layer.2.bias", {768}, 0x1.44613ep-5f, 0.015971841290593147f, -1.1737352005893626},
      {"module.modality_embed.weight", {4, 768}, -0x1.15ac62p-4f, -0.11943228542804718f, 2.6332228066289645}};
  for (const Expected& one : expected) {
    CAPTURE(one.name);
    const std::vector<float> values = values_of<float>(checkpoint.weights.get(one.name, one.shape));
    double sum = 0;
    for (const float value : values) sum += double(value);
    CHECK(values.front() == one.first);
    CHECK(values.back() == one.last);
    CHECK(sum == one.sum);
  }
  CHECK(checkpoint.weights.never_read().empty());
}

TEST_CASE("torch file: every supported storage class is read as its type") {
  const std::string body = dict({{"f", pickle::tensor()},
                                 {"h", pickle::tensor({"HalfStorage", "1", 2, 0, {2}, {1}})},
                                 {"b", pickle::tensor({"BFloat16Storage", "2", 2, 0, {2}, {1}})},
                                 {"d", pickle::tensor({"DoubleStorage", "3", 1, 0, {}, {}})},
                                 {"l", pickle::tensor({"LongStorage", "4", 1, 0, {1}, {1}})},
                                 {"i", pickle::tensor({"IntStorage", "5", 1, 0, {1}, {1}})},
                                 {"u", pickle::tensor({"ByteStorage", "6", 2, 0, {2}, {1}})},
                                 {"t", pickle::tensor({"BoolStorage", "7", 2, 0, {2}, {1}})},
                                 {"none", pickle::tensor({"FloatStorage", "8", 0, 0, {0, 3}, {3, 1}})}});
  const Checkpoint checkpoint = read(torch_zip(whole(body), {{"0", kSix},
                                                             {"1", raw<uint16_t>({0x3C00, 0xC000})},
                                                             {"2", raw<uint16_t>({0x3F80, 0xC040})},
                                                             {"3", raw(0.1)},
                                                             {"4", raw(int64_t(-5))},
                                                             {"5", raw(int32_t(-6))},
                                                             {"6", raw<uint8_t>({0, 255})},
                                                             {"7", raw<uint8_t>({1, 0})},
                                                             {"8", ""}}));
  const Weights& w = checkpoint.weights;
  CHECK(values_of<float>(w.get("f", {2, 3})) == std::vector<float>{0, 1, 2, 3, 4, 5});
  CHECK(values_of<float>(w.get("h", {2})) == std::vector<float>{1, -2});
  CHECK(values_of<float>(w.get("b", {2})) == std::vector<float>{1, -3});
  CHECK(values_of<float>(w.get("d", Shape{})) == std::vector<float>{0.1f});
  CHECK(values_of<int64_t>(w.get("l", {1})) == std::vector<int64_t>{-5});
  CHECK(values_of<int32_t>(w.get("i", {1})) == std::vector<int32_t>{-6});
  CHECK(values_of<uint8_t>(w.get("u", {2})) == std::vector<uint8_t>{0, 255});
  CHECK(values_of<bool>(w.get("t", {2})) == std::vector<bool>{true, false});
  CHECK(w.get("none", {0, 3}).numel() == 0);
}

TEST_CASE("torch file: transposed, offset and sliced tensors are gathered; a storage may have several names") {
  const std::string body = dict({{"whole", pickle::tensor()},
                                 {"same", pickle::tensor()},
                                 {"transposed", pickle::tensor({"FloatStorage", "0", 6, 0, {3, 2}, {1, 3}})},
                                 {"column", pickle::tensor({"FloatStorage", "0", 6, 1, {2, 2}, {3, 1}})},
                                 {"last", pickle::tensor({"FloatStorage", "0", 6, 5, {}, {}})},
                                 {"cube", pickle::tensor({"FloatStorage", "1", 24, 0, {2, 4, 3}, {1, 6, 2}})}});
  std::vector<float> counted;
  for (int i = 0; i < 24; ++i) counted.push_back(float(i));
  const Checkpoint checkpoint = read(torch_zip(whole(body), {{"0", kSix}, {"1", raw(counted)}}));
  const Weights& w = checkpoint.weights;
  CHECK(values_of<float>(w.get("same", {2, 3})) == values_of<float>(w.get("whole", {2, 3})));
  CHECK(values_of<float>(w.get("transposed", {3, 2})) == std::vector<float>{0, 3, 1, 4, 2, 5});
  CHECK(values_of<float>(w.get("column", {2, 2})) == std::vector<float>{1, 2, 4, 5});
  CHECK(values_of<float>(w.get("last", Shape{})) == std::vector<float>{5});
  const Tensor cube = w.get("cube", {2, 4, 3});
  for (int64_t a = 0; a < 2; ++a) {
    for (int64_t b = 0; b < 4; ++b) {
      for (int64_t c = 0; c < 3; ++c) CHECK(cube.data<float>()[(a * 4 + b) * 3 + c] == float(a + 6 * b + 2 * c));
    }
  }
}

TEST_CASE("torch file: of a whole checkpoint the state dict is taken and scalars become metadata") {
  const std::string other = pickle::tensor({"FloatStorage", "0", 6, 0, {6}, {1}});
  const std::string optimizer = dict({{"state", "}" + integer(0) + dict({{"exp_avg", other}}) + "s"}});
  for (const char* key : {"model_state_dict", "state_dict", "network_weights", "model", "net", "ema"}) {
    const Checkpoint checkpoint = read(torch_zip(whole(dict({{"step", integer(70000)},
                                                             {"loss", pickle::real(0.25)},
                                                             {"best", "\x88"},
                                                             {"name", text("unet")},
                                                             {"scheduler", "N"},
                                                             {"optimizer_state_dict", optimizer},
                                                             {key, dict({{"module.w", pickle::tensor()}})}})),
                                                 {{"0", kSix}}));
    CHECK(checkpoint.weights.entries().size() == 1);
    CHECK(checkpoint.weights.has("module.w"));
    CHECK(checkpoint.metadata ==
          std::map<std::string, std::string>{{"step", "70000"}, {"loss", "0.25"}, {"best", "true"}, {"name", "unet"}});
    CHECK(checkpoint.skipped == std::map<std::string, std::string>{{"optimizer_state_dict", "a dict"}});
  }
  const Checkpoint flat = read(torch_zip(whole(dict({{"student", dict({{"w", pickle::tensor()}})},
                                                     {"optimizer", optimizer},
                                                     {"parts", pickle::list({pickle::tensor(), integer(3)})}})),
                                         {{"0", kSix}}));
  CHECK(flat.weights.has("student.w"));
  CHECK(flat.weights.has("optimizer.state.0.exp_avg"));
  CHECK(flat.weights.has("parts.0"));
  CHECK(flat.metadata == std::map<std::string, std::string>{{"parts.1", "3"}});
}

TEST_CASE("torch file: parameters, ordered dicts with attributes, sizes and memos are understood") {
  const std::string ordered = pickle::global("collections", "OrderedDict");
  const std::string parameter =
      pickle::call(pickle::global("torch._utils", "_rebuild_parameter"), {pickle::tensor(), "\x88", ordered + ")R"});
  const std::string sized = pickle::call(
      pickle::global("torch._utils", "_rebuild_tensor"),
      {pickle::storage("FloatStorage", "0", 6), integer(0),
       pickle::call(pickle::global("torch", "Size"), {pickle::integers({3, 2})}) + "r" + raw(uint32_t(900)),
       pickle::integers({2, 1})});
  const std::string pairs = pickle::list({pickle::list({text("a"), parameter}), pickle::tuple({text("b"), sized})});
  const std::string body = pickle::call(ordered, {pairs}) + "q\x07" + dict({{"_metadata", "}"}}) + "b";
  const Checkpoint checkpoint = read(torch_zip(whole(body), {{"0", kSix}}));
  CHECK(values_of<float>(checkpoint.weights.get("a", {2, 3})) == std::vector<float>{0, 1, 2, 3, 4, 5});
  CHECK(values_of<float>(checkpoint.weights.get("b", {3, 2})) == std::vector<float>{0, 1, 2, 3, 4, 5});
}

TEST_CASE("torch file: protocol 4 with frames, short texts and stacked globals") {
  const auto short_text = [](const std::string& value) {
    return std::string("\x8c") + raw(uint8_t(value.size())) + value + "\x94";
  };
  const auto stacked = [&](const std::string& module, const std::string& name) {
    return short_text(module) + short_text(name) + "\x93\x94";
  };
  const std::string id = "(" + short_text("storage") + stacked("torch", "FloatStorage") + short_text("0") +
                         short_text("cpu") + "K\x06t\x94Q";
  const std::string tensor = stacked("torch._utils", "_rebuild_tensor_v2") + "(" + id + integer(0) + "K\x02K\x03\x86" +
                             "K\x03K\x01\x86\x89" + stacked("collections", "OrderedDict") + ")R\x94t\x94R";
  const std::string body = "}\x94" + short_text("w") + tensor + "s";
  const std::string framed = std::string("\x95") + raw(uint64_t(body.size() + 1)) + body;
  const Checkpoint checkpoint = read(torch_zip(whole(framed, 4), {{"0", kSix}}));
  CHECK(values_of<float>(checkpoint.weights.get("w", {2, 3})) == std::vector<float>{0, 1, 2, 3, 4, 5});
}

TEST_CASE("torch file: the legacy form, with storages in any order and a view of a storage") {
  const std::string view_id = pickle::tuple({text("storage"), pickle::global("torch", "FloatStorage"), text("B"),
                                             text("cuda:3"), integer(4), pickle::integers({17, 1, 3})}) +
                              "Q";
  const std::string viewed =
      pickle::call(pickle::global("torch._utils", "_rebuild_tensor_v2"),
                   {view_id, integer(1), pickle::integers({2}), pickle::integers({1}), "\x89", "N"});
  const std::string object = whole(dict({{"a", pickle::tensor({"LongStorage", "A", 1, 0, {}, {}})}, {"b", viewed}}));
  const Checkpoint checkpoint =
      read(torch_legacy(object, {{"B", 4, raw<float>({10, 11, 12, 13})}, {"A", 1, raw(int64_t(42))}}));
  CHECK(values_of<int64_t>(checkpoint.weights.get("a", Shape{})) == std::vector<int64_t>{42});
  CHECK(values_of<float>(checkpoint.weights.get("b", {2})) == std::vector<float>{12, 13});
}

TEST_CASE("torch file: zip64 records and a comment are understood") {
  const std::string body = whole(dict({{"w", pickle::tensor()}}));
  std::vector<ZipPart> parts = torch_parts(body, {{"0", kSix}});
  parts.back().size = 0xFFFFFFFF;
  parts.back().local_size = int64_t(kSix.size());
  parts.back().extra = raw(uint16_t(1)) + raw(uint16_t(16)) + raw(int64_t(kSix.size())) + raw(int64_t(kSix.size()));
  ZipLies wide;
  wide.zip64 = true;
  CHECK(read(zip(parts, wide)).weights.has("w"));
  ZipLies commented;
  commented.comment = "written by hand";
  CHECK(read(zip(torch_parts(body, {{"0", kSix}}), commented)).weights.has("w"));
}

TEST_CASE("torch file: a damaged storage is found when its tensor is asked for, and no other suffers") {
  std::vector<ZipPart> parts = torch_parts(
      whole(dict({{"good", pickle::tensor()}, {"bad", pickle::tensor({"FloatStorage", "1", 1, 0, {1}, {1}})}})),
      {{"0", kSix}, {"1", raw(1.f)}});
  parts.back().crc = 12345;
  const Checkpoint checkpoint = read(zip(parts));
  CHECK(checkpoint.weights.get("good", {2, 3}).numel() == 6);
  CHECK_THROWS_AS(checkpoint.weights.get("bad", {1}), Error);
  CHECK_THROWS_AS(checkpoint.weights.get("bad", {1}), Error);
}

TEST_CASE("torch file: a refused global is named with its place") {
  const TempDir folder;
  const std::string path = folder / "evil.pth";
  const std::string evil = pickle::call(pickle::global("os", "system"), {text("true")});
  write_bytes(path, torch_zip(whole(dict({{"w", evil}})), {}));
  CHECK_THROWS_WITH_AS(open_checkpoint(path),
                       (path + ": pickle, byte 10: global 'os.system' is not one that a state dict needs; nothing of "
                               "this file was run")
                           .c_str(),
                       Error);
}

TEST_CASE("checkpoint: files of other kinds are described by their first bytes") {
  const std::vector<std::pair<std::string, std::string>> kinds = {
      {"version https://git-lfs.github.com/spec/v1\n", "a git-lfs pointer"},
      {"\x1F\x8B\x08 gzip", "gzip data"},
      {"<!DOCTYPE html><html>", "a web page"},
      {std::string("\x5C\x01\0\0 header", 11), "a NIfTI image"},
      {std::string(128, '\0') + "DICM", "a DICOM image"},
      {"\x08\x07\x12\x07pytorch", "an ONNX model"},
      {"\x89HDF\r\n", "an HDF5 file"},
      {"GGUF....", "a GGUF model"},
      {"{\"a\": 1}", "a JSON text"},
      {pickle::whole("N"), "a bare Python pickle"},
      {"\xFD"
       "7zXZ",
       "compressed data"},
      {"short", "no kind of file known here"}};
  const TempDir folder;
  for (const auto& each : kinds) {
    const auto& bytes = each.first;
    const auto& kind = each.second;
    CAPTURE(kind);
    write_bytes(folder / "x", bytes);
    std::string message = "accepted";
    try {
      open_checkpoint(folder / "x");
    } catch (const Error& error) {
      message = error.what();
    }
    CHECK(message.find(kind) != std::string::npos);
    CHECK(message.find("is no checkpoint") != std::string::npos);
  }
}
