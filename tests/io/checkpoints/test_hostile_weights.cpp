// Malformed checkpoints and JSON are refused with a clear error, promptly, and without large allocations.
#include <doctest/doctest.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "sat/io/checkpoints/checkpoint.h"
#include "sat/io/checkpoints/safetensors.h"
#include "sat/io/checkpoints/torch_file.h"
#include "sat/io/words/json.h"
#include "sat/tensor/context.h"
#include "sat/tensor/memory/memory.h"
#include "tests/support/checkpoint_bytes.h"
#include "tests/support/golden.h"

namespace {

using namespace sat;
using namespace sat::test;
using pickle::dict;
using pickle::global;
using pickle::integer;
using pickle::tensor;
using pickle::text;
using pickle::tuple;
using pickle::whole;

const std::string kSix(24, '\0');

/// A malformed file and a part of the message that must refuse it.
struct Case {
  std::string name, bytes, why;
};

using Reader = Checkpoint (*)(const std::string&, const CheckpointLimits&);

/// "" if the file is refused, within a second, for the stated reason, with under a megabyte of tensor memory.
std::string verdict(const Case& hostile, Reader read) {
  const TempDir folder;
  write_bytes(folder / "x", hostile.bytes);
  Context context;
  const UseContext use(context);
  const auto start = std::chrono::steady_clock::now();
  std::string message;
  try {
    for (const Weights::Entry& entry : read(folder / "x", {}).weights.entries()) entry.load();
  } catch (const Error& error) {
    message = error.what();
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  if (message.empty()) return "accepted";
  if (message.find(hostile.why) == std::string::npos) return "refused for another reason: " + message;
  if (message.size() > 1000) return "a message of " + std::to_string(message.size()) + " bytes";
  if (seconds.count() > 1) return "refused after " + std::to_string(seconds.count()) + " seconds";
  if (context.memory()->peak_bytes() > 1 << 20) return "allocated " + std::to_string(context.memory()->peak_bytes());
  return "";
}

void check_all(const std::vector<Case>& cases, Reader read) {
  for (const Case& hostile : cases) {
    CAPTURE(hostile.name);
    CHECK(verdict(hostile, read) == "");
  }
}

Case header_case(const std::string& header, int64_t data, const std::string& why) {
  return {header.substr(0, 200), safetensors(header, std::string(size_t(data), '\0')), why};
}

Case one_tensor(const std::string& dtype, const std::string& shape, const std::string& offsets, int64_t data,
                const std::string& why) {
  return header_case(R"({"w":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}",
                     data, why);
}

std::vector<Case> safetensors_cases() {
  const std::string good = safetensors(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "abcd");
  const auto length = [&](uint64_t value) { return raw(value) + good.substr(8); };
  std::string deep = R"({"w":)";
  for (int i = 0; i < 100; ++i) deep += "[";
  return {
      {"cut in the length", good.substr(0, 7), "has 7 bytes"},
      {"cut in the header", good.substr(0, 30), "the file has 22 bytes after it"},
      {"cut in the data", good.substr(0, good.size() - 1), "within the file's 3 bytes"},
      {"a byte too many", good + "x", "the tensors end at"},
      {"header length of 2^64 - 1", length(UINT64_MAX), "at most 16777216"},
      {"header length of 2^63", length(uint64_t(1) << 63), "at most 16777216"},
      {"header length beyond the limit", length((16 << 20) + 1), "at most 16777216"},
      {"header length beyond the file", length(16 << 20), "bytes after it"},
      {"header length of zero", length(0), "does not start with '{'"},
      {"header length one short", length(good.size() - 13), "not JSON"},
      header_case(" {}", 0, "does not start with '{'"),
      header_case("[]", 0, "does not start with '{'"),
      header_case("{} x", 0, "more text after the end"),
      header_case("{}\n{}", 0, "more text after the end"),
      header_case(std::string("{}\0\0", 4), 0, "more text after the end"),
      header_case("{}", 1, "the tensors end at"),
      header_case("{\"w\xFF\":1}", 0, "not UTF-8"),
      header_case(deep, 0, "nested more than 64 deep"),
      header_case(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"w":{"dtype":"F32","shape":[1],)"
                  R"("data_offsets":[4,8]}})",
                  8, "'w' appears twice"),
      header_case(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"\u0077":{"dtype":"F32","shape":[1],)"
                  R"("data_offsets":[4,8]}})",
                  8, "'w' appears twice"),
      header_case(R"({"__metadata__":{"a":1}})", 0, "needs a string"),
      header_case(R"({"__metadata__":{"a":{"b":"c"}}})", 0, "needs a string"),
      header_case(R"({"__metadata__":[]})", 0, "needs an object"),
      header_case(R"({"w":3})", 0, "needs an object"),
      header_case(R"({"w":{"shape":[1],"data_offsets":[0,4]}})", 4, "no key 'dtype'"),
      header_case(R"({"w":{"dtype":"F32","data_offsets":[0,4]}})", 4, "no key 'shape'"),
      header_case(R"({"w":{"dtype":"F32","shape":[1]}})", 4, "no key 'data_offsets'"),
      header_case(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}})", 4, "unknown key 'x'"),
      header_case(R"({"w":{"dtype":32,"shape":[1],"data_offsets":[0,4]}})", 4, "needs a string"),
      one_tensor("F4", "[8]", "[0,4]", 4, "type 'F4'"),
      one_tensor("I16", "[3]", "[0,4]", 4, "does not fill"),
      header_case(R"({"w":{"dtype":"I16","shape":[2],"data_offsets":[0,4]},"w":{"dtype":"I16","shape":[2],)"
                  R"("data_offsets":[4,8]}})",
                  8, "'w' appears twice"),
      header_case(R"({"__metadata__":{},"__metadata__":{}})", 0, "the key appears twice"),
      one_tensor("f32", "[1]", "[0,4]", 4, "type 'f32'"),
      one_tensor("F32", "[-1]", "[0,4]", 4, "negative size"),
      one_tensor("F32", "[1.0]", "[0,4]", 4, "not a 64-bit integer"),
      one_tensor("F32", "[1e2]", "[0,400]", 400, "not a 64-bit integer"),
      one_tensor("F32", "[\"1\"]", "[0,4]", 4, "needs a number"),
      one_tensor("F32", "4", "[0,4]", 4, "needs an array"),
      one_tensor("F32", "[1,1,1,1,1,1,1]", "[0,4]", 4, "7 axes"),
      one_tensor("F32", "[4294967296,4294967296]", "[0,4]", 4, "too many elements"),
      one_tensor("F32", "[4611686018427387904]", "[0,0]", 0, "does not fill"),
      one_tensor("F32", "[4611686018427387905]", "[0,4]", 4, "does not fill"),
      one_tensor("F32", "[18446744073709551616]", "[0,4]", 4, "not a 64-bit integer"),
      one_tensor("F32", "[2]", "[0,4]", 4, "does not fill"),
      one_tensor("F32", "[]", "[0,8]", 8, "does not fill"),
      one_tensor("F32", "[1]", "[0,4,4]", 4, "needs 2"),
      one_tensor("F32", "[1]", "[0]", 4, "needs 2"),
      one_tensor("F32", "[1]", "[4,0]", 4, "two ascending places"),
      one_tensor("F32", "[1]", "[-4,0]", 4, "two ascending places"),
      one_tensor("F32", "[1]", "[4,8]", 4, "two ascending places"),
      one_tensor("F32", "[1]", "[9223372036854775804,9223372036854775807]", 4, "two ascending places"),
      one_tensor("F32", "[1]", "[4,8]", 8, "there is a hole"),
      one_tensor("F64", "[1]", "[0,8]", 9, "the tensors end at"),
      header_case(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                  R"("b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
                  6, "they overlap"),
      header_case(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                  R"("b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})",
                  4, "they overlap"),
      header_case(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                  R"("b":{"dtype":"U8","shape":[2],"data_offsets":[3,5]}})",
                  5, "there is a hole"),
      {"an f64 beyond f32", safetensors(R"({"w":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})", raw(1e300)),
       "does not fit f32"},
  };
}

