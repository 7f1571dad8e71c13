// Reading and writing safetensors.
#include "sat/io/checkpoints/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <utility>

#include "sat/io/checkpoints/stored_tensor.h"
#include "sat/io/files/file.h"
#include "sat/io/words/json.h"
#include "sat/io/words/text.h"

namespace sat {

namespace {

constexpr const char* kMetadataKey = "__metadata__";

struct TypeName {
  const char* name;
  StoredType type;
};
constexpr std::array<TypeName, 8> kTypes{{{"F32", StoredType::f32},
                                          {"F16", StoredType::f16},
                                          {"BF16", StoredType::bf16},
                                          {"F64", StoredType::f64},
                                          {"I32", StoredType::i32},
                                          {"I64", StoredType::i64},
                                          {"U8", StoredType::u8},
                                          {"BOOL", StoredType::boolean}}};

/// Types that no tensor here has. Their tensors are read over.
struct UnreadType {
  const char* name;
  int64_t bytes;
};
constexpr std::array<UnreadType, 8> kUnread{
    {{"I8", 1}, {"I16", 2}, {"U16", 2}, {"U32", 4}, {"U64", 8}, {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"C64", 8}}};

struct Placed {
  std::string name;
  StoredTensor tensor;  // its offset counts from the start of the file, and it has no strides
  int64_t end = 0;
  const char* unread = nullptr;  // the name of its type where that is none of ours
};

std::string header_of(const OpenFile& file, int64_t most) {
  SAT_CHECK(file.size() >= 8, file.path(), ": has ", file.size(), " bytes, a safetensors file has at least 8");
  uint64_t length = 0;
  file.read(0, &length, sizeof length);
  SAT_CHECK(length <= uint64_t(most), file.path(), ": header length is ", length, ", at most ", most, " is taken");
  SAT_CHECK(length <= uint64_t(file.size() - 8), file.path(), ": header length is ", length, ", the file has ",
            file.size() - 8, " bytes after it");
  std::string header = file.text(8, int64_t(length));
  SAT_CHECK(!header.empty() && header[0] == '{', file.path(), ": the safetensors header does not start with '{'");
  return header;
}

std::map<std::string, std::string> read_metadata(const Json& json) {
  std::map<std::string, std::string> metadata;
  for (const auto& [key, value] : json.members()) metadata.emplace(key, value.string());
  return metadata;
}

StoredType parse_type(const std::string& name) {
  for (const TypeName& known : kTypes) {
    if (name == known.name) return known.type;
  }
  fail("type ", quoted(name), " is not one of F32, F16, BF16, F64, I32, I64, U8, BOOL");
}

Placed read_place(const std::string& name, const Json& json, int64_t data_start, int64_t data_bytes) {
  for (const auto& [key, value] : json.members()) {
    SAT_CHECK(key == "dtype" || key == "shape" || key == "data_offsets", "unknown key ", quoted(key));
  }
  Placed placed;
  placed.name = name;
  const std::string& type = json["dtype"].string();
  const auto unread =
      std::find_if(kUnread.begin(), kUnread.end(), [&](const UnreadType& known) { return type == known.name; });
  placed.unread = unread == kUnread.end() ? nullptr : unread->name;
  if (!placed.unread) placed.tensor.type = parse_type(type);
  const int64_t element = placed.unread ? unread->bytes : size_of(placed.tensor.type);
  placed.tensor.shape = Shape(json["shape"].integers());
  const std::vector<int64_t> offsets = json["data_offsets"].integers();
  SAT_CHECK(offsets.size() == 2, "data_offsets has ", offsets.size(), " entries, needs 2");
  SAT_CHECK(0 <= offsets[0] && offsets[0] <= offsets[1] && offsets[1] <= data_bytes, "data_offsets ",
            json["data_offsets"].dump(), " must be two ascending places within the file's ", data_bytes,
            " bytes of data");
  int64_t bytes = 0;
  SAT_CHECK(!__builtin_mul_overflow(placed.tensor.shape.numel(), element, &bytes) && bytes == offsets[1] - offsets[0],
            "shape ", placed.tensor.shape, " of ", type, " does not fill the ", offsets[1] - offsets[0],
            " bytes of data_offsets ", json["data_offsets"].dump());
  placed.tensor.offset = data_start + offsets[0];
  placed.end = data_start + offsets[1];
  return placed;
}

/// The tensors must tile the data: each begins where the one before it ends, and the last ends with the file.
void check_tiling(const OpenFile& file, std::vector<Placed>& placed, int64_t data_start) {
  std::sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) {
    return std::pair(a.tensor.offset, a.end) < std::pair(b.tensor.offset, b.end);
  });
  int64_t filled = data_start;
  for (const Placed& next : placed) {
    SAT_CHECK(next.tensor.offset == filled, file.path(), ": tensor ", quoted(next.name), " begins at byte ",
              next.tensor.offset - data_start, " of the data, the one before it ends at ", filled - data_start,
              next.tensor.offset < filled ? ": they overlap" : ": there is a hole");
    filled = next.end;
  }
  SAT_CHECK(filled == file.size(), file.path(), ": the tensors end at byte ", filled, ", the file at ", file.size());
}

}  // namespace

