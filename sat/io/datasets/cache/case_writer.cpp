// Scan and label maps to a file of the cache.
#include "sat/io/datasets/cache/case_writer.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "sat/io/arrays/npy.h"
#include "sat/io/datasets/cache/layout.h"
#include "sat/io/files/file.h"
#include "sat/io/nifti/nifti.h"
#include "sat/io/scans/scan_checks.h"
#include "sat/io/words/json.h"
#include "sat/io/words/text.h"

namespace sat {

namespace {

using namespace cached;
using Sizes = std::array<int64_t, 3>;

constexpr double kLargestNormalised = 65504;  // f16 holds no more

Json list(const Sizes& numbers) {
  Json json = Json::array();
  for (int64_t number : numbers) json.push(number);
  return json;
}

Json list(const std::vector<std::string>& texts) {
  Json json = Json::array();
  for (const std::string& text : texts) json.push(text);
  return json;
}

/// The file as it grows: voxels, masks, and the table that speaks of them.
class CaseFile {
 public:
  CaseFile(const std::string& path, const Tensor& voxels)
      : file_(path), size_{voxels.shape[0], voxels.shape[1], voxels.shape[2]}, foreground_(size_, 1) {
    file_.write(kMagic);
    for (int64_t h = 0; h < size_[0]; ++h) {
      const Tensor plane = voxels.select(h).cast(DType::f16);
      for (int64_t w = 0; w < size_[1]; w += kRows) {
        write_checked(static_cast<const uint8_t*>(plane.raw()) + w * size_[2] * kVoxel,
                      rows_of_block(size_, w) * size_[2] * kVoxel);
      }
    }
  }

  const Sizes& size() const { return size_; }

  /// A structure: its voxels are those of `region` where inside(h, w, d). Returns their number, and adds nothing to the
  /// file where it is 0.
  template <class Inside>
  int64_t add(const std::string& name, const VoxelBox& region, Inside inside) {
    VoxelBox box;
    int64_t voxels = 0;
    for (int64_t h = region.start[0]; h < region.end[0]; ++h) {
      for (int64_t w = region.start[1]; w < region.end[1]; ++w) {
        for (int64_t d = region.start[2]; d < region.end[2]; ++d) {
          if (!inside(h, w, d)) continue;
          ++voxels;
          box = union_of(box, {{h, w, d}, {h + 1, w + 1, d + 1}});
        }
      }
    }
    if (voxels == 0) return 0;
    BitMasks mask(size_of(box), 1);
    for (int64_t h = box.start[0]; h < box.end[0]; ++h) {
      for (int64_t w = box.start[1]; w < box.end[1]; ++w) {
        for (int64_t d = box.start[2]; d < box.end[2]; ++d) {
          if (!inside(h, w, d)) continue;
          mask.set(0, h - box.start[0], w - box.start[1], d - box.start[2]);
          foreground_.set(0, h, w, d);
        }
      }
    }
    structures_.push(write_mask(name, mask, box, voxels));
    return voxels;
  }
  void add_absent(const std::string& name) { structures_.push(Json::object({{"name", name}, {"voxels", 0}})); }

  void finish(const std::string& key, const std::vector<std::string>& unlabelled,
              const std::vector<std::string>& warnings) {
    const VoxelBox box = foreground_.bounding_box(0);
    Json foreground = Json::object({{"name", "foreground"}, {"voxels", 0}});
    if (!box.empty()) {
      BitMasks cut(size_of(box), 1);
      for (int64_t h = box.start[0]; h < box.end[0]; ++h) {
        foreground_.for_each_set(
            0, h, [&](int64_t w, int64_t d) { cut.set(0, h - box.start[0], w - box.start[1], d - box.start[2]); });
      }
      foreground = write_mask("foreground", cut, box, cut.count(0));
    }
    const std::string table = Json::object({{"key", key},
                                            {"size", list(size_)},
                                            {"structures", structures_},
                                            {"foreground", foreground},
                                            {"unlabelled", list(unlabelled)},
                                            {"warnings", list(warnings)}})
                                  .dump();
    const auto bytes = int64_t(table.size());
    SAT_CHECK(bytes <= kLargestTable, file_.path(), ": the table of the case has ", bytes, " bytes, at most ",
              kLargestTable, " fit");
    const uint32_t crc = crc32(table.data(), bytes);
    file_.write(table);
    file_.write(&bytes, sizeof bytes);
    file_.write(&crc, sizeof crc);
    file_.write(kMagic);
    file_.commit();
  }

