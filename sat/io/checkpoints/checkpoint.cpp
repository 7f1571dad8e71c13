// Which reader a checkpoint needs, and what a file that is none looks like.
#include "sat/io/checkpoints/checkpoint.h"

#include <cstring>
#include <string>
#include <string_view>

#include "sat/io/checkpoints/safetensors.h"
#include "sat/io/checkpoints/torch_file.h"
#include "sat/io/checkpoints/zip.h"
#include "sat/io/files/open_file.h"
#include "sat/io/nifti/foreign.h"
#include "sat/io/words/text.h"

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

/// The kind of a file that is no checkpoint and the way out, for the message.
std::string describe(std::string_view bytes) {
  const ForeignKind& kind = recognise_file(bytes.substr(0, kRecognisedBytes));
  return kind.as_model ? std::string(kind.what) + ": " + kind.as_model : kind.what;
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
