// Reading PyTorch files: where storages lie in either container, and what of the pickled object is the state dict.
#include "sat/io/checkpoints/torch_file.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>
#include <mutex>
#include <set>

#include "sat/io/checkpoints/pickle.h"
#include "sat/io/checkpoints/stored_tensor.h"
#include "sat/io/checkpoints/zip.h"
#include "sat/io/words/text.h"

namespace sat {

namespace {

constexpr int kMaxNesting = 32;
constexpr size_t kMaxName = 1024;
constexpr size_t kMaxMetadata = 16 << 20;  // bytes of all texts

/// Where state dicts stand in whole checkpoints, in the order in which they are preferred.
constexpr const char* kStateDicts[] = {"model_state_dict", "state_dict", "network_weights", "model", "net", "ema",
                                       "ema_state_dict",   "model_ema"};

// A pickle of protocol 2 that holds the number 0x1950a86a20f9469cfc6c, as every legacy file begins.
constexpr uint8_t kLegacyMagic[] = {0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.'};
constexpr int64_t kLegacyProtocol = 1001;

using Value = PickledValue;
using Kind = PickledValue::Kind;

/// Where a storage's bytes lie. Those of a zip member are checked against its checksum before the first is used.
struct StoragePlace {
  int64_t offset = 0;
  std::string member;  // empty in a legacy file, which has no checksums
  ZipMember entry;
};

/// An open file: what its loaders share. The pickle is not kept.
struct TorchFile {
  std::shared_ptr<const OpenFile> bytes;
  std::unique_ptr<ZipArchive> archive;  // null for a legacy file
  std::vector<StoragePlace> places;     // one a storage of the pickle
  std::unique_ptr<std::once_flag[]> checked;

  const std::string& path() const { return bytes->path(); }

  /// A tensor whose offset counts from the start of a storage.
  Tensor load(size_t storage, StoredTensor tensor) const {
    const StoragePlace& place = places[storage];
    if (archive) std::call_once(checked[storage], [&] { archive->check_crc(place.member, place.entry); });
    tensor.offset += place.offset;
    return read_stored(*bytes, tensor);
  }
};

/// Walks the pickled object and collects tensors and scalars by name. A walk is bounded, for values may be shared many
/// times over or contain themselves.
class Flattener {
 public:
  Flattener(std::shared_ptr<const TorchFile> file, const Pickle& pickle, const CheckpointLimits& limits)
      : file_(std::move(file)), pickle_(pickle), most_(limits.entries()) {}

  Checkpoint run() {
    const Value& root = pickle_[pickle_.root];
    SAT_CHECK(root.kind != Kind::opaque, path(), ": holds an object, ", pickle_.name(root),
              ", and no state dict: save the network's state_dict() instead");
    SAT_CHECK(root.kind == Kind::dict, path(), ": holds no dict, so no state dict");
    walk("", state_dict("", pickle_.root, 0), 0);
    if (entries_.empty() && !skipped_.empty()) {
      fail(path(), ": holds no tensors that can be read; ", quoted(skipped_.begin()->first), " is ",
           skipped_.begin()->second);
    }
    SAT_CHECK(!entries_.empty(), path(), ": holds no tensors");
    return {Weights(std::move(entries_), path()), std::move(metadata_), std::move(skipped_)};
  }

 private:
  const std::string& path() const { return file_->path(); }

  static bool is_scalar(const Value& value) {
    return value.kind == Kind::boolean || value.kind == Kind::integer || value.kind == Kind::real ||
           value.kind == Kind::text;
  }

  void visit() { SAT_CHECK(++visited_ <= most_, path(), ": more than ", most_, " entries"); }

  const int32_t* find(const Value& dict, std::string_view key) {
    const int32_t* found = nullptr;
    const std::vector<int32_t>& items = pickle_.items(dict);
    for (size_t i = 0; i < items.size(); i += 2) {
      const Value& met = pickle_[items[i]];
      if (met.kind != Kind::text || met.text != key) continue;
      SAT_CHECK(!found, path(), ": the key ", quoted(key), " appears twice");
      found = &items[i + 1];
    }
    return found;
  }

  bool holds_tensors(const Value& dict, int depth) {
    constexpr int kDeepest = 3;
    const std::vector<int32_t>& items = pickle_.items(dict);
    for (size_t i = 1; i < items.size(); i += 2) {
      visit();
      const Value& value = pickle_[items[i]];
      if (value.kind == Kind::tensor) return true;
      if (value.kind == Kind::dict && depth < kDeepest && holds_tensors(value, depth + 1)) return true;
    }
    return false;
  }

  /// The state dict within a dict, or that dict itself; what stands beside the one chosen is noted.
  int32_t state_dict(const std::string& name, int32_t index, int depth) {
    constexpr int kDeepest = 4;
    const Value& dict = pickle_[index];
    for (const char* key : kStateDicts) {
      const int32_t* found = find(dict, key);
      if (!found || depth == kDeepest || pickle_[*found].kind != Kind::dict) continue;
      if (!holds_tensors(pickle_[*found], 0)) continue;
      const std::vector<int32_t>& items = pickle_.items(dict);
      for (size_t i = 0; i < items.size(); i += 2) {
        if (&items[i + 1] != found) note(name + name_of(items[i]), items[i], pickle_[items[i + 1]]);
      }
      return state_dict(name + key + ".", *found, depth + 1);
    }
    return index;
  }

  /// A value beside the state dict.
  void note(const std::string& name, int32_t key, const Value& value) {
    visit();
    if (has_name(key) && is_scalar(value)) return add_scalar(name, value);
    if (value.kind != Kind::none) skip(name, value);
  }

  void skip(const std::string& name, const Value& value) { skipped_.emplace(name, describe(pickle_, value)); }

  bool has_name(int32_t key) const { return pickle_[key].kind == Kind::text || pickle_[key].kind == Kind::integer; }

  std::string name_of(int32_t key) const {
    const Value& value = pickle_[key];
    if (value.kind == Kind::integer) return std::to_string(value.number);
    if (value.kind != Kind::text) return "(a key that is " + describe(pickle_, value) + ")";
    SAT_CHECK(value.text.size() <= kMaxName, path(), ": the key ", quoted(value.text), " has ", value.text.size(),
              " bytes, at most ", kMaxName, " are allowed");
    return std::string(value.text);
  }

  void walk(const std::string& name, int32_t index, int depth) {
    SAT_CHECK(depth <= kMaxNesting, path(), ": ", quoted(name), " is nested more than ", kMaxNesting, " deep");
    visit();
    SAT_CHECK(name.size() <= kMaxName, path(), ": the name ", quoted(name), " has ", name.size(), " bytes, at most ",
              kMaxName, " are allowed");
    const Value& value = pickle_[index];
    const std::string prefix = name.empty() ? "" : name + ".";
    if (value.kind == Kind::dict) {
      const std::vector<int32_t>& items = pickle_.items(value);
      std::set<std::string> keys;
      for (size_t i = 0; i < items.size(); i += 2) {
        const std::string key = name_of(items[i]);
        if (!has_name(items[i])) {
          skip(prefix + key, pickle_[items[i + 1]]);
          continue;
        }
        SAT_CHECK(keys.insert(key).second, path(), ": the key ", quoted(prefix + key), " appears twice");
        walk(prefix + key, items[i + 1], depth + 1);
      }
    } else if (value.kind == Kind::list || value.kind == Kind::tuple) {
      const std::vector<int32_t>& items = pickle_.items(value);
      for (size_t i = 0; i < items.size(); ++i) walk(prefix + std::to_string(i), items[i], depth + 1);
    } else if (value.kind == Kind::tensor) {
      add_tensor(name, pickle_.tensors[size_t(value.number)]);
    } else if (is_scalar(value)) {
      add_scalar(name, value);
    } else if (value.kind != Kind::none) {
      skip(name, value);
    }
  }

  void add_tensor(const std::string& name, const PickledTensor& tensor) {
    const StoredType type = pickle_.storages[size_t(tensor.storage)].type;
    StoredTensor stored{type, tensor.shape, tensor.strides, tensor.offset * size_of(type)};
    if (tensor.shape.numel() == 0 || tensor.strides == contiguous_strides(tensor.shape)) stored.strides.clear();
    entries_.push_back({name, tensor.shape, dtype_of(type),
                        [file = file_, name, storage = size_t(tensor.storage), stored = std::move(stored)] {
                          try {
                            return file->load(storage, stored);
                          } catch (const Error& error) {
                            fail("tensor ", quoted(name), ": ", error.what());
                          }
                        }});
  }

  void add_scalar(const std::string& name, const Value& value) {
    char digits[32];
    std::string text;
    if (value.kind == Kind::boolean) text = value.number ? "true" : "false";
    if (value.kind == Kind::integer) text = std::to_string(value.number);
    if (value.kind == Kind::real) text.assign(digits, std::to_chars(digits, digits + sizeof digits, value.real).ptr);
    metadata_bytes_ += value.text.size();
    SAT_CHECK(metadata_bytes_ <= kMaxMetadata, path(), ": texts beside the tensors take more than ", kMaxMetadata,
              " bytes");
    if (value.kind == Kind::text) text = value.text;
    SAT_CHECK(metadata_.emplace(name, text).second, path(), ": the key ", quoted(name), " appears twice");
  }

  std::shared_ptr<const TorchFile> file_;
  const Pickle& pickle_;
  std::vector<Weights::Entry> entries_;
  std::map<std::string, std::string> metadata_, skipped_;
  size_t metadata_bytes_ = 0;
  int64_t visited_ = 0, most_;
};

int64_t bytes_of(const PickledStorage& storage) { return storage.numel * storage.element_bytes; }

/// A pickle, and the bytes that its texts lie in.
struct HeldPickle {
  std::unique_ptr<const std::string> bytes;  // so that they stay where they are when this moves
  Pickle pickle;
};

HeldPickle open_zip(TorchFile& file, const CheckpointLimits& limits) {
  constexpr int64_t kMaxWord = 64;  // bytes that tell the byte order
  const std::string& path = file.path();
  file.archive = std::make_unique<ZipArchive>(file.bytes, limits.header, limits.entries());
  const ZipArchive& archive = *file.archive;

  constexpr std::string_view kPickle = "/data.pkl";
  std::string prefix;
  for (const auto& [name, member] : archive.members()) {
    if (name.size() <= kPickle.size() || name.substr(name.size() - kPickle.size()) != kPickle) continue;
    SAT_CHECK(prefix.empty(), path, ": has two pickles, ", quoted(prefix + "data.pkl"), " and ", quoted(name));
    prefix = name.substr(0, name.size() - kPickle.size() + 1);
  }
  SAT_CHECK(!prefix.empty(), path, ": is a zip archive without a data.pkl, so not a PyTorch file");
  SAT_CHECK(!archive.find(prefix + "constants.pkl"), path, ": holds a TorchScript program, not a state dict");
  if (const ZipMember* order = archive.find(prefix + "byteorder")) {
    const std::string word = order->size <= kMaxWord ? archive.bytes_of(*order) : "";
    SAT_CHECK(word == "little", path, ": its byte order is ", quoted(word), ", only 'little' is supported");
  }

  const ZipMember& member = *archive.find(prefix + "data.pkl");
  SAT_CHECK(member.size <= limits.header, path, ": its pickle has ", member.size, " bytes, at most ", limits.header,
            " are taken");
  archive.check_crc(prefix + "data.pkl", member);
  HeldPickle held{std::make_unique<const std::string>(archive.bytes_of(member)), {}};
  held.pickle =
      read_pickle(reinterpret_cast<const uint8_t*>(held.bytes->data()), member.size, path, limits.operations());
  SAT_CHECK(held.pickle.bytes == member.size, path, ": ", member.size - held.pickle.bytes, " bytes follow the pickle");
  for (const PickledStorage& storage : held.pickle.storages) {
    const std::string name = prefix + "data/" + storage.key;
    const ZipMember* data = archive.find(name);
    SAT_CHECK(data, path, ": the storage ", quoted(name), " is missing");
    SAT_CHECK(data->size == bytes_of(storage), path, ": the storage ", quoted(name), " has ", data->size,
              " bytes, its ", storage.numel, " elements need ", bytes_of(storage));
    file.places.push_back({data->offset, name, *data});
  }
  return held;
}

/// The pickles that follow one another at the beginning of a legacy file, and the storages behind them.
class LegacyStream {
 public:
  LegacyStream(const OpenFile& file, const CheckpointLimits& limits)
      : file_(file),
        limits_(limits),
        head_(std::make_unique<const std::string>(file.text(0, std::min(file.size(), limits.header)))) {}

  Pickle next(const char* what) {
    Pickle pickle = read_pickle(reinterpret_cast<const uint8_t*>(head_->data()) + at_, int64_t(head_->size()) - at_,
                                file_.path() + ": " + what, limits_.operations());
    at_ += pickle.bytes;
    return pickle;
  }

  /// The place of the next storage, after the eight bytes that repeat its length.
  int64_t storage(const PickledStorage& expected) {
    const int64_t left = file_.size() - at_;
    SAT_CHECK(left >= 8 && bytes_of(expected) <= left - 8, file_.path(), ": storage ", quoted(expected.key), " of ",
              bytes_of(expected), " bytes is cut off: ", left, " bytes are left");
    int64_t numel = 0;
    file_.read(at_, &numel, sizeof numel);
    SAT_CHECK(numel == expected.numel, file_.path(), ": storage ", quoted(expected.key), " has ", numel,
              " elements, the pickle says ", expected.numel);
    const int64_t place = at_ + 8;
    at_ = place + bytes_of(expected);
    return place;
  }

  int64_t at() const { return at_; }
  std::unique_ptr<const std::string> take_head() { return std::move(head_); }

 private:
  const OpenFile& file_;
  const CheckpointLimits& limits_;
  std::unique_ptr<const std::string> head_;  // the longest beginning in which pickles may lie
  int64_t at_ = sizeof kLegacyMagic;
};

void check_system(const Pickle& pickle, const std::string& path) {
  const Value& system = pickle[pickle.root];
  SAT_CHECK(system.kind == Kind::dict, path, ": the legacy file's description of its system is no dict");
  const std::vector<int32_t>& items = pickle.items(system);
  for (size_t i = 0; i < items.size(); i += 2) {
    const Value &key = pickle[items[i]], &value = pickle[items[i + 1]];
    if (key.kind != Kind::text || key.text != "little_endian") continue;
    SAT_CHECK(value.kind == Kind::boolean && value.number == 1, path, ": is big-endian, which is not supported");
  }
}

HeldPickle open_legacy(TorchFile& file, const CheckpointLimits& limits) {
  const std::string& path = file.path();
  LegacyStream stream(*file.bytes, limits);
  const Pickle protocol = stream.next("legacy protocol");
  const Value& version = protocol[protocol.root];
  SAT_CHECK(version.kind == Kind::integer && version.number == kLegacyProtocol, path,
            ": the legacy file's protocol is not ", kLegacyProtocol);
  check_system(stream.next("legacy system"), path);
  Pickle object = stream.next("legacy object");
  const Pickle order = stream.next("legacy storage keys");
  const Value& keys = order[order.root];
  const std::vector<PickledStorage>& storages = object.storages;
  const size_t listed = keys.kind == Kind::list ? order.items(keys).size() : 0;
  SAT_CHECK(keys.kind == Kind::list && listed == storages.size(), path, ": lists ", listed,
            " storages, its tensors use ", storages.size());

  std::map<std::string_view, size_t> index_of;
  for (size_t i = 0; i < storages.size(); ++i) index_of.emplace(storages[i].key, i);
  file.places.resize(storages.size());
  for (const int32_t item : order.items(keys)) {
    const auto found = index_of.find(order[item].text);
    SAT_CHECK(found != index_of.end(), path, ": lists the storage ", quoted(order[item].text),
              " twice, or no tensor uses it");
    file.places[found->second].offset = stream.storage(storages[found->second]);
    index_of.erase(found);
  }
  SAT_CHECK(stream.at() == file.bytes->size(), path, ": ", file.bytes->size() - stream.at(),
            " bytes follow the last storage");
  return {stream.take_head(), std::move(object)};
}

}  // namespace

bool is_legacy_torch_file(const uint8_t* bytes, int64_t count) {
  return count >= int64_t(sizeof kLegacyMagic) && std::memcmp(bytes, kLegacyMagic, sizeof kLegacyMagic) == 0;
}

Checkpoint read_torch_file(const std::string& path, const CheckpointLimits& limits) {
  const auto file = std::make_shared<TorchFile>();
  file->bytes = std::make_shared<OpenFile>(path);
  const std::string start = file->bytes->text(0, std::min(file->bytes->size(), int64_t(sizeof kLegacyMagic)));
  const auto* bytes = reinterpret_cast<const uint8_t*>(start.data());
  const bool zip = is_zip(bytes, int64_t(start.size()));
  SAT_CHECK(zip || is_legacy_torch_file(bytes, int64_t(start.size())), path,
            ": is neither a zip archive nor a legacy PyTorch file");
  const HeldPickle held = zip ? open_zip(*file, limits) : open_legacy(*file, limits);
  file->checked = std::make_unique<std::once_flag[]>(file->places.size());
  return Flattener(file, held.pickle, limits).run();
}

}  // namespace sat
