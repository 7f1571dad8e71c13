// Device names become opened devices.
#include "examples/sat/devices.h"

#include <set>

#include "examples/sat/command_line/command_line.h"

namespace sat::cli {

namespace {

std::vector<int> indices_of(const DeviceChoice& choice) {
  std::vector<int> indices;
  std::set<int> seen;
  for (size_t at = 0; at <= choice.names.size();) {
    const size_t end = std::min(choice.names.find(',', at), choice.names.size());
    int index = 0;
    try {
      index = cuda::parse_device(choice.names.substr(at, end - at));
    } catch (const Error& error) {
      throw UsageError(std::string("--device: ") + error.what());
    }
    if (!seen.insert(index).second) throw UsageError("--device: " + choice.names + " names a device twice");
    indices.push_back(index);
    at = end + 1;
  }
  if (indices.size() > 1 && seen.count(-1) > 0) throw UsageError("--device: the CPU stands alone or not at all");
  return indices;
}

cuda::DeviceOptions options_of(const DeviceChoice& choice, int index) {
  cuda::DeviceOptions options;
  options.index = index;
  options.max_bytes = choice.max_vram;
  options.half = choice.half;
  options.conv = choice.conv;
  return options;
}

}  // namespace

std::vector<DeviceHandle> open_devices(const DeviceChoice& choice) {
  std::vector<DeviceHandle> opened;
  for (int index : indices_of(choice)) {
    opened.push_back(index < 0 ? nullptr : cuda::open_device(options_of(choice, index)));
  }
  return opened;
}

std::vector<std::string> remarks_on(const DeviceChoice& choice) {
  std::vector<std::string> all;
  for (int index : indices_of(choice)) {
    if (index < 0) continue;
    const std::vector<std::string> some = cuda::remarks(options_of(choice, index));
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

std::optional<cuda::DeviceOptions> only_device(const DeviceChoice& choice) {
  const std::vector<int> indices = indices_of(choice);
  if (indices.size() > 1) throw UsageError("--device: one device at a time, not " + choice.names);
  if (indices[0] < 0) return std::nullopt;
  return options_of(choice, indices[0]);
}

DeviceHandle virtual_device(const DeviceChoice& choice) {
  const int index = indices_of(choice)[0];
  return index < 0 ? nullptr : cuda::virtual_device(options_of(choice, index));
}

}  // namespace sat::cli
