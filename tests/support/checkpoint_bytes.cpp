// Bytes of checkpoints.
#include "tests/support/checkpoint_bytes.h"

#include <zlib.h>

#include <algorithm>
#include <fstream>

namespace sat::test {

namespace pickle {

std::string whole(const std::string& body, char protocol) { return std::string("\x80") + protocol + body + "."; }
std::string text(const std::string& value) { return std::string("X") + raw(uint32_t(value.size())) + value; }

std::string integer(int64_t value) {
  if (value >= 0 && value < 256) return std::string("K") + raw(uint8_t(value));
  if (value >= INT32_MIN && value <= INT32_MAX) return std::string("J") + raw(int32_t(value));
  return std::string("\x8a\x08") + raw(value);
}

std::string real(double value) {
  std::string bytes = raw(value);
  std::reverse(bytes.begin(), bytes.end());
  return std::string("G") + bytes;
}

std::string tuple(const std::vector<std::string>& items) {
  std::string body = "(";
  for (const std::string& item : items) body += item;
  return body + "t";
}

std::string list(const std::vector<std::string>& items) {
  std::string body = "](";
  for (const std::string& item : items) body += item;
  return body + "e";
}

std::string dict(const std::vector<std::pair<std::string, std::string>>& items) {
  std::string body = "}(";
  for (const auto& [key, value] : items) body += text(key) + value;
  return body + "u";
}

std::string global(const std::string& module, const std::string& name) {
  return std::string("c") + module + "\n" + name + "\n";
}

std::string call(const std::string& callable, const std::vector<std::string>& arguments) {
  return callable + tuple(arguments) + "R";
}

std::string integers(const std::vector<int64_t>& values) {
  std::vector<std::string> items;
  for (const int64_t value : values) items.push_back(integer(value));
  return tuple(items);
}

std::string storage(const std::string& type, const std::string& key, int64_t numel) {
  return tuple({text("storage"), global("torch", type), text(key), text("cpu"), integer(numel)}) + "Q";
}

std::string tensor(const Place& place) {
  return call(global("torch._utils", "_rebuild_tensor_v2"),
              {storage(place.type, place.key, place.numel), integer(place.offset), integers(place.sizes),
               integers(place.strides), "\x89", call(global("collections", "OrderedDict"), {})});
}

}  // namespace pickle

std::string zip(const std::vector<ZipPart>& parts, const ZipLies& lies) {
  const auto or_truth = [](int64_t lie, int64_t truth) { return lie < 0 ? truth : lie; };
  std::string file, directory;
  for (const ZipPart& part : parts) {
    const auto truth = int64_t(part.data.size());
    const auto crc =
        uint32_t(or_truth(part.crc, int64_t(crc32(0, reinterpret_cast<const Bytef*>(part.data.data()), uInt(truth)))));
    const auto size = uint32_t(or_truth(part.size, truth)), packed = uint32_t(or_truth(part.packed, size));
    const auto local_size = uint32_t(or_truth(part.local_size, size));
    const std::string local_name = part.local_name.empty() ? part.name : part.local_name;
    const auto offset = uint32_t(or_truth(part.local_offset, int64_t(file.size())));
    const auto local_flags = uint16_t(or_truth(part.local_flags, part.flags));
    file += std::string("PK\x03\x04") + raw(uint16_t(20)) + raw(local_flags) + raw(uint16_t(part.method)) +
            raw(uint32_t(0)) + raw(crc) + raw(local_size) + raw(local_size) + raw(uint16_t(local_name.size())) +
            raw(uint16_t(0)) + local_name + part.data;
    directory += std::string("PK\x01\x02") + raw(uint32_t(0x00140014)) + raw(uint16_t(part.flags)) +
                 raw(uint16_t(part.method)) + raw(uint32_t(0)) + raw(crc) + raw(packed) + raw(size) +
                 raw(uint16_t(part.name.size())) + raw(uint16_t(part.extra.size())) + raw(uint16_t(0)) +
                 raw(uint16_t(0)) + raw(uint16_t(0)) + raw(uint32_t(0)) + raw(offset) + part.name + part.extra;
  }
  const int64_t entries = or_truth(lies.entries, int64_t(parts.size()));
  const int64_t size = or_truth(lies.size, int64_t(directory.size()));
  const int64_t offset = or_truth(lies.offset, int64_t(file.size()));
  file += directory;
  if (lies.zip64) {
    const int64_t at = or_truth(lies.end64_at, int64_t(file.size()));
    file += std::string("PK\x06\x06") + raw(int64_t(44)) + raw(uint32_t(0x002D002D)) + raw(uint32_t(0)) +
            raw(uint32_t(0)) + raw(entries) + raw(entries) + raw(size) + raw(offset);
    file += std::string("PK\x06\x07") + raw(uint32_t(0)) + raw(at) + raw(uint32_t(1));
  }
  const auto small = [&](int64_t value, int64_t behind) { return lies.zip64 ? behind : value; };
  const auto count = uint16_t(small(entries, 0xFFFF));
  return file + "PK\x05\x06" + raw(uint32_t(0)) + raw(count) + raw(count) + raw(uint32_t(small(size, 0xFFFFFFFF))) +
         raw(uint32_t(small(offset, 0xFFFFFFFF))) + raw(uint16_t(lies.comment.size())) + lies.comment + lies.tail;
}

std::vector<ZipPart> torch_parts(const std::string& pickle, const std::map<std::string, std::string>& storages) {
  std::vector<ZipPart> parts = {{.name = "model/data.pkl", .data = pickle},
                                {.name = "model/byteorder", .data = "little"},
                                {.name = "model/version", .data = "3\n"}};
  for (const auto& [key, data] : storages) parts.push_back({.name = "model/data/" + key, .data = data});
  return parts;
}

std::string torch_zip(const std::string& pickle, const std::map<std::string, std::string>& storages) {
  return zip(torch_parts(pickle, storages));
}

std::string torch_legacy(const std::string& object, const std::vector<LegacyStorage>& storages) {
  using namespace pickle;
  std::vector<std::string> keys;
  std::string data;
  for (const LegacyStorage& one : storages) {
    keys.push_back(text(one.key));
    data += raw(one.numel) + one.data;
  }
  return whole(std::string("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 12)) + whole(integer(1001)) +
         whole(dict({{"protocol_version", integer(1001)}, {"little_endian", "\x88"}})) + object + whole(list(keys)) +
         data;
}

std::string safetensors(const std::string& header, const std::string& data) {
  return raw(uint64_t(header.size())) + header + data;
}

void write_bytes(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file << bytes;
  file.exceptions(std::ios::failbit | std::ios::badbit);
  file.flush();
}

}  // namespace sat::test
