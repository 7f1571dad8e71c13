// Checkpoints made byte by byte: pickles, zip archives, PyTorch files and safetensors, well formed or not.
// Shares no code with the readers that it tests.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace sat::test {

/// The value's bytes, little-endian.
template <class T>
std::string raw(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}
template <class T>
std::string raw(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

/// Pieces of a pickle; each leaves one value on the stack.
namespace pickle {
std::string whole(const std::string& body, char protocol = 2);  // PROTO body STOP
std::string text(const std::string& value);
std::string integer(int64_t value);
std::string real(double value);
std::string tuple(const std::vector<std::string>& items);
std::string list(const std::vector<std::string>& items);
std::string dict(const std::vector<std::pair<std::string, std::string>>& items);  // keys are texts
std::string global(const std::string& module, const std::string& name);
std::string call(const std::string& callable, const std::vector<std::string>& arguments);
std::string integers(const std::vector<int64_t>& values);  // a tuple
std::string storage(const std::string& type, const std::string& key, int64_t numel);

struct Place {
  std::string type = "FloatStorage", key = "0";
  int64_t numel = 6, offset = 0;
  std::vector<int64_t> sizes = {2, 3}, strides = {3, 1};
};
std::string tensor(const Place& place = {});
}  // namespace pickle

/// One member of an archive and everything about it that may lie; -1 means the truth.
struct ZipPart {
  std::string name = {}, data = {};
  int method = 0, flags = 1 << 11, local_flags = -1;
  int64_t crc = -1, size = -1, packed = -1, local_size = -1, local_offset = -1;
  std::string local_name = {}, extra = {};
};
struct ZipLies {
  int64_t entries = -1, size = -1, offset = -1;  // of the central directory
  bool zip64 = false;                            // write the zip64 records, their fields behind 0xFFFF...
  int64_t end64_at = -1;                         // where the locator points
  std::string comment = {}, tail = {};
};
std::string zip(const std::vector<ZipPart>& parts, const ZipLies& lies = {});

/// A PyTorch file: the pickle and its storages by key.
std::string torch_zip(const std::string& pickle, const std::map<std::string, std::string>& storages);
std::vector<ZipPart> torch_parts(const std::string& pickle, const std::map<std::string, std::string>& storages);

struct LegacyStorage {
  std::string key;
  int64_t numel;
  std::string data;
};
std::string torch_legacy(const std::string& pickle, const std::vector<LegacyStorage>& storages);

std::string safetensors(const std::string& header, const std::string& data);

/// Writes a file that need not outlive a crash, so without waiting for the disk.
void write_bytes(const std::string& path, const std::string& bytes);

}  // namespace sat::test
