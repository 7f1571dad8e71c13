// The lists of globals.
#include "sat/io/checkpoints/pickle_globals.h"

#include <algorithm>
#include <array>

namespace sat {

namespace {

using Call = PickledCallable;

constexpr PickledGlobal storage(const char* name, StoredType type, int64_t bytes) {
  return {"torch", name, Call::storage, 0, 0, type, bytes, true};
}
constexpr PickledGlobal unread_storage(const char* name, int64_t bytes, const char* module = "torch") {
  return {module, name, Call::storage, 0, 0, StoredType::f32, bytes, false};
}

constexpr PickledGlobal kGlobals[] = {
    {"torch._utils", "_rebuild_tensor_v2", Call::tensor, 6, 7},
    {"torch._utils", "_rebuild_tensor", Call::tensor, 4, 4},
    {"torch._utils", "_rebuild_parameter", Call::parameter, 3, 3},
    {"torch._utils", "_rebuild_parameter_with_state", Call::parameter, 4, 4},
    {"torch._tensor", "_rebuild_from_type_v2", Call::typed_tensor, 4, 4},
    {"collections", "OrderedDict", Call::dict, 0, 1},
    {"collections", "defaultdict", Call::dict, 0, 1},
    {"builtins", "dict", Call::dict, 0, 1},
    {"__builtin__", "dict", Call::dict, 0, 1},
    {"torch", "Size", Call::size, 1, 1},
    {"torch", "device", Call::device, 1, 2},
    storage("FloatStorage", StoredType::f32, 4),
    storage("HalfStorage", StoredType::f16, 2),
    storage("BFloat16Storage", StoredType::bf16, 2),
    storage("DoubleStorage", StoredType::f64, 8),
    storage("LongStorage", StoredType::i64, 8),
    storage("IntStorage", StoredType::i32, 4),
    storage("ByteStorage", StoredType::u8, 1),
    storage("BoolStorage", StoredType::boolean, 1),
    unread_storage("ShortStorage", 2),
    unread_storage("CharStorage", 1),
    unread_storage("ComplexFloatStorage", 8),
    unread_storage("ComplexDoubleStorage", 16),
    unread_storage("QInt8Storage", 1),
    unread_storage("QUInt8Storage", 1),
    unread_storage("QInt32Storage", 4),
    unread_storage("UntypedStorage", 1),
    unread_storage("UntypedStorage", 1, "torch.storage"),
};

/// Modules whose functions run programs, load code or reach the network.
constexpr std::string_view kHarmful[] = {
    "os",       "posix",   "nt",     "subprocess", "sys",     "runpy",    "shutil",    "socket",  "pty",
    "commands", "popen2",  "imp",    "pickle",     "_pickle", "cPickle",  "marshal",   "_ctypes", "webbrowser",
    "code",     "codeop",  "pdb",    "bdb",        "timeit",  "profile",  "cProfile",  "signal",  "urllib2",
    "httplib",  "smtplib", "ftplib", "telnetlib",  "pydoc",   "tempfile", "zipimport", "_thread", "threading"};
/// Packages of such modules: what lies inside is refused too.
constexpr std::string_view kHarmfulPackages[] = {"importlib", "ctypes",    "asyncio", "http",
                                                 "urllib",    "requests",  "os",      "multiprocessing",
                                                 "pip",       "ensurepip", "venv",    "torch.hub"};

constexpr std::string_view kHarmfulBuiltins[] = {
    "eval",    "exec",    "execfile", "compile", "open", "file",  "input",  "raw_input",  "getattr",
    "setattr", "delattr", "globals",  "locals",  "vars", "apply", "reload", "breakpoint", "__import__"};

bool is_python_itself(std::string_view module) { return module == "builtins" || module == "__builtin__"; }

bool is_word(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
           (uint8_t(c) & 0x80) != 0;
  });
}

template <size_t N>
bool contains(const std::string_view (&list)[N], std::string_view wanted) {
  return std::find(std::begin(list), std::end(list), wanted) != std::end(list);
}

}  // namespace

int64_t find_pickled_global(std::string_view module, std::string_view name) {
  const auto found = std::find_if(std::begin(kGlobals), std::end(kGlobals), [&](const PickledGlobal& global) {
    return module == global.module && name == global.name;
  });
  return found == std::end(kGlobals) ? -1 : found - std::begin(kGlobals);
}

const PickledGlobal& pickled_global(int64_t index) { return kGlobals[index]; }

bool is_refused_global(std::string_view module, std::string_view name) {
  if (!is_word(module) || !is_word(name)) return true;
  if (contains(kHarmful, module)) return true;
  for (size_t dot = module.find('.');; dot = module.find('.', dot + 1)) {
    if (contains(kHarmfulPackages, module.substr(0, dot))) return true;
    if (dot == std::string_view::npos) break;
  }
  if (is_python_itself(module)) return contains(kHarmfulBuiltins, name.substr(0, name.find('.')));
  return (module == "torch" || module == "torch.serialization" || module == "torch.storage") &&
         (name == "load" || name == "_load_from_bytes" || name.substr(0, 4) == "hub.");
}

std::string shown_global(std::string_view module, std::string_view name) {
  return is_python_itself(module) ? std::string(name) : std::string(module) + "." + std::string(name);
}

std::string shown_result(const std::string& global) {
  for (const std::string start : {"numpy.core.multiarray.", "numpy._core.multiarray."}) {
    if (global == start + "_reconstruct") return "numpy.ndarray";
    if (global == start + "scalar") return "a NumPy scalar";
  }
  return global == "_codecs.encode" ? "bytes" : global;
}

}  // namespace sat