 private:
  void write_checked(const void* bytes, int64_t count) {
    file_.write(bytes, count);
    const uint32_t crc = crc32(bytes, count);
    file_.write(&crc, kCrc);
  }

  Json write_mask(const std::string& name, const BitMasks& mask, const VoxelBox& box, int64_t voxels) {
    file_.write(mask.bits.raw(), mask.bits.bytes());
    return Json::object({{"name", name},
                         {"voxels", voxels},
                         {"start", list(box.start)},
                         {"end", list(box.end)},
                         {"crc", int64_t(crc32(mask.bits.raw(), mask.bits.bytes()))}});
  }

  AtomicFile file_;
  Sizes size_;
  BitMasks foreground_;
  Json structures_ = Json::array();
};

/// Scan or label map, and an Error that names the file whatever is wrong with it.
NiftiScan read_finite(const std::string& path) {
  NiftiScan scan = read_nifti(path);
  SAT_CHECK(scan.non_finite == 0, path, ": ", scan.non_finite, " voxels are not finite numbers");
  return scan;
}

/// A label map in the model's space, and what was in the file.
struct Labels {
  std::set<int64_t> in_file;          // values, 0 aside
  Tensor voxels;                      // f32 on the model's grid
  std::map<int64_t, VoxelBox> boxes;  // of the values there
};

class SourceReader {
 public:
  SourceReader(const LabelledCase& one, const PreprocessOptions& options) : one_(one) {
    NiftiScan scan = read_finite(one.image);
    scan_ = scan.volume.geometry;
    order_ = axis_order(scan_.voxel_to_world_mm, options.orientation);
    grid_ = space_grid(reorient(scan_, order_), options.spacing_mm);
    try {
      prepared = preprocess(scan.volume, options);
    } catch (const Cancelled&) {
      throw;
    } catch (const MemoryError&) {
      throw;
    } catch (const Error& error) {
      fail(one.image, ": ", error.what());
    }
  }

  Preprocessed prepared;

  const Labels& labels(const std::string& path) {
    if (path != path_) {
      labels_ = {};  // before the next one is read: one at a time
      labels_ = read(path);
      path_ = path;
    }
    return labels_;
  }

 private:
  Labels read(const std::string& path) const {
    const NiftiScan file = read_finite(path);
    check_same_grid(scan_, "its scan " + one_.image, file.volume.geometry, path);
    Labels labels;
    const float* values = file.volume.voxels.data<float>();
    float last = 0;
    for (int64_t v = 0; v < file.volume.voxels.numel(); ++v) {
      if (values[v] == last) continue;
      last = values[v];
      SAT_CHECK(last == std::nearbyint(last) && std::fabs(last) <= float(1 << 24), path, ": holds ", last,
                ", which is no label");
      if (last != 0) labels.in_file.insert(int64_t(last));
    }
    labels.voxels = resample_nearest(file.volume.voxels, order_, grid_, prepared.grid.crop);
    find_boxes(labels);
    return labels;
  }

  static void find_boxes(Labels& labels) {
    const float* values = labels.voxels.data<float>();
    const int64_t W = labels.voxels.shape[1], D = labels.voxels.shape[2];
    for (int64_t line = 0; line < labels.voxels.shape[0] * W; ++line) {
      const float* row = values + line * D;
      for (int64_t d = 0; d < D;) {
        int64_t end = d + 1;
        while (end < D && row[end] == row[d]) ++end;
        if (row[d] != 0) {
          VoxelBox& box = labels.boxes[int64_t(row[d])];
          box = union_of(box, {{line / W, line % W, d}, {line / W + 1, line % W + 1, end}});
        }
        d = end;
      }
    }
  }

