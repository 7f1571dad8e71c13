// Whatever real checkpoints hold beside their tensors is read over and named; none of it changes the tensors, and none
// of it is run.
#include <doctest/doctest.h>

#include <string>

#include "sat/io/checkpoints/checkpoint.h"
#include "tests/support/checkpoint_bytes.h"
#include "tests/support/golden.h"

namespace {

using namespace sat;
using namespace sat::test;
using pickle::call;
using pickle::dict;
using pickle::global;
using pickle::integer;
using pickle::list;
using pickle::tensor;
using pickle::text;
using pickle::tuple;
using pickle::whole;

using Texts = std::map<std::string, std::string>;

const std::string kSix = raw<float>({0, 1, 2, 3, 4, 5});

Checkpoint read(const std::string& bytes) {
  const TempDir folder;
  write_bytes(folder / "x.pth", bytes);
  return open_checkpoint(folder / "x.pth");
}

std::string error_of(const std::string& bytes) {
  try {
    read(bytes);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

/// A whole checkpoint with one value beside the state dict, in both containers; the weights must be there in both.
Checkpoint beside(const std::string& value, const std::map<std::string, std::string>& storages = {}) {
  const std::string object = whole(dict({{"extra", value}, {"model_state_dict", dict({{"w", tensor()}})}}));
  std::map<std::string, std::string> all = storages;
  all["0"] = kSix;
  const Checkpoint checkpoint = read(torch_zip(object, all));
  CHECK(checkpoint.weights.get("w", {2, 3}).data<float>()[5] == 5);
  if (storages.empty()) CHECK(read(torch_legacy(object, {{"0", 6, kSix}})).skipped == checkpoint.skipped);
  return checkpoint;
}

std::string bytes_of(const std::string& value) { return "C" + raw(uint8_t(value.size())) + value; }

}  // namespace

TEST_CASE("pickle: objects beside the state dict are skipped by the name of their class") {
  const std::string dtype = call(global("numpy", "dtype"), {text("f8"), integer(0), integer(1)}) +
                            tuple({integer(3), text("<"), "N", "N", "N", integer(-1), integer(-1), integer(0)}) + "b";
  const std::string array = call(global("numpy.core.multiarray", "_reconstruct"),
                                 {global("numpy", "ndarray"), tuple({integer(0)}), bytes_of("b")}) +
                            tuple({integer(1), tuple({integer(3)}), dtype, "\x89", bytes_of(std::string(24, '\xF0'))}) +
                            "b";
  const std::string codecs = call(global("_codecs", "encode"), {text("\u00E9"), text("latin1")});
  const std::string space = global("argparse", "Namespace") + ")\x81" + dict({{"lr", pickle::real(1e-4)}}) + "b";
  const std::string old_space = call(global("copy_reg", "_reconstructor"),
                                     {global("argparse", "Namespace"), global("__builtin__", "object"), "N"}) +
                                dict({{"lr", pickle::real(1e-4)}}) + "b";
  const std::string numbers = call(global("numpy._core.multiarray", "scalar"), {dtype, bytes_of("12345678")});
  const std::string queue = call(global("collections", "deque"), {}) + list({integer(1)}).substr(1);
  const std::string made = global("nets", "Sat") + tuple({}) + dict({}) + "\x92";
  const std::pair<std::string, std::string> cases[] = {
      {array, "numpy.ndarray"},
      {numbers, "a NumPy scalar"},
      {codecs, "bytes"},
      {space, "argparse.Namespace"},
      {old_space, "argparse.Namespace"},
      {queue, "collections.deque"},
      {made, "nets.Sat"},
      {"(" + text("x") + "inets\nSat\n", "nets.Sat"},
      {"(" + global("nets", "Sat") + text("x") + "o", "nets.Sat"},
      {global("torch", "float32"), "torch.float32"},
      {call(global("builtins", "set"), {list({integer(1)})}), "set"},
      {"\x8f(" + text("a") + text("b") + "\x90", "set"},
      {"(" + text("a") + "\x91", "frozenset"},
      {bytes_of("abc\xFF"), "bytes"},
      {"B" + raw(uint32_t(3)) + "abc", "bytes"},
      {"\x8e" + raw(uint64_t(3)) + "abc", "bytes"},
      {"\x96" + raw(uint64_t(3)) + "abc", "bytearray"},
      {"U\x02\xC3(", "bytes"},
      {"\x8a\x09" + std::string(9, '\x7F'), "an integer beyond 64 bits"},
      {"\x8b" + raw(int32_t(300)) + std::string(300, '\x7F'), "an integer beyond 64 bits"},
      {"L1180591620717411303424L\n", "an integer beyond 64 bits"},
      {dict({{"a", integer(1)}}), "a dict"},
      {list({tensor()}), "a list"},
      {tensor(), "a tensor"}};
  for (const auto& one : cases) {
    CAPTURE(one.second);
    CHECK(beside(one.first).skipped == Texts{{"extra", one.second}});
  }
}

TEST_CASE("pickle: dicts of other classes, and what protocol 0 writes out, are values like others") {
  CHECK(beside("I01\n").metadata == Texts{{"extra", "true"}});
  CHECK(beside("I-70000\n").metadata == Texts{{"extra", "-70000"}});
  CHECK(beside("L12L\n").metadata == Texts{{"extra", "12"}});
  CHECK(beside("F0.25\n").metadata == Texts{{"extra", "0.25"}});
  CHECK(beside("S'it\\'s\\n'\n").metadata == Texts{{"extra", "it's\n"}});
  CHECK(beside("V\\u00e9\\U0001f600 plain\n").metadata == Texts{{"extra", "\u00E9\U0001F600 plain"}});
  CHECK(beside("V\\ud83d\n").skipped == Texts{{"extra", "bytes"}});
  CHECK(beside(integer(7) + "2" + "0" + "p9999\n0g9999\n").metadata == Texts{{"extra", "7"}});
  CHECK(beside(integer(7) + "(NN1").metadata == Texts{{"extra", "7"}});
  CHECK(beside(integer(7) + "(0").metadata == Texts{{"extra", "7"}});
  CHECK(beside("N").skipped.empty());

  const std::string counted = call(global("collections", "defaultdict"), {global("__builtin__", "list")});
  const std::string state = counted + "(" + text("w") + tensor() + "u";
  const std::string old = "(" + text("w") + tensor() + "d";
  for (const std::string& one : {state, old}) {
    CHECK(read(torch_zip(whole(dict({{"state_dict", one}})), {{"0", kSix}})).weights.has("w"));
  }
  // Protocols 0 and 1 have no beginning of their own.
  const std::string first = "(" + text("w") + tensor() + "d.";
  CHECK(read(torch_zip(first, {{"0", kSix}})).weights.has("w"));
}

TEST_CASE("pickle: keys that are no names are skipped, and the rest of the dict is not") {
  const std::string strange = "}(N" + integer(1) + tuple({integer(1)}) + tensor() + pickle::real(1.5) + text("x") +
                              "\x88N" + text("model") + dict({{"w", tensor()}, {"b", tensor()}}) + "u";
  const Checkpoint checkpoint = read(torch_zip(whole(strange), {{"0", kSix}}));
  CHECK(checkpoint.weights.entries().size() == 2);
  CHECK(checkpoint.skipped == Texts{{"(a key that is None)", "an integer"},
                                    {"(a key that is a tuple)", "a tensor"},
                                    {"(a key that is a float)", "a text"}});
}

TEST_CASE("pickle: tensors of types that nothing here has are skipped, in both containers") {
  const std::pair<const char*, int> types[] = {{"ShortStorage", 2}, {"CharStorage", 1}, {"ComplexDoubleStorage", 16}};
  for (const auto& one : types) {
    const char* type = one.first;
    CAPTURE(type);
    const std::string data(size_t(6 * one.second), '\1');
    const std::string odd = tensor({.type = type, .key = "1"});
    const std::string object = whole(dict({{"odd", odd}, {"w", tensor()}}));
    for (const std::string& file :
         {torch_zip(object, {{"0", kSix}, {"1", data}}), torch_legacy(object, {{"1", 6, data}, {"0", 6, kSix}})}) {
      const Checkpoint checkpoint = read(file);
      CHECK(checkpoint.weights.get("w", {2, 3}).data<float>()[5] == 5);
      CHECK(checkpoint.skipped == Texts{{"odd", std::string("a tensor in a torch.") + type}});
    }
  }
}

TEST_CASE("pickle: tensors with attributes, and parameters with a state, are tensors") {
  const std::string arguments =
      tuple({pickle::storage("FloatStorage", "0", 6), integer(0), pickle::integers({2, 3}), pickle::integers({3, 1}),
             "\x89", call(global("collections", "OrderedDict"), {})});
  const std::string typed = call(
      global("torch._tensor", "_rebuild_from_type_v2"),
      {global("torch._utils", "_rebuild_tensor_v2"), global("nets", "MetaTensor"), arguments, dict({{"affine", "N"}})});
  const std::string parameter = call(global("torch._utils", "_rebuild_parameter_with_state"),
                                     {tensor(), "\x88", call(global("collections", "OrderedDict"), {}), dict({})});
  const Checkpoint checkpoint = read(torch_zip(whole(dict({{"a", typed}, {"b", parameter}})), {{"0", kSix}}));
  CHECK(checkpoint.weights.get("a", {2, 3}).data<float>()[4] == 4);
  CHECK(checkpoint.weights.get("b", {2, 3}).data<float>()[4] == 4);
}

TEST_CASE("pickle: of several state dicts the model's is taken before its average, within what wraps them") {
  const auto holder = [](const std::string& name) { return dict({{name, tensor()}}); };
  const Checkpoint both = read(
      torch_zip(whole(dict({{"ema_state_dict", holder("ema.w")}, {"model_state_dict", holder("w")}})), {{"0", kSix}}));
  CHECK(both.weights.has("w"));
  CHECK(both.skipped == Texts{{"ema_state_dict", "a dict"}});
  const Checkpoint inside = read(torch_zip(
      whole(dict({{"model", dict({{"state_dict", holder("w")}, {"args", global("argparse", "Namespace") + ")R"}})}})),
      {{"0", kSix}}));
  CHECK(inside.weights.has("w"));
  CHECK(inside.skipped == Texts{{"model.args", "argparse.Namespace"}});
  // A dict of settings is no state dict, whatever its name.
  const Checkpoint named =
      read(torch_zip(whole(dict({{"model", dict({{"width", integer(3)}})}, {"net", holder("w")}})), {{"0", kSix}}));
  CHECK(named.weights.has("w"));
  CHECK(named.skipped == Texts{{"model", "a dict"}});
}

TEST_CASE("pickle: a model saved whole is named for what it is") {
  const std::string module = global("nets", "Sat") + ")\x81" + dict({{"_modules", dict({{"w", tensor()}})}}) + "b";
  CHECK(error_of(torch_zip(whole(module), {{"0", kSix}})).find("holds an object, nets.Sat, and no state dict") !=
        std::string::npos);
  CHECK(error_of(torch_zip(whole(dict({{"model", module}})), {{"0", kSix}})).find("'model' is nets.Sat") !=
        std::string::npos);
}