Checkpoint read_safetensors(const std::string& path, const CheckpointLimits& limits) {
  const auto file = std::make_shared<OpenFile>(path);
  std::map<std::string, std::string> metadata;
  std::vector<Placed> placed;
  bool has_metadata = false;
  int64_t data_start = 0;
  {
    const std::string header = header_of(*file, limits.header);
    data_start = int64_t(8 + header.size());
    Json::each_member(header, path + ": safetensors header", [&](const std::string& name, const Json& value) {
      try {
        if (name == kMetadataKey) {
          SAT_CHECK(!std::exchange(has_metadata, true), "the key appears twice");
          metadata = read_metadata(value);
        } else {
          SAT_CHECK(int64_t(placed.size()) < limits.entries(), "more than ", limits.entries(), " tensors");
          placed.push_back(read_place(name, value, data_start, file->size() - data_start));
        }
      } catch (const Error& error) {
        fail(path, ": safetensors header, entry ", quoted(name), ": ", error.what());
      }
    });
  }
  check_tiling(*file, placed, data_start);

  std::vector<Weights::Entry> entries;
  std::map<std::string, std::string> skipped;
  entries.reserve(placed.size());
  for (Placed& one : placed) {
    if (one.unread) {
      SAT_CHECK(skipped.emplace(one.name, std::string("a tensor of ") + one.unread).second, path, ": tensor ",
                quoted(one.name), " appears twice");
      continue;
    }
    const DType dtype = dtype_of(one.tensor.type);
    const Shape shape = one.tensor.shape;
    entries.push_back(
        {std::move(one.name), shape, dtype, [file, type = one.tensor.type, shape, at = one.tensor.offset] {
           return read_stored(*file, {type, shape, {}, at});
         }});
  }
  placed = {};
  return {Weights(std::move(entries), path), std::move(metadata), std::move(skipped)};
}

std::string safetensors_head(const std::vector<SafetensorsEntry>& tensors,
                             const std::map<std::string, std::string>& metadata, const std::string& path) {
  std::vector<Json::Member> header;
  if (!metadata.empty()) {
    std::vector<Json::Member> texts(metadata.begin(), metadata.end());
    header.emplace_back(kMetadataKey, Json::object(std::move(texts)));
  }
  int64_t filled = 0;
  for (const SafetensorsEntry& tensor : tensors) {
    SAT_CHECK(tensor.name != kMetadataKey, path, ": a tensor cannot be called '", kMetadataKey, "'");
    const auto type = std::find_if(kTypes.begin(), kTypes.end(), [&](const TypeName& known) {
      return known.type != StoredType::f64 && dtype_of(known.type) == tensor.dtype;
    });
    std::vector<Json> shape;
    for (const int64_t size : tensor.shape.sizes()) shape.emplace_back(size);
    const int64_t end = filled + tensor.shape.numel() * size_of(tensor.dtype);
    header.emplace_back(tensor.name, Json::object({{"dtype", type->name},
                                                   {"shape", Json::array(std::move(shape))},
                                                   {"data_offsets", Json::array({filled, end})}}));
    filled = end;
  }
  std::string text = Json::object(std::move(header)).dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  const int64_t most = CheckpointLimits().header;
  SAT_CHECK(int64_t(text.size()) <= most, path, ": the header would take ", text.size(), " bytes, at most ", most,
            " are taken when it is read");
  const uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + text;
}

void write_safetensors(const std::string& path, const std::map<std::string, Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<std::pair<std::string, Tensor>> ordered(tensors.begin(), tensors.end());
  std::stable_sort(ordered.begin(), ordered.end(), [](const auto& a, const auto& b) {
    return std::pair(-size_of(a.second.dtype), a.second.dtype) < std::pair(-size_of(b.second.dtype), b.second.dtype);
  });
  std::vector<SafetensorsEntry> entries;
  for (const auto& [name, tensor] : ordered) {
    SAT_CHECK(!tensor.empty() && tensor.device == Device::cpu, path, ": tensor ", quoted(name), " has no CPU bytes");
    entries.push_back({name, tensor.shape, tensor.dtype});
  }
  const std::string head = safetensors_head(entries, metadata, path);

  AtomicFile file(path);
  file.write(head);
  for (const auto& [name, tensor] : ordered) {
    if (tensor.bytes() > 0) file.write(tensor.raw(), tensor.bytes());
  }
  file.commit();
}

}  // namespace sat