  const LabelledCase& one_;
  Geometry scan_;
  AxisOrder order_;
  SpacedGrid grid_;
  std::string path_;
  Labels labels_;
};

/// Throws for values that nobody named.
void check_known_values(const LabelledCase& one, const Labels& labels, const std::string& path) {
  std::set<int64_t> known(one.ignored.begin(), one.ignored.end());
  for (const StructureSource& source : one.structures) {
    if (source.values.empty() && std::count(source.paths.begin(), source.paths.end(), path)) return;  // a mask
    if (!source.values.empty() && source.paths[0] == path) known.insert(source.values.begin(), source.values.end());
  }
  for (int64_t value : labels.in_file) {
    SAT_CHECK(known.count(value), path, ": holds the value ", value, ", which belongs to no label and is not ignored");
  }
}

/// Adds structures, and says of each what it means that nothing was found.
class StructureWriter {
 public:
  StructureWriter(CaseFile& file, const LabelledCase& one, std::vector<std::string>& warnings)
      : unlabelled(one.unlabelled), file_(file), one_(one), warnings_(warnings) {}

  std::vector<std::string> unlabelled;
  int64_t labelled = 0;

  void absent(const std::string& name) {
    file_.add_absent(name);
    ++labelled;
  }
  void empty(const StructureSource& source) {
    SAT_CHECK(one_.empty != EmptyLabel::refuse, source.paths[0], ": ", quoted(source.name),
              " has no voxel; `empty` of the data set can say what that means");
    if (one_.empty == EmptyLabel::absent) {
      absent(source.name);
    } else {
      unlabelled.push_back(source.name);
    }
  }
  template <class Inside>
  void add(const std::string& name, const VoxelBox& region, Inside inside) {
    if (file_.add(name, region, inside) > 0) {
      ++labelled;
      return;
    }
    unlabelled.push_back(name);
    warnings_.push_back(quoted(name) + " has voxels in the scan and none on the model's grid, so it is not asked for");
  }

