// Which reader a checkpoint needs, and what a file that is none looks like.
#include "sat/io/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "sat/io/open_file.h"
#include "sat/io/safetensors.h"
#include "sat/io/text.h"
#include "sat/io/torch_file.h"
#include "sat/io/zip.h"

namespace sat {

namespace {

constexpr uint64_t kMaxSafetensorsHeader = 100'000'000;  // of the format; what is taken is a matter of limits
constexpr int64_t kShown = 512;                          // bytes that tell the kinds of files apart

bool is_safetensors(const uint8_t* bytes, int64_t count) {
  uint64_t length = 0;
  if (count < 9) return false;
  std::memcpy(&length, bytes, sizeof length);
  return length <= kMaxSafetensorsHeader && bytes[8] == '{';
}

/// A guess at the kind of a file that is no checkpoint, for the message.
std::string describe(std::string_view bytes) {
  const auto starts = [&](std::string_view start) { return bytes.substr(0, start.size()) == start; };
  const auto at = [&](size_t place, std::string_view part) {
    return bytes.size() > place && bytes.substr(place, part.size()) == part;
  };
  const auto byte = [&](size_t i) { return i < bytes.size() ? uint8_t(bytes[i]) : uint8_t(0); };
  using namespace std::string_view_literals;
  if (starts("version https://git-lfs")) return "a git-lfs pointer: fetch the file itself with 'git lfs pull'";
  if (starts("\x1F\x8B")) return "gzip data: unpack it first";
  if (starts("\xFD"
             "7zXZ") ||
      starts("BZh") || starts("\x28\xB5\x2F\xFD") || starts("7z\xBC\xAF") || starts("Rar!")) {
    return "compressed data: unpack it first";
  }
  if (starts("<!DOCTYPE") || starts("<!doctype") || starts("<html") || starts("<HTML")) {
    return "a web page, not the file it should lead to";
  }
  if (starts("\x5C\x01\0\0"sv) || starts("\0\0\x01\x5C"sv) || starts("\x1C\x02\0\0"sv) || starts("\0\0\x02\x1C"sv)) {
    return "a NIfTI image";
  }
  if (at(128, "DICM")) return "a DICOM image";
  if (starts("\x89HDF")) return "an HDF5 file, as Keras writes";
  if (starts("GGUF")) return "a GGUF model";
  if (starts("\x93NUMPY")) return "a NumPy array";
  if (starts("\x89PNG")) return "a PNG image";
  if (starts("PK\x05\x06")) return "an empty zip archive";
  if (at(257, "ustar")) return "a tar archive: unpack it first";
  if (byte(0) == 0x80 && byte(1) >= 2 && byte(1) <= 5) return "a bare Python pickle";
  if (byte(0) == 0x08 && byte(1) >= 1 && byte(1) <= 20 && byte(2) == 0x12) return "an ONNX model";
  if (starts("{") || starts("[")) return "a JSON text";
  return "no kind of file known here";
}

}  // namespace

Checkpoint open_checkpoint(const std::string& path, const CheckpointLimits& limits) {
  const OpenFile file(path);
  const std::string text = file.text(0, std::min(kShown, file.size()));
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  const auto count = int64_t(text.size());
  if (is_zip(bytes, count) || is_legacy_torch_file(bytes, count)) return read_torch_file(path, limits);
  if (is_safetensors(bytes, count)) return read_safetensors(path, limits);
  fail(path, ": is no checkpoint (safetensors or PyTorch); it begins with ", quoted(text.substr(0, 16)), ", ",
       describe(text));
}

}  // namespace sat
