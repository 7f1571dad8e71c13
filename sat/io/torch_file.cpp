// Reading PyTorch files: where storages lie in either container, and what of the pickled object is the state dict.
#include "sat/io/torch_file.h"

#include <charconv>
#include <cstring>
#include <memory>
#include <mutex>
#include <set>

#include "sat/io/pickle.h"
#include "sat/io/stored_tensor.h"
#include "sat/io/text.h"
#include "sat/io/zip.h"

namespace sat {

namespace {

constexpr int kMaxNesting = 32;
constexpr int64_t kMaxEntries = 200'000;
constexpr size_t kMaxName = 1024;
constexpr size_t kMaxMetadata = 16 << 20;  // bytes of all texts

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

/// An open file: what its loaders share.
struct TorchFile {
  MappedBytes bytes;
  Pickle pickle;
  std::unique_ptr<ZipArchive> archive;  // null for a legacy file
  std::vector<StoragePlace> places;     // one a storage of the pickle
  std::unique_ptr<std::once_flag[]> checked;

  Tensor load(const PickledTensor& tensor) const {
    const auto storage = size_t(tensor.storage);
    const StoragePlace& place = places[storage];
    if (archive) std::call_once(checked[storage], [&] { archive->check_crc(place.member, place.entry); });
    const StoredType type = pickle.storages[storage].type;
    return read_stored(bytes, {type, tensor.shape, tensor.strides, place.offset + tensor.offset * size_of(type)});
  }
};

/// Walks the pickled object and collects tensors and scalars by name. A walk is bounded, for values may be shared many
/// times over or contain themselves.
class Flattener {
 public:
  Flattener(std::shared_ptr<const TorchFile> file) : file_(std::move(file)), pickle_(file_->pickle) {}

  Checkpoint run() {
    const Value& root = pickle_[pickle_.root];
    SAT_CHECK(root.kind == Kind::dict, path(), ": holds no dict, so no state dict");
    int32_t chosen = pickle_.root;
    for (const char* key : {"model_state_dict", "state_dict", "model"}) {
      const int32_t* found = find(root, key);
      if (!found || pickle_[*found].kind != Kind::dict) continue;
      chosen = *found;
      for (size_t i = 0; i < root.items.size(); i += 2) {
        const Value& value = pickle_[root.items[i + 1]];
        if (is_scalar(value)) add_scalar(name_of(root.items[i]), value);
      }
      break;
    }
    walk("", chosen, 0);
    SAT_CHECK(!entries_.empty(), path(), ": holds no tensors");
    return {Weights(std::move(entries_), path()), std::move(metadata_)};
  }

 private:
  const std::string& path() const { return file_->bytes.path; }

  static bool is_scalar(const Value& value) {
    return value.kind == Kind::boolean || value.kind == Kind::integer || value.kind == Kind::real ||
           value.kind == Kind::text;
  }

  const int32_t* find(const Value& dict, std::string_view key) const {
    const int32_t* found = nullptr;
    for (size_t i = 0; i < dict.items.size(); i += 2) {
      const Value& met = pickle_[dict.items[i]];
      if (met.kind != Kind::text || met.text != key) continue;
      SAT_CHECK(!found, path(), ": the key ", quoted(key), " appears twice");
      found = &dict.items[i + 1];
    }
    return found;
  }

  std::string name_of(int32_t key) const {
    const Value& value = pickle_[key];
    if (value.kind == Kind::integer) return std::to_string(value.number);
    SAT_CHECK(value.kind == Kind::text, path(), ": a dict has a key that is neither a text nor an integer");
    SAT_CHECK(value.text.size() <= kMaxName, path(), ": the key ", quoted(value.text), " has ", value.text.size(),
              " bytes, at most ", kMaxName, " are allowed");
    return std::string(value.text);
  }

  void walk(const std::string& name, int32_t index, int depth) {
    SAT_CHECK(depth <= kMaxNesting, path(), ": ", quoted(name), " is nested more than ", kMaxNesting, " deep");
    SAT_CHECK(++visited_ <= kMaxEntries, path(), ": more than ", kMaxEntries, " entries");
    SAT_CHECK(name.size() <= kMaxName, path(), ": the name ", quoted(name), " has ", name.size(), " bytes, at most ",
              kMaxName, " are allowed");
    const Value& value = pickle_[index];
    const std::string prefix = name.empty() ? "" : name + ".";
    if (value.kind == Kind::dict) {
      std::set<std::string> keys;
      for (size_t i = 0; i < value.items.size(); i += 2) {
        const std::string key = name_of(value.items[i]);
        SAT_CHECK(keys.insert(key).second, path(), ": the key ", quoted(prefix + key), " appears twice");
        walk(prefix + key, value.items[i + 1], depth + 1);
      }
    } else if (value.kind == Kind::list || value.kind == Kind::tuple) {
      for (size_t i = 0; i < value.items.size(); ++i) walk(prefix + std::to_string(i), value.items[i], depth + 1);
    } else if (value.kind == Kind::tensor) {
      add_tensor(name, value.number);
    } else if (is_scalar(value)) {
      add_scalar(name, value);
    }
  }