 private:
  CaseFile& file_;
  const LabelledCase& one_;
  std::vector<std::string>& warnings_;
};

void add_from_label_map(StructureWriter& writer, const StructureSource& source, const Labels& labels) {
  const auto in_file = [&](int64_t value) { return labels.in_file.count(value) > 0; };
  if (std::none_of(source.values.begin(), source.values.end(), in_file)) return writer.empty(source);
  VoxelBox region;
  for (int64_t value : source.values) {
    const auto found = labels.boxes.find(value);
    if (found != labels.boxes.end()) region = union_of(region, found->second);
  }
  const float* voxels = labels.voxels.data<float>();
  const int64_t W = labels.voxels.shape[1], D = labels.voxels.shape[2];
  writer.add(source.name, region, [&](int64_t h, int64_t w, int64_t d) {
    const auto value = int64_t(voxels[(h * W + w) * D + d]);
    return std::find(source.values.begin(), source.values.end(), value) != source.values.end();
  });
}

/// The union of mask files.
void add_from_masks(StructureWriter& writer, const StructureSource& source, SourceReader& reader, const Sizes& size) {
  BitMasks all(size, 1);
  VoxelBox region;
  bool any = false;
  for (const std::string& path : source.paths) {
    const Labels& mask = reader.labels(path);
    any = any || !mask.in_file.empty();
    for (const auto& [value, box] : mask.boxes) region = union_of(region, box);
    const float* voxels = mask.voxels.data<float>();
    for (int64_t h = region.start[0]; h < region.end[0]; ++h) {
      for (int64_t w = region.start[1]; w < region.end[1]; ++w) {
        for (int64_t d = region.start[2]; d < region.end[2]; ++d) {
          if (voxels[(h * size[1] + w) * size[2] + d] != 0) all.set(0, h, w, d);
        }
      }
    }
  }
  if (!any) return writer.empty(source);
  writer.add(source.name, region, [&](int64_t h, int64_t w, int64_t d) { return all.get(0, h, w, d); });
}

void write_scan(const std::string& path, const LabelledCase& one, const PreprocessOptions& options,
                const std::string& key) {
  SourceReader reader(one, options);
  std::vector<std::string> warnings = reader.prepared.warnings;
  CaseFile file(path, reader.prepared.voxels);
  reader.prepared.voxels = {};
  StructureWriter writer(file, one, warnings);
  std::set<std::string> checked;
  for (const StructureSource& source : one.structures) {
    if (source.paths.empty()) {
      writer.absent(source.name);
    } else if (source.values.empty()) {
      add_from_masks(writer, source, reader, file.size());
    } else {
      const Labels& labels = reader.labels(source.paths[0]);
      if (checked.insert(source.paths[0]).second) check_known_values(one, labels, source.paths[0]);
      add_from_label_map(writer, source, labels);
    }
  }
  SAT_CHECK(writer.labelled > 0, "nothing is labelled, so it trains nothing");
  file.finish(key, writer.unlabelled, warnings);
}

/// Elements of a mask's array as bytes.
const uint8_t* bytes_of_mask_array(const Tensor& mask, const std::string& path) {
  SAT_CHECK(mask.dtype == DType::boolean || mask.dtype == DType::u8, path, ": holds ", mask.dtype,
            ", needs bool or u1");
  return static_cast<const uint8_t*>(mask.raw());
}

void write_converted(const std::string& path, const LabelledCase& one, const std::string& key) {
  Tensor voxels = read_npy(one.image);
  const Shape read = voxels.shape;
  SAT_CHECK(voxels.dtype == DType::f32 && ((read.rank() == 4 && read[0] == 1) || read.rank() == 3) && read.numel() > 0,
            one.image, ": holds ", voxels.dtype, " ", read, ", needs f4 [1, H, W, D]");
  if (read.rank() == 4) voxels = voxels.select(0);
  const Sizes size{voxels.shape[0], voxels.shape[1], voxels.shape[2]};
  SAT_CHECK(*std::max_element(size.begin(), size.end()) <= kLongestAxis && voxels.numel() <= kMostVoxels, one.image,
            ": ", read, " are more voxels than a case may have");
  const float* values = voxels.data<float>();
  for (int64_t v = 0; v < voxels.numel(); ++v) {
    SAT_CHECK(std::fabs(double(values[v])) <= kLargestNormalised, one.image, ": holds ", values[v],
              ", which is no normalised intensity");
  }
  std::vector<std::string> warnings;
  CaseFile file(path, voxels);
  voxels = {};
  StructureWriter writer(file, one, warnings);
  for (const StructureSource& source : one.structures) {
    if (source.paths.empty()) {
      writer.absent(source.name);
      continue;
    }
    const Tensor mask = read_npy(source.paths[0]);
    const Sizes within = size_of(*source.box);
    SAT_CHECK(mask.shape == Shape({within[0], within[1], within[2]}), source.paths[0], ": holds ", mask.shape,
              ", and its box has ", within[0], " x ", within[1], " x ", within[2], " voxels");
    for (size_t axis = 0; axis < 3; ++axis) {
      SAT_CHECK(source.box->end[axis] <= size[axis], source.paths[0], ": its box ends at ", source.box->end[axis],
                " of ", size[axis], " voxels along axis ", axis);
    }
    const uint8_t* set = bytes_of_mask_array(mask, source.paths[0]);
    if (std::none_of(set, set + mask.numel(), [](uint8_t byte) { return byte != 0; })) {
      writer.empty(source);
      continue;
    }
    writer.add(source.name, *source.box, [&](int64_t h, int64_t w, int64_t d) {
      const Sizes& start = source.box->start;
      return set[((h - start[0]) * within[1] + w - start[1]) * within[2] + d - start[2]] != 0;
    });
  }
  SAT_CHECK(writer.labelled > 0, "nothing is labelled, so it trains nothing");
  file.finish(key, writer.unlabelled, warnings);
}

}  // namespace

void write_cached_case(const std::string& path, const LabelledCase& one, const PreprocessOptions& options,
                       const std::string& key) {
  if (one.converted) {
    write_converted(path, one, key);
  } else {
    write_scan(path, one, options, key);
  }
}

}  // namespace sat