Case pickled(const std::string& name, const std::string& pickle, const std::string& why) {
  return {name, torch_zip(pickle, {{"0", kSix}}), why};
}
Case body(const std::string& name, const std::string& value, const std::string& why) {
  return pickled(name, whole(dict({{"w", value}})), why);
}

std::vector<Case> pickle_cases() {
  const std::string good = whole(dict({{"w", tensor()}}));
  const auto repeated = [](int count, const std::string& part) {
    std::string parts;
    for (int i = 0; i < count; ++i) parts += part;
    return parts;
  };
  const auto rebuilt = [](const std::vector<std::string>& arguments) {
    return pickle::call(global("torch._utils", "_rebuild_tensor_v2"), arguments);
  };
  const std::string floats = pickle::storage("FloatStorage", "0", 6);
  const auto id = [](const std::vector<std::string>& parts) { return tuple(parts) + "Q"; };
  const std::string float_class = global("torch", "FloatStorage");
  const std::string huge_tuple = "(" + repeated(200'000, "K\x01") + "tq\x01";
  std::string bomb = "(](NNe";
  for (int i = 0; i < 30; ++i) bomb += std::string("q") + char(i) + "](h" + char(i) + "h" + char(i) + "e";

  std::vector<Case> cases = {
      pickled("empty", "", "needs 1 more bytes"),
      pickled("no protocol and no tensors", "}.", "holds no tensors"),
      pickled("protocol 1", whole("}", 1), "protocol is 1"),
      pickled("protocol 6", whole("}", 6), "protocol is 6"),
      pickled("protocol twice", whole("\x80\x02}"), "opcode 0x80"),
      pickled("no STOP", "\x80\x02}", "needs 1 more bytes"),
      pickled("bytes after STOP", good + "N", "1 bytes follow the pickle"),
      pickled("nothing on the stack", whole(""), "ends with 0 values"),
      pickled("two values left", whole("NN"), "ends with 2 values"),
      pickled("mark left", whole("(N"), "ends with 1 values"),
      pickled("no dict", whole("]"), "holds no dict"),
      pickled("no tensors", whole("}"), "holds no tensors"),
      body("storage class as value only", float_class, "holds no tensors"),
      pickled("SETITEM on nothing", whole("s"), "needs 2 values"),
      pickled("SETITEMS without mark", whole("}u"), "there is no mark"),
      pickled("SETITEMS on a list", whole("](NNu"), "met a list, needs a dict"),
      pickled("SETITEMS with a key alone", whole("}(Nu"), "a key without a value"),
      pickled("APPEND to a dict", whole("}Na"), "met a dict, needs a list"),
      pickled("POP through a mark by TUPLE1", whole("N(\x85"), "needs 1 values"),
      pickled("TUPLE3 of two", whole("NN\x87"), "needs 3 values"),
      pickled("memo of nothing", whole("h\x05"), "nothing was memorised as 5"),
      pickled("long memo of nothing", whole("j" + raw(uint32_t(UINT32_MAX))), "nothing was memorised as 4294967295"),
      pickled("PUT of nothing", whole("q\x01"), "the stack is empty"),
      pickled("text of 4 GB", whole("X" + raw(uint32_t(UINT32_MAX))), "needs 4294967295 more bytes"),
      pickled("text of 2^64 - 1 bytes", whole("\x8d" + raw(uint64_t(UINT64_MAX))), "needs 18446744073709551615 more"),
      pickled("text that is not UTF-8", whole("X" + raw(uint32_t(2)) + "\xC3("), "is not UTF-8"),
      pickled("frame beyond the pickle", whole("\x95" + raw(uint64_t(1) << 40)), "more bytes"),
      pickled("integer of 2 GB", whole("\x8b" + raw(int32_t(INT32_MAX))), "needs 2147483647 more bytes"),
      pickled("integer of -1 bytes", whole("\x8b" + raw(int32_t(-1))), "an integer of -1 bytes"),
      pickled("bytes of 2^64 - 1", whole("\x8e" + raw(uint64_t(UINT64_MAX))), "needs 18446744073709551615 more"),
      pickled("global without end", whole("c" + std::string(100'000, 'a')), "a line has no end"),
      pickled("global of 1000 bytes", whole("c" + std::string(1000, 'a') + "\nb\n"), "more than 256 bytes"),
      pickled("written integer that is none", "I1x\n.", "'1x' is no integer"),
      pickled("written float that is none", "Fone\n.", "'one' is no float"),
      pickled("written text without quotes", "Sabc\n.", "has no quotes"),
      pickled("a persistent id that is a text", "Pabc\n.", "0x50 (PERSID)"),
      pickled("memo of nothing, written", "g5\n.", "nothing was memorised as 5"),
      pickled("memo at no number", "}p-1\n.", "no place of the memo"),
      pickled("an object without a class", whole("(o"), "an object without a class"),
      pickled("POP of nothing", whole("0"), "the stack is empty"),
      pickled("DUP of nothing", whole("2"), "the stack is empty"),
      pickled("an object that is the whole file", whole(pickle::call(global("nets", "Sat"), {})),
              "holds an object, nets.Sat, and no state dict"),
      body("os.system", pickle::call(global("os", "system"), {text("true")}), "global 'os.system'"),
      body("posix.system", pickle::call(global("posix", "system"), {text("true")}), "global 'posix.system'"),
      body("builtins.eval", pickle::call(global("builtins", "eval"), {text("1")}), "global 'builtins.eval'"),
      body("__builtin__.exec", pickle::call(global("__builtin__", "exec"), {text("1")}), "global '__builtin__.exec'"),
      body("builtins.getattr", global("builtins", "getattr"), "global 'builtins.getattr'"),
      body("subprocess.Popen", global("subprocess", "Popen"), "global 'subprocess.Popen'"),
      body("torch.load", global("torch", "load"), "global 'torch.load'"),
      body("torch.storage._load_from_bytes", global("torch.storage", "_load_from_bytes"), "_load_from_bytes'"),
      body("os.path.join", global("os.path", "join"), "global 'os.path.join'"),
      body("runpy.run_path", global("runpy", "run_path"), "global 'runpy.run_path'"),
      body("sys.exit", pickle::call(global("sys", "exit"), {}), "global 'sys.exit'"),
      body("importlib.import_module", global("importlib", "import_module"), "global 'importlib.import_module'"),
      body("os.system by INST", "(" + text("true") + "ios\nsystem\n", "global 'os.system'"),
      body("os.system by OBJ", "(" + global("os", "system") + text("true") + "o", "global 'os.system'"),
      body("os.system by NEWOBJ", global("os", "system") + tuple({text("true")}) + "\x81", "global 'os.system'"),
      body("numpy scalar alone", global("numpy.core.multiarray", "scalar"), "'w' is numpy.core.multiarray.scalar"),
      body("module with a space", global("torch FloatStorage x", "y"), "global 'torch FloatStorage x.y'"),
      body("name split elsewhere", global("torch._utils _rebuild_tensor_v2", ""), "_rebuild_tensor_v2.'"),
      body("os.system by STACK_GLOBAL", text("os") + text("system") + "\x93", "global 'os.system'"),
      body("STACK_GLOBAL of numbers", "K\x01K\x02\x93", "met an integer, needs a text"),
      body("int16 tensor alone", tensor({.type = "ShortStorage", .numel = 12}),
           "'w' is a tensor in a torch.ShortStorage"),
      body("int16 storage of another size", tensor({.type = "ShortStorage"}), "its 6 elements need 12"),
      body("a storage class called", pickle::call(float_class, {}), "storage class 'torch.FloatStorage' is called"),
      body("a text called", pickle::call(text("os.system"), {}), "met a text, needs a global"),
      body("REDUCE without a tuple", global("collections", "OrderedDict") + "NR", "met None, needs a tuple"),
      body("OrderedDict of numbers", pickle::call(global("collections", "OrderedDict"), {pickle::list({"N"})}),
           "is not a pair"),
      body("BUILD on a tensor", tensor() + "}b", "met a tensor, needs a dict"),
      body("BUILD with a text", "}" + text("x") + "b", "met a text, needs a dict"),
      body("rebuild with too few arguments", rebuilt({floats}), "with 1 arguments, needs 6 to 7"),
      body("rebuild of a text", rebuilt({text("0"), integer(0), ")", ")", "N", "N"}), "met a text, needs a storage"),
      body("persistent id that is a text", text("0") + "Q", "met a text, needs a tuple"),
      body("persistent id of two", id({"N", "N"}), "a persistent id of 2 parts"),
      body("persistent id of a module", id({text("module"), float_class, text("0"), text("cpu"), integer(6)}),
           "needs 'storage'"),
      body("persistent id with another class",
           id({text("storage"), global("torch", "Size"), text("0"), text("cpu"), integer(6)}), "not a storage class"),
      body("key of 10 kB", tensor({.key = std::string(10'000, 'k')}), "at most 256"),
      body("storage of -1", tensor({.numel = -1}), "storage '0' of -1 elements"),
      body("storage of 2^62", tensor({.numel = int64_t(1) << 62}), "of 4611686018427387904 elements"),
      body("storage of 2^48", tensor({.numel = int64_t(1) << 48}), "its 281474976710656 elements need"),
      body("storage larger than its member", tensor({.numel = 7}), "its 7 elements need 28"),
      body("storage smaller than its member", tensor({.numel = 5, .sizes = {5}, .strides = {1}}), "need 20"),
      body("storage that is missing", tensor({.key = "1"}), "'model/data/1' is missing"),
      body("storage outside the folder", tensor({.key = "../data.pkl"}), "is missing"),
      body("storage of two types", tuple({tensor(), tensor({.type = "IntStorage"})}), "described twice"),
      body("storage of two sizes", tuple({tensor(), tensor({.numel = 7})}), "described twice"),
      body("view beyond its storage",
           rebuilt({id({text("storage"), float_class, text("0"), text("cpu"), integer(6), pickle::integers({1, 4, 3})}),
                    integer(0), ")", ")", "N", "N"}),
           "leaves its storage of 6"),
      body("negative offset", tensor({.offset = -1}), "leaves its storage of 6"),
      body("offset beyond the storage", tensor({.offset = 1}), "leaves its storage of 6"),
      body("offset that overflows", tensor({.offset = INT64_MAX}), "leaves its storage of 6"),
      body("sizes beyond the storage", tensor({.sizes = {7}, .strides = {1}}), "leaves its storage of 6"),
      body("sizes that overflow", tensor({.sizes = {INT64_MAX, INT64_MAX}, .strides = {1, 1}}), "reaches too far"),
      body("strides that overflow", tensor({.strides = {INT64_MAX, INT64_MAX}}), "reaches too far"),
      body("strides beyond the storage", tensor({.strides = {6, 1}}), "leaves its storage of 6"),
      body("negative strides", tensor({.offset = 5, .strides = {-3, -1}}), "negative stride -3"),
      body("negative sizes", tensor({.sizes = {-2, -3}}), "negative size -2"),
      body("strides of another rank", tensor({.strides = {1}}), "comes with 1 strides"),
      body("seven axes", tensor({.sizes = {1, 1, 1, 1, 1, 1, 1}, .strides = {1, 1, 1, 1, 1, 1, 1}}), "7 axes"),
      body("one element repeated a billion times", tensor({.sizes = {1 << 30}, .strides = {0}}), "repeats"),
      body("sizes that are texts", rebuilt({floats, integer(0), tuple({text("2")}), ")", "N", "N"}),
           "needs an integer"),
      pickled("a key twice", whole(dict({{"w", tensor()}, {"w", tensor()}})), "'w' appears twice"),
      pickled("a key twice across levels", whole(dict({{"a.b", tensor()}, {"a", dict({{"b", tensor()}})}})),
              "'a.b' appears twice"),
      pickled("two state dicts", whole(dict({{"model", dict({})}, {"model", dict({})}})), "'model' appears twice"),
      pickled("a key that is None", whole("}(N" + tensor() + "u"), "'(a key that is None)' is a tensor"),
      pickled("a name of 2 kB", whole(dict({{std::string(2000, 'n'), tensor()}})), "at most 1024"),
      pickled("a dict that contains itself", whole("}q\x01(" + text("w") + "h\x01u"), "nested more than 32 deep"),
      pickled("a list that contains itself",
              whole(dict({{"w",
                           "]q\x01h\x01"
                           "a"}})),
              "nested more than 32 deep"),
      body("lists nested 100 000 deep", repeated(100'000, "]") + repeated(99'999, "a"), "nested more than 32 deep"),
      body("a billion lists by 30 memos", bomb + "t", "more than 65536 entries"),
      body("marks without end", repeated(3'000'000, "("), "more than 2097152 operations"),
      body("a large tuple given to many calls", huge_tuple + repeated(10'000, global("torch", "Size") + "(h\x01tR"),
           "more than 2097152 operations"),
      body("a megabyte of text under many names",
           "](" + text(std::string(1 << 20, 't')) + "q\x01" + repeated(100'000, "h\x01") + "e",
           "take more than 16777216 bytes"),
  };
  for (const char code : std::string("P\x82\x83\x84\x97\x98\x7F\xFF")) {
    cases.push_back(pickled(std::string("opcode ") + code, whole("}(" + text("w") + "NN" + code), "opcode 0x"));
  }
  for (size_t length = 2; length + 1 < good.size(); ++length) {
    cases.push_back(pickled("cut at " + std::to_string(length), good.substr(0, length), ": pickle, byte "));
  }
  return cases;
}

Case archived(const std::string& name, const std::function<void(std::vector<ZipPart>&)>& spoil, const std::string& why,
              const ZipLies& lies = {}) {
  std::vector<ZipPart> parts = torch_parts(whole(dict({{"w", tensor()}})), {{"0", kSix}});
  spoil(parts);
  return {name, zip(parts, lies), why};
}

std::vector<Case> zip_cases() {
  const auto keep = [](std::vector<ZipPart>&) {};
  const auto last = [](auto change) { return [change](std::vector<ZipPart>& parts) { change(parts.back()); }; };
  const auto lie = [](auto change) {
    ZipLies lies;
    change(lies);
    return lies;
  };
  const std::string good = torch_zip(whole(dict({{"w", tensor()}})), {{"0", kSix}});
  const std::string short64 = raw(uint16_t(1)) + raw(uint16_t(4)) + raw(uint32_t(24));
  const std::string huge64 = raw(uint16_t(1)) + raw(uint16_t(16)) + raw(INT64_MAX) + raw(INT64_MAX);
  std::vector<Case> cases = {
      archived("a compressed member", last([](ZipPart& p) { p.method = 8; }), "compressed (method 8)"),
      archived("an encrypted member", last([](ZipPart& p) { p.flags = 1; }), "encrypted"),
      archived("flags that differ", last([](ZipPart& p) { p.local_flags = 0; }), "disagrees"),
      archived("a wrong checksum", last([](ZipPart& p) { p.crc = 1; }), "is damaged"),
      archived(
          "a wrong checksum of the pickle", [](std::vector<ZipPart>& p) { p[0].crc = 1; }, "is damaged"),
      archived(
          "a name twice", [](std::vector<ZipPart>& p) { p.push_back(p.back()); }, "appears twice"),
      archived("local name that differs", last([](ZipPart& p) { p.local_name = std::string("model/data/1"); }),
               "disagrees"),
      archived("local size that differs", last([](ZipPart& p) { p.local_size = 23; }), "disagrees"),
      archived("sizes that differ", last([](ZipPart& p) { p.packed = 23; }), "its sizes 23 and 24 differ"),
      archived("a size beyond the file", last([](ZipPart& p) { p.size = 1 << 30; }), "reaches past"),
      archived(
          "members that overlap",
          [](std::vector<ZipPart>& p) { p[3].size = 24, p.insert(p.begin() + 3, {.name = "model/x", .size = 60}); },
          "overlap"),
      archived(
          "two entries of one local header",
          [](std::vector<ZipPart>& p) {
            p.push_back({.name = "model/data.pkl2", .local_offset = 0, .local_name = "model/data.pkl"});
          },
          "disagrees"),
      archived("an offset outside the data", last([](ZipPart& p) { p.local_offset = 0x7FFFFFFF; }), "lies outside"),
      archived("an offset at no header", last([](ZipPart& p) { p.local_offset = 1; }), "no local header"),
      archived("a name that is not UTF-8", last([](ZipPart& p) { p.name = std::string("\xFF"); }), "is not UTF-8"),
      archived("a zip64 field that is short",
               last([&](ZipPart& p) { p.size = 0xFFFFFFFF, p.local_size = 24, p.extra = short64; }), "too short"),
      archived("a zip64 field that is absent", last([](ZipPart& p) { p.size = 0xFFFFFFFF, p.local_size = 24; }),
               "disagrees"),
      archived("a zip64 size of 2^63 - 1",
               last([&](ZipPart& p) { p.size = 0xFFFFFFFF, p.local_size = 24, p.extra = huge64; }), "disagrees"),
      archived("an extra field cut off", last([](ZipPart& p) { p.extra = std::string("abc"); }), "is cut off"),
      archived("an extra field that is too long", last([](ZipPart& p) { p.extra = std::string("\x05\0\xFF\xFF", 4); }),
               "is cut off"),
      archived("more entries than there are", keep, "no directory entry", lie([](ZipLies& l) { l.entries = 5; })),
      archived("fewer entries than there are", keep, "ends at byte", lie([](ZipLies& l) { l.entries = 3; })),
      archived("65 000 entries", keep, "do not fit a directory", lie([](ZipLies& l) { l.entries = 65'000; })),
      archived("a directory elsewhere", keep, "does not end at", lie([](ZipLies& l) { l.offset = 0; })),
      archived("a directory of another size", keep, "does not end at", lie([](ZipLies& l) { l.size = 46; })),
      archived("a directory beyond the file", keep, "does not end at", lie([](ZipLies& l) { l.offset = 0x7FFFFFFF; })),
      archived("zip64 asked for, not given", keep, "zip64 record is missing",
               lie([](ZipLies& l) { l.entries = 0xFFFF; })),
      archived("zip64 locator to nowhere", keep, "lies behind its locator",
               lie([](ZipLies& l) { l.zip64 = true, l.end64_at = INT64_MAX; })),
      archived("zip64 locator to the wrong place", keep, "no zip64 record",
               lie([](ZipLies& l) { l.zip64 = true, l.end64_at = 0; })),
      archived("zip64 with 2^62 entries", keep, "do not fit a directory",
               lie([](ZipLies& l) { l.zip64 = true, l.entries = int64_t(1) << 62; })),
      archived("zip64 with a directory of 2^63 - 1 bytes", keep, "does not end at",
               lie([](ZipLies& l) { l.zip64 = true, l.size = INT64_MAX; })),
      archived("zip64 with a directory at 2^63 - 1", keep, "does not end at",
               lie([](ZipLies& l) { l.zip64 = true, l.offset = INT64_MAX; })),
      archived("bytes after the end", keep, "no end of central directory", lie([](ZipLies& l) { l.tail = "x"; })),
      archived(
          "no pickle", [](std::vector<ZipPart>& p) { p.erase(p.begin()); }, "without a data.pkl"),
      archived(
          "two pickles", [](std::vector<ZipPart>& p) { p.push_back({.name = "other/data.pkl", .data = "}"}); },
          "has two pickles"),
      archived(
          "a big-endian file", [](std::vector<ZipPart>& p) { p[1].data = "big"; }, "byte order is 'big'"),
      archived(
          "a TorchScript program",
          [](std::vector<ZipPart>& p) { p.push_back({.name = "model/constants.pkl", .data = "}"}); }, "TorchScript"),
      {"an archive's first bytes alone", good.substr(0, 4), "no end of central directory"},
  };
  for (size_t length = 5; length < good.size(); length += 7) {
    cases.push_back({"cut at " + std::to_string(length), good.substr(0, length), "no end of central directory"});
  }
  return cases;
}

std::vector<Case> legacy_cases() {
  const std::string object = whole(dict({{"w", tensor()}}));
  const std::string good = torch_legacy(object, {{"0", 6, kSix}});
  const size_t object_at = good.find(object);
  std::string wrong_protocol = good;
  wrong_protocol[18] = 'x';
  std::string big_endian = good;
  big_endian[object_at - 3] = '\x89';
  std::vector<Case> cases = {
      {"another protocol", wrong_protocol, "protocol is not 1001"},
      {"a big-endian system", big_endian, "is big-endian"},
      {"a byte too many", good + "x", "1 bytes follow the last storage"},
      {"a storage length that lies", torch_legacy(object, {{"0", 7, kSix}}), "has 7 elements, the pickle says 6"},
      {"a storage length of -1", torch_legacy(object, {{"0", -1, kSix}}), "has -1 elements"},
      {"a storage too many", torch_legacy(object, {{"0", 6, kSix}, {"1", 6, kSix}}), "lists 2 storages"},
      {"a storage too few", torch_legacy(object, {}), "lists 0 storages"},
      {"a storage of another key", torch_legacy(object, {{"1", 6, kSix}}), "no tensor uses it"},
      {"os.system", torch_legacy(whole(global("os", "system")), {}), "global 'os.system'"},
      {"a storage of 2^48",
       torch_legacy(whole(dict({{"w", tensor({.numel = int64_t(1) << 48})}})), {{"0", int64_t(1) << 48, kSix}}),
       "is cut off"},
  };
  for (size_t length = 15; length < good.size(); length += 5) {
    const bool in_data = length >= good.size() - 32;
    cases.push_back(
        {"cut at " + std::to_string(length), good.substr(0, length), in_data ? "is cut off" : "pickle, byte"});
  }
  return cases;
}

}  // namespace

TEST_CASE("hostile safetensors files are refused for the right reason") {
  check_all(safetensors_cases(), read_safetensors);
}

TEST_CASE("hostile pickles are refused for the right reason") { check_all(pickle_cases(), open_checkpoint); }

TEST_CASE("hostile zip archives are refused for the right reason") { check_all(zip_cases(), open_checkpoint); }

TEST_CASE("hostile legacy files are refused for the right reason") { check_all(legacy_cases(), open_checkpoint); }

TEST_CASE("the files that the hostile ones were made from are accepted") {
  const std::string good = whole(dict({{"w", tensor()}}));
  CHECK(verdict({"zip", torch_zip(good, {{"0", kSix}}), ""}, open_checkpoint) == "accepted");
  CHECK(verdict({"legacy", torch_legacy(good, {{"0", 6, kSix}}), ""}, open_checkpoint) == "accepted");
  CHECK(verdict(one_tensor("F32", "[1]", "[0,4]", 4, ""), open_checkpoint) == "accepted");
}

TEST_CASE("any one byte changed leaves a checkpoint readable or refused, never worse") {
  const std::string object = whole(dict({{"w", tensor()}, {"step", integer(3)}}));
  const std::string files[] = {torch_zip(object, {{"0", kSix}}), torch_legacy(object, {{"0", 6, kSix}}),
                               safetensors(R"({"w":{"dtype":"F32","shape":[6],"data_offsets":[0,24]}})", kSix)};
  const TempDir folder;
  int64_t accepted = 0, refused = 0;
  for (const std::string& file : files) {
    for (size_t at = 0; at < file.size(); at += 3) {
      std::string changed = file;
      changed[at] = char(uint8_t(changed[at]) ^ uint8_t(1u << (at % 8)));
      write_bytes(folder / "x", changed);
      try {
        for (const Weights::Entry& entry : open_checkpoint(folder / "x").weights.entries()) entry.load();
        ++accepted;
      } catch (const Error&) {
        ++refused;
      }
    }
  }
  CHECK(accepted > 0);
  CHECK(refused > 3 * accepted);
}