  void add_tensor(const std::string& name, int64_t index) {
    const PickledTensor& tensor = pickle_.tensors[size_t(index)];
    const DType dtype = dtype_of(pickle_.storages[size_t(tensor.storage)].type);
    entries_.push_back({name, tensor.shape, dtype, [file = file_, name, &tensor] {
                          try {
                            return file->load(tensor);
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
  std::map<std::string, std::string> metadata_;
  size_t metadata_bytes_ = 0;
  int64_t visited_ = 0;
};

int64_t bytes_of(const PickledStorage& storage) { return storage.numel * size_of(storage.type); }

void open_zip(TorchFile& file) {
  const std::string& path = file.bytes.path;
  file.archive = std::make_unique<ZipArchive>(file.bytes.data(), file.bytes.size(), path);
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
    SAT_CHECK(archive.bytes_of(*order) == "little", path, ": its byte order is ", quoted(archive.bytes_of(*order)),
              ", only 'little' is supported");
  }

  const ZipMember& member = *archive.find(prefix + "data.pkl");
  archive.check_crc(prefix + "data.pkl", member);
  file.pickle = read_pickle(file.bytes.data() + member.offset, member.size, path);
  SAT_CHECK(file.pickle.bytes == member.size, path, ": ", member.size - file.pickle.bytes, " bytes follow the pickle");
  for (const PickledStorage& storage : file.pickle.storages) {
    const std::string name = prefix + "data/" + storage.key;
    const ZipMember* data = archive.find(name);
    SAT_CHECK(data, path, ": the storage ", quoted(name), " is missing");
    SAT_CHECK(data->size == bytes_of(storage), path, ": the storage ", quoted(name), " has ", data->size,
              " bytes, its ", storage.numel, " elements need ", bytes_of(storage));
    file.places.push_back({data->offset, name, *data});
  }
}

/// The pickles that follow one another in a legacy file.
class LegacyStream {
 public:
  explicit LegacyStream(const MappedBytes& bytes) : bytes_(bytes) {}

  Pickle next(const char* what) {
    Pickle pickle = read_pickle(bytes_.data() + at_, bytes_.size() - at_, bytes_.path + ": " + what);
    at_ += pickle.bytes;
    return pickle;
  }

  /// The place of the next storage, after the eight bytes that repeat its length.
  int64_t storage(const PickledStorage& expected) {
    const int64_t left = bytes_.size() - at_;
    SAT_CHECK(left >= 8 && bytes_of(expected) <= left - 8, bytes_.path, ": storage ", quoted(expected.key), " of ",
              bytes_of(expected), " bytes is cut off: ", left, " bytes are left");
    int64_t numel = 0;
    std::memcpy(&numel, bytes_.data() + at_, sizeof numel);
    SAT_CHECK(numel == expected.numel, bytes_.path, ": storage ", quoted(expected.key), " has ", numel,
              " elements, the pickle says ", expected.numel);
    const int64_t place = at_ + 8;
    at_ = place + bytes_of(expected);
    return place;
  }

  int64_t at() const { return at_; }

 private:
  const MappedBytes& bytes_;
  int64_t at_ = sizeof kLegacyMagic;
};

void check_system(const Pickle& pickle, const std::string& path) {
  const Value& system = pickle[pickle.root];
  SAT_CHECK(system.kind == Kind::dict, path, ": the legacy file's description of its system is no dict");
  for (size_t i = 0; i < system.items.size(); i += 2) {
    const Value &key = pickle[system.items[i]], &value = pickle[system.items[i + 1]];
    if (key.kind != Kind::text || key.text != "little_endian") continue;
    SAT_CHECK(value.kind == Kind::boolean && value.number == 1, path, ": is big-endian, which is not supported");
  }
}

void open_legacy(TorchFile& file) {
  const std::string& path = file.bytes.path;
  LegacyStream stream(file.bytes);
  const Pickle protocol = stream.next("legacy protocol");
  const Value& version = protocol[protocol.root];
  SAT_CHECK(version.kind == Kind::integer && version.number == kLegacyProtocol, path,
            ": the legacy file's protocol is not ", kLegacyProtocol);
  check_system(stream.next("legacy system"), path);
  file.pickle = stream.next("legacy object");
  const Pickle order = stream.next("legacy storage keys");
  const Value& keys = order[order.root];
  const std::vector<PickledStorage>& storages = file.pickle.storages;
  SAT_CHECK(keys.kind == Kind::list && keys.items.size() == storages.size(), path, ": lists ", keys.items.size(),
            " storages, its tensors use ", storages.size());

  std::map<std::string_view, size_t> index_of;
  for (size_t i = 0; i < storages.size(); ++i) index_of.emplace(storages[i].key, i);
  file.places.resize(storages.size());
  for (const int32_t item : keys.items) {
    const auto found = index_of.find(order[item].text);
    SAT_CHECK(found != index_of.end(), path, ": lists the storage ", quoted(order[item].text),
              " twice, or no tensor uses it");
    file.places[found->second].offset = stream.storage(storages[found->second]);
    index_of.erase(found);
  }
  SAT_CHECK(stream.at() == file.bytes.size(), path, ": ", file.bytes.size() - stream.at(),
            " bytes follow the last storage");
}

}  // namespace

bool is_legacy_torch_file(const uint8_t* bytes, int64_t count) {
  return count >= int64_t(sizeof kLegacyMagic) && std::memcmp(bytes, kLegacyMagic, sizeof kLegacyMagic) == 0;
}

Checkpoint read_torch_file(const std::string& path) {
  const auto file = std::make_shared<TorchFile>();
  file->bytes = map_bytes(path);
  if (is_zip(file->bytes.data(), file->bytes.size())) {
    open_zip(*file);
  } else if (is_legacy_torch_file(file->bytes.data(), file->bytes.size())) {
    open_legacy(*file);
  } else {
    fail(path, ": is neither a zip archive nor a legacy PyTorch file");
  }
  file->checked = std::make_unique<std::once_flag[]>(file->places.size());
  return Flattener(file).run();
}

}  // namespace sat
