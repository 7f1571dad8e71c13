// Reading cases of the cache by region, every size held against the file first.
#include "sat/io/datasets/cache/cached_case.h"

#include <algorithm>
#include <cstring>

#include "sat/io/datasets/cache/layout.h"
#include "sat/io/files/file.h"
#include "sat/io/masks/bit_blocks.h"
#include "sat/io/words/json.h"
#include "sat/tensor/parallel.h"

namespace sat {

namespace {

using namespace cached;

template <class T>
T number_at(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

std::array<int64_t, 3> three(const Json& json) {
  const std::vector<int64_t> numbers = json.integers();
  SAT_CHECK(numbers.size() == 3, "three numbers are needed, there are ", numbers.size());
  return {numbers[0], numbers[1], numbers[2]};
}

CachedStructure structure_of(const Json& json, const std::array<int64_t, 3>& size) {
  CachedStructure structure{json["name"].string(), json["voxels"].integer(), {}};
  if (structure.voxels == 0) return structure;
  structure.box = {three(json["start"]), three(json["end"])};
  int64_t most = 1;
  for (size_t axis = 0; axis < 3; ++axis) {
    const int64_t start = structure.box.start[axis], end = structure.box.end[axis];
    SAT_CHECK(start >= 0 && start < end && end <= size[axis], "a mask goes from ", start, " to ", end, " of ",
              size[axis], " voxels along axis ", axis);
    most *= end - start;
  }
  SAT_CHECK(structure.voxels > 0 && structure.voxels <= most, "a mask has ", structure.voxels, " voxels in a box of ",
            most);
  return structure;
}

}  // namespace

CachedCase::CachedCase(const std::string& path) : file_(std::make_unique<OpenFile>(path)) {
  const auto check = [&](bool holds, const char* what) { SAT_CHECK(holds, path, " is no cached case: ", what); };
  check(file_->size() > kHead + kTail, "it is too short");
  const std::string tail = file_->text(file_->size() - kTail, kTail);
  check(file_->text(0, kHead) == kMagic && tail.substr(12) == kMagic, "it does not begin and end as one");
  const auto bytes = number_at<int64_t>(tail.data());
  check(bytes > 0 && bytes <= std::min(kLargestTable, file_->size() - kHead - kTail), "its table has no such length");
  const int64_t table_at = file_->size() - kTail - bytes;
  const std::string text = file_->text(table_at, bytes);
  check(crc32(text.data(), bytes) == number_at<uint32_t>(tail.data() + 8), "its table is damaged");

  const Json table = Json::parse(text, path);
  try {
    key_ = table["key"].string();
    size_ = three(table["size"]);
    int64_t voxels = 1;
    for (int64_t along : size_) {
      SAT_CHECK(along >= 1 && along <= kLongestAxis, "an axis has ", along, " voxels");
      voxels *= along;
      SAT_CHECK(voxels <= kMostVoxels, "there are more than ", kMostVoxels, " voxels");
    }
    int64_t at = kHead + size_[0] * bytes_of_plane(size_);
    const auto next_part = [&](const Json& json, CachedStructure& structure) {
      structure = structure_of(json, size_);
      const Part part{at, uint32_t(structure.voxels > 0 ? json["crc"].integer() : 0)};
      at += bytes_of_mask(structure.box);
      SAT_CHECK(at <= table_at, "its parts need ", at, " bytes and more, and end at byte ", table_at);
      return part;
    };
    for (const Json& json : table["structures"].items()) {
      parts_.push_back(next_part(json, structures_.emplace_back()));
    }
    foreground_part_ = next_part(table["foreground"], foreground_);
    SAT_CHECK(at == table_at, "its parts need ", at, " bytes, and end at byte ", table_at);
    unlabelled_ = table["unlabelled"].strings();
    warnings_ = table["warnings"].strings();
  } catch (const Error& error) {
    fail(path, " is no cached case: ", error.what());
  }
}

Tensor CachedCase::image(const std::array<int64_t, 3>& start, const std::array<int64_t, 3>& size) const {
  std::array<int64_t, 3> first, last;  // of the case's voxels that lie in the region
  bool outside = false, none = false;
  for (size_t axis = 0; axis < 3; ++axis) {
    SAT_CHECK(
        size[axis] >= 1 && size[axis] <= kLongestAxis && start[axis] > -kLongestAxis && start[axis] < kLongestAxis,
        path(), ": a region of ", size[axis], " voxels from ", start[axis], " on along axis ", axis);
    first[axis] = std::max<int64_t>(0, start[axis]);
    last[axis] = std::min(size_[axis], start[axis] + size[axis]);
    outside = outside || first[axis] != start[axis] || last[axis] != start[axis] + size[axis];
    none = none || first[axis] >= last[axis];
  }
  const Shape shape{size[0], size[1], size[2]};
  Tensor voxels = outside ? zeros(shape, DType::f16) : Tensor(shape, DType::f16);
  if (none) return voxels.cast(DType::f32);
  auto* out = static_cast<uint8_t*>(voxels.raw());
  const int64_t first_block = first[1] / kRows * kRows, row = size_[2] * kVoxel;
  const int64_t last_row = std::min(size_[1], divide_up(last[1], kRows) * kRows);
  const int64_t from = place_of_block(size_, first_block);
  const int64_t last_block = (last_row - 1) / kRows * kRows;
  const int64_t to = place_of_block(size_, last_block) + rows_of_block(size_, last_block) * row + kCrc;
  std::vector<char> plane(size_t(to - from));
  for (int64_t h = first[0]; h < last[0]; ++h) {
    file_->read(kHead + h * bytes_of_plane(size_) + from, plane.data(), to - from);
    for (int64_t block = first_block; block < last_row; block += kRows) {
      const char* rows = plane.data() + place_of_block(size_, block) - from;
      const int64_t count = rows_of_block(size_, block);
      SAT_CHECK(crc32(rows, count * row) == number_at<uint32_t>(rows + count * row), path(), ": voxels of plane ", h,
                " are damaged");
      for (int64_t w = std::max(block, first[1]); w < std::min(block + count, last[1]); ++w) {
        const int64_t at = ((h - start[0]) * size[1] + w - start[1]) * size[2] + first[2] - start[2];
        std::memcpy(out + at * kVoxel, rows + (w - block) * row + first[2] * kVoxel,
                    size_t((last[2] - first[2]) * kVoxel));
      }
    }
  }
  return voxels.cast(DType::f32);
}

BitMasks CachedCase::read_mask(const Part& part, const CachedStructure& structure) const {
  SAT_CHECK(structure.voxels > 0, path(), ": ", structure.name, " has no mask");
  BitMasks mask(size_of(structure.box), 1);
  file_->read(part.at, mask.bits.raw(), mask.bits.bytes());
  const int64_t plane_bits = mask.size[1] * mask.size[2];
  int64_t count = 0;
  bool beyond = false;
  for (int64_t h = 0; h < mask.size[0]; ++h) {
    for (int64_t at = 0; at < mask.plane_bytes; at += 8) {
      const auto word = number_at<uint64_t>(reinterpret_cast<const char*>(mask.plane(0, h) + at));
      count += count_bits(word);
      const int64_t left = plane_bits - at * 8;
      beyond = beyond || (left < 64 && (word & ~low_bits(left)) != 0);
    }
  }
  SAT_CHECK(crc32(mask.bits.raw(), mask.bits.bytes()) == part.crc && count == structure.voxels && !beyond, path(),
            ": the mask of ", structure.name, " is damaged");
  return mask;
}

std::array<int64_t, 3> voxel_of_rank(const BitMasks& mask, int64_t rank) {
  for (int64_t h = 0; h < mask.size[0]; ++h) {
    int64_t count = 0;
    for (int64_t at = 0; at < mask.plane_bytes; at += 8) {
      count += count_bits(number_at<uint64_t>(reinterpret_cast<const char*>(mask.plane(0, h) + at)));
    }
    if (rank >= count) {
      rank -= count;
      continue;
    }
    std::array<int64_t, 3> found{h, 0, 0};
    mask.for_each_set(0, h, [&](int64_t w, int64_t d) {
      if (rank-- == 0) found = {h, w, d};
    });
    return found;
  }
  fail("voxel_of_rank: the mask has fewer voxels than ", rank, " more");
}

}  // namespace sat
