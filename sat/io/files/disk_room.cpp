// Free space by statvfs, and needs summed over folders of one device.
#include "sat/io/files/disk_room.h"

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <cerrno>
#include <map>
#include <optional>

#include "sat/io/files/posix.h"
#include "sat/tensor/error.h"

namespace sat {

namespace {

/// What an ordinary user may still write there; none where the file system does not say.
std::optional<int64_t> free_bytes(const std::string& folder) {
  struct statvfs room {};
  int status = -1;
  do {
    status = ::statvfs(folder.c_str(), &room);
  } while (status != 0 && errno == EINTR);
  int64_t bytes = 0;
  if (status != 0 || room.f_blocks == 0) return std::nullopt;
  if (__builtin_mul_overflow(room.f_bavail, room.f_frsize, &bytes)) return std::nullopt;
  return bytes;
}

std::string in_mib(int64_t bytes) { return std::to_string((bytes >> 20) + (bytes % (1 << 20) != 0)) + " MiB"; }

struct Sum {
  int64_t bytes = 0;
  std::string list;    // "33000 MiB for features of windows in out, ..."
  std::string folder;  // one of them
};

}  // namespace

void check_disk_room(const std::vector<DiskNeed>& needs) {
  std::map<dev_t, Sum> devices;
  for (const DiskNeed& need : needs) {
    if (need.bytes <= 0) continue;
    struct stat status {};
    SAT_CHECK(::stat(need.folder.c_str(), &status) == 0, "cannot find the folder ", need.folder, ": ",
              system_reason(errno));
    Sum& sum = devices[status.st_dev];
    SAT_CHECK(!__builtin_add_overflow(sum.bytes, need.bytes, &sum.bytes), "this run needs more disk than there can be");
    sum.list += (sum.list.empty() ? "" : " and ") + in_mib(need.bytes) + " for " + need.what + " in " + need.folder;
    sum.folder = need.folder;
  }
  for (const auto& device : devices) {
    const Sum& sum = device.second;
    const std::optional<int64_t> free = free_bytes(sum.folder);
    SAT_CHECK(!free || sum.bytes <= *free, "this run needs ", sum.bytes, " bytes of disk (", sum.list, "), and ", *free,
              " bytes (", *free >> 20, " MiB) are free there");
  }
}

}  // namespace sat
