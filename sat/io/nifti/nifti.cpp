// NIfTI voxels: streamed slab by slab between the file's order (first axis fastest) and ours (last axis fastest).
#include "sat/io/nifti/nifti.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>
#include <string_view>
#include <vector>

#include "sat/io/deflate/bit_crc.h"
#include "sat/io/deflate/run_block.h"
#include "sat/io/files/file.h"
#include "sat/io/nifti/foreign.h"
#include "sat/io/nifti/mask_slices.h"
#include "sat/io/nifti/nifti_header.h"
#include "sat/tensor/parallel.h"

namespace sat {

namespace {

constexpr int64_t kSlabBytes = 8 << 20;
constexpr int64_t kMostVoxels = int64_t(1) << 31;  // 8 GB as f32; more than any scanner makes
constexpr int64_t kTile = 16;                      // voxels along the file's first axis that are turned together
constexpr int64_t kMaxSlices = 64;                 // of a slab
constexpr int64_t kMaxExtra = 1 << 20;             // bytes that may follow the voxels of a compressed file
constexpr int64_t kPieceVoxels = 1 << 16;          // of a thread's piece
constexpr int64_t kBandBytes = 32 << 20;           // of the result that are touched before a signal is looked for

/// The bytes of a file in order, inflated if it is gzip, whatever its name.
class Source {
 public:
  explicit Source(const std::string& path) : file_(path) {
    std::array<uint8_t, 2> start{};
    start_ = file_.read(start.data(), int64_t(start.size()));
    if (is_gzip(start.data(), start_)) {
      const auto pull = [this, start](void* out, int64_t room) {  // the two bytes are not in the file any more
        int64_t given = 0;
        for (auto* to = static_cast<uint8_t*>(out); start_ > 0 && given < room; --start_)
          to[given++] = start[size_t(2 - start_)];
        return given + file_.read(static_cast<uint8_t*>(out) + given, room - given);
      };
      gzip_ = std::make_unique<GzipReader>(pull, file_.size(), path);
      head_size_ = gzip_->read(head_.data(), int64_t(head_.size()));
    } else {
      std::copy_n(start.begin(), start_, head_.begin());
      head_size_ = start_ + file_.read(head_.data() + start_, int64_t(head_.size()) - start_);
    }
  }
  Source(const Source&) = delete;  // the reader's pull points here
  Source& operator=(const Source&) = delete;

  bool packed() const { return gzip_ != nullptr; }
  /// The first bytes, inflated.
  std::string_view head() const { return {reinterpret_cast<const char*>(head_.data()), size_t(head_size_)}; }

  /// An upper bound of the bytes there are, known before they are inflated.
  int64_t most() const {
    constexpr int64_t limit = std::numeric_limits<int64_t>::max() / kMaxInflation;
    return gzip_ ? std::min(file_.size(), limit) * kMaxInflation : file_.size();
  }

  void need(int64_t bytes, const char* what) const {
    SAT_CHECK(bytes <= most() - at_, file_.path(), ": truncated: ", what, " need ", bytes, " bytes, the file has ",
              gzip_ ? "room for at most " : "only ", most() - at_);
  }

  /// The next bytes, in `scratch`, which grows at need. Valid until the next call.
  const uint8_t* take(int64_t count, Tensor& scratch, const char* what) {
    need(count, what);
    if (scratch.empty() || scratch.numel() < count) scratch = Tensor(Shape{count}, DType::u8);
    auto* bytes = scratch.data<uint8_t>();
    const int64_t early = std::clamp<int64_t>(head_size_ - at_, 0, count);
    std::copy_n(head_.data() + std::min(at_, head_size_), early, bytes);
    const int64_t got =
        early + (gzip_ ? gzip_->read(bytes + early, count - early) : file_.read(bytes + early, count - early));
    SAT_CHECK(got == count, file_.path(), ": truncated: ", what, " end after ", at_ + got, gzip_ ? " inflated" : "",
              " bytes, needs at least ", at_ + count);
    at_ += count;
    return bytes;
  }

  void skip_to(int64_t offset, Tensor& scratch) {
    need(offset - at_, "bytes before the voxels");
    if (!gzip_) {
      file_.skip(std::max<int64_t>(0, offset - std::max(at_, head_size_)));
      at_ = std::max(at_, offset);
    }
    while (at_ < offset) take(std::min(offset - at_, kSlabBytes), scratch, "bytes before the voxels");
  }

  /// Reads on to the end of what is compressed, and tells of what follows it.
  void finish(std::vector<std::string>& warnings) {
    if (!gzip_) return;
    gzip_->finish(kMaxExtra);
    if (gzip_->garbage() == 0) return;
    warnings.push_back(std::to_string(gzip_->garbage()) +
                       " bytes that are not gzip follow the compressed data; they were left out");
  }

 private:
  FileReader file_;
  std::unique_ptr<GzipReader> gzip_;
  int64_t start_ = 0;                             // bytes read to see whether it is gzip, not yet handed on
  std::array<uint8_t, kRecognisedBytes> head_{};  // handed out first
  int64_t head_size_ = 0;
  int64_t at_ = 0;
};

[[noreturn]] void fail_foreign(const std::string& path, const Source& source) {
  const ForeignKind& kind = recognise_file(source.head());
  const bool twice =
      source.packed() && is_gzip(reinterpret_cast<const uint8_t*>(source.head().data()), source.head().size());
  if (twice)
    fail(path, ": not a NIfTI file but gzip data inside gzip data: it was packed twice; unpack it once, with gunzip");
  if (kind.known)
    fail(path, ": not a NIfTI file but ", kind.what, kind.as_scan ? "; " : "", kind.as_scan ? kind.as_scan : "");
  int32_t size = 0;
  std::memcpy(&size, source.head().data(), std::min(sizeof size, source.head().size()));
  fail(path, ": not a NIfTI file: it starts with ", size, " where 348 or 540, the size of the header, should stand");
}

/// "a/b.img.gz" with ".img" and ".hdr" gives "a/b.hdr.gz"; empty if the path has not that extension.
std::string other_of_pair(const std::string& path, const std::string& from, const std::string& to) {
  for (const std::string& packed : {std::string(), std::string(".gz")}) {
    if (!has_extension(path, from + packed)) continue;
    const size_t stem = path.size() - from.size() - packed.size();
    return path.substr(0, stem) + to + path.substr(stem + from.size());
  }
  return "";
}

/// A scan's file after its header was read, at the first voxel.
struct OpenScan {
  NiftiLayout layout;
  std::unique_ptr<Source> voxels;
  Tensor scratch;
};

OpenScan open_scan(const std::string& path, const NiftiReadOptions& options) {
  const std::string beside_image = other_of_pair(path, ".img", ".hdr");
  const std::string header_path = beside_image.empty() ? path : beside_image;
  OpenScan scan;
  scan.voxels = std::make_unique<Source>(header_path);
  std::array<uint8_t, kNifti2Bytes> bytes{};
  const auto read_header = [&](int64_t from, int64_t to) {
    std::memcpy(bytes.data() + from, scan.voxels->take(to - from, scan.scratch, "the header's fields"),
                size_t(to - from));
  };
  read_header(0, 4);
  const int64_t header_bytes = nifti_header_bytes(bytes.data());
  if (header_bytes == 0) fail_foreign(header_path, *scan.voxels);
  read_header(4, header_bytes);
  scan.layout = parse_nifti_header(bytes.data(), header_path, options);
  const int64_t voxels = scan.layout.header.geometry.voxels();
  SAT_CHECK(voxels <= kMostVoxels, header_path, ": ", voxels, " voxels, at most ", kMostVoxels, " are read");
  if (scan.layout.pair) {
    const std::string image_path = other_of_pair(header_path, ".hdr", ".img");
    SAT_CHECK(!image_path.empty(), path, ": its voxels are in another file, so its name must end in .hdr");
    scan.voxels->finish(scan.layout.header.warnings);
    scan.voxels = std::make_unique<Source>(image_path);
  }
  int64_t end = 0;
  SAT_CHECK(!__builtin_add_overflow(scan.layout.voxel_offset, scan.layout.voxel_bytes, &end), path,
            ": more voxels than any file can hold");
  scan.voxels->skip_to(scan.layout.voxel_offset, scan.scratch);
  scan.voxels->need(scan.layout.voxel_bytes, "the voxels");
  return scan;
}

struct Scaling {
  bool on;
  double slope, inter;
};

/// A grid's sizes and the slices [z, z + slices) along its last axis.
struct Slab {
  int64_t H, W, D, z, slices;
};

/// Slices whose bytes fit a slab: as many as keep writes to our order whole cache lines, but at least one.
int64_t slices_at_once(const std::array<int64_t, 3>& size, int64_t element_bytes) {
  const int64_t fit = std::min(kMaxSlices, kSlabBytes / element_bytes / size[0] / size[1]);
  return fit >= kTile ? fit / kTile * kTile : std::max<int64_t>(fit, 1);
}

template <class T, bool kSwapped>
T load(const uint8_t* at) {
  std::array<uint8_t, sizeof(T)> bytes;
  std::memcpy(bytes.data(), at, sizeof(T));
  if (kSwapped) std::reverse(bytes.begin(), bytes.end());
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

/// Converts one slab of stored numbers into its place in `out` [H, W, D]; returns how many are NaN or infinite.
template <class T, bool kSwapped>
int64_t read_slab(const uint8_t* stored, float* out, const Slab& slab, const Scaling& scaling) {
  const auto [H, W, D, z0, slices] = slab;
  const int64_t rows =
      std::clamp<int64_t>(kBandBytes / (W * D * int64_t(sizeof(float))) / kTile * kTile, kTile, H + kTile);
  const int64_t grain = std::max<int64_t>(1, kPieceVoxels / std::max<int64_t>(1, std::min(H, rows) * slices));
  std::vector<int64_t> bad(size_t(divide_up(W, grain)), 0);
  for (int64_t start = 0; start < H; start += rows) {
    const int64_t end = std::min(H, start + rows);
    parallel_for(W, grain, [&, H = H, W = W, D = D, z0 = z0, slices = slices](int64_t first, int64_t last) {
      float tile[kMaxSlices][kTile];
      int64_t count = 0;
      for (int64_t w = first; w < last; ++w) {
        for (int64_t h0 = start; h0 < end; h0 += kTile) {
          const int64_t n = std::min(kTile, end - h0);
          for (int64_t s = 0; s < slices; ++s) {
            const uint8_t* row = stored + ((s * W + w) * H + h0) * int64_t(sizeof(T));
            for (int64_t i = 0; i < n; ++i) {
              const T raw = load<T, kSwapped>(row + i * int64_t(sizeof(T)));
              float value = static_cast<float>(raw);
              if (scaling.on) {
                double scaled = static_cast<double>(raw);
                if (scaling.slope != 1) scaled *= scaling.slope;
                if (scaling.inter != 0) scaled += scaling.inter;
                value = static_cast<float>(scaled);
              }
              tile[s][i] = value;
              count += !(std::fabs(value) <= std::numeric_limits<float>::max());
            }
          }
          for (int64_t i = 0; i < n; ++i) {
            float* column = out + ((h0 + i) * W + w) * D + z0;
            for (int64_t s = 0; s < slices; ++s) column[s] = tile[s][i];
          }
        }
      }
      bad[size_t(first / grain)] += count;
    });
  }
  int64_t total = 0;
  for (int64_t count : bad) total += count;
  return total;
}

using ReadSlab = int64_t (*)(const uint8_t*, float*, const Slab&, const Scaling&);

template <class T>
ReadSlab reader_of(bool swapped) {
  return swapped ? read_slab<T, true> : read_slab<T, false>;
}

ReadSlab reader_of_type(int datatype, bool swapped) {
  switch (datatype) {
    case 2: return reader_of<uint8_t>(swapped);
    case 4: return reader_of<int16_t>(swapped);
    case 8: return reader_of<int32_t>(swapped);
    case 16: return reader_of<float>(swapped);
    case 64: return reader_of<double>(swapped);
    case 256: return reader_of<int8_t>(swapped);
    case 512: return reader_of<uint16_t>(swapped);
    case 768: return reader_of<uint32_t>(swapped);
    case 1024: return reader_of<int64_t>(swapped);
    case 1280: return reader_of<uint64_t>(swapped);
    default: fail("no reader for NIfTI type ", datatype);
  }
}

/// One slab of `voxels` [H, W, D] in the file's order.
template <class T>
void turn_slab(const T* voxels, T* out, const Slab& slab) {
  const auto [H, W, D, z0, slices] = slab;
  const int64_t grain = std::max<int64_t>(1, kPieceVoxels / std::max<int64_t>(1, H * slices));
  parallel_for(W, grain, [&, H = H, W = W, D = D, z0 = z0, slices = slices](int64_t first, int64_t last) {
    T tile[kMaxSlices][kTile];
    for (int64_t w = first; w < last; ++w) {
      for (int64_t h0 = 0; h0 < H; h0 += kTile) {
        const int64_t n = std::min(kTile, H - h0);
        for (int64_t i = 0; i < n; ++i) {
          const T* column = voxels + ((h0 + i) * W + w) * D + z0;
          for (int64_t s = 0; s < slices; ++s) tile[s][i] = column[s];
        }
        for (int64_t s = 0; s < slices; ++s) {
          std::memcpy(out + (s * W + w) * H + h0, tile[s], size_t(n) * sizeof(T));
        }
      }
    }
  });
}

int datatype_of(DType dtype) {
  switch (dtype) {
    case DType::u8:
    case DType::boolean: return 2;
    case DType::i32: return 8;
    case DType::f32: return 16;
    default: fail("write_nifti: dtype is ", dtype, ", needs u8, boolean, i32 or f32");
  }
}

template <class Sink>
void write_voxels(const Tensor& voxels, Sink& sink) {
  const int64_t H = voxels.shape[0], W = voxels.shape[1], D = voxels.shape[2], element = size_of(voxels.dtype);
  const int64_t at_once = std::min(D, slices_at_once({H, W, D}, element));
  Tensor turned(Shape{at_once * H * W * element}, DType::u8);
  for (int64_t z = 0; z < D; z += at_once) {
    const Slab slab{H, W, D, z, std::min(at_once, D - z)};
    if (element == 1) {
      turn_slab(static_cast<const uint8_t*>(voxels.raw()), static_cast<uint8_t*>(turned.raw()), slab);
    } else {
      turn_slab(static_cast<const uint32_t*>(voxels.raw()), static_cast<uint32_t*>(turned.raw()), slab);
    }
    sink.write(turned.raw(), slab.slices * H * W * element);
  }
}

void write_mask_voxels(MaskSlices& mask, GzipWriter& sink) {
  for (int64_t first = 0, last; first < mask.voxels(); first = last) {
    last = mask.turn_from(first, GzipWriter::kChunk);
    sink.write_runs(last - first, [&](int64_t from, int64_t count, RunBlock& block) {
      BitCrc crc;
      mask.for_each_word(first + from, first + from + count, [&](uint64_t bits, int64_t some) {
        block.add_bits(bits, some);
        crc.add(bits, some);
      });
      return crc.value();
    });
  }
}

void write_mask_voxels(MaskSlices& mask, AtomicFile& sink) {
  std::vector<uint8_t> bytes;
  for (int64_t first = 0, turned; first < mask.voxels(); first = turned) {
    turned = mask.turn_from(first, 1);
    for (int64_t from = first; from < turned; from += kPieceVoxels) {
      bytes.clear();
      mask.for_each_word(from, std::min(turned, from + kPieceVoxels), [&](uint64_t bits, int64_t count) {
        for (int64_t i = 0; i < count; ++i) bytes.push_back(uint8_t(bits >> i & 1));
      });
      sink.write(bytes.data(), int64_t(bytes.size()));
    }
  }
}

/// The header, then the voxels that `put` hands to a sink, as .nii or .nii.gz.
template <class Put>
void write_file(const std::string& path, const NiftiHeader& like, DType dtype, const NiftiWriteOptions& options,
                Put put) {
  const bool packed = has_extension(path, ".nii.gz");
  SAT_CHECK(packed || has_extension(path, ".nii"), "write_nifti: ", path, ": the name must end in .nii or .nii.gz");
  const std::string header = format_nifti_header(like, datatype_of(dtype));
  AtomicFile file(path);
  if (packed) {
    GzipWriter gzip(file, options.gzip_level, size_of(dtype) == 1 ? Repeats::runs : Repeats::any);
    gzip.write(header.data(), int64_t(header.size()));
    gzip.end_chunk();
    put(gzip);
    gzip.finish();
  } else {
    file.write(header);
    put(file);
  }
  file.commit();
}

}  // namespace

NiftiHeader read_nifti_header(const std::string& path, const NiftiReadOptions& options) {
  return open_scan(path, options).layout.header;
}

NiftiScan read_nifti(const std::string& path, const NiftiReadOptions& options) {
  OpenScan scan = open_scan(path, options);
  NiftiScan result;
  result.header = scan.layout.header;
  const auto [H, W, D] = result.header.geometry.size;
  result.volume.geometry = result.header.geometry;
  result.volume.voxels = Tensor({H, W, D});

  const double slope = result.header.slope, inter = result.header.inter;
  const Scaling scaling{slope != 0 && std::isfinite(slope) && (slope != 1 || inter != 0), slope, inter};
  const ReadSlab read = reader_of_type(result.header.datatype, scan.layout.swapped);
  const int64_t slice_bytes = scan.layout.voxel_bytes / D;
  const int64_t at_once = slices_at_once({H, W, D}, slice_bytes / (H * W));
  for (int64_t z = 0; z < D; z += at_once) {
    const Slab slab{H, W, D, z, std::min(at_once, D - z)};
    const uint8_t* stored = scan.voxels->take(slab.slices * slice_bytes, scan.scratch, "the voxels");
    result.non_finite += read(stored, result.volume.voxels.data<float>(), slab, scaling);
  }
  scan.voxels->finish(result.header.warnings);
  return result;
}

void read_nifti_mask(const std::string& path, BitMasks& masks, int64_t prompt) {
  OpenScan scan = open_scan(path, {});
  const std::array<int64_t, 3>& size = scan.layout.header.geometry.size;
  const auto [H, W, D] = size;
  SAT_CHECK(size == masks.size, path, ": the mask has ", H, " x ", W, " x ", D, " voxels, its scan ", masks.size[0],
            " x ", masks.size[1], " x ", masks.size[2]);
  SAT_CHECK(prompt >= 0 && prompt < masks.prompts, path, ": is to be mask ", prompt, " of ", masks.prompts);
  const ReadSlab read = reader_of_type(scan.layout.header.datatype, scan.layout.swapped);
  const int64_t slice_bytes = scan.layout.voxel_bytes / D;
  const int64_t at_once = std::min(D, slices_at_once(size, slice_bytes / (H * W)));
  Tensor values({H, W, at_once});
  for (int64_t z = 0; z < D; z += at_once) {
    const int64_t slices = std::min(at_once, D - z);
    const uint8_t* stored = scan.voxels->take(slices * slice_bytes, scan.scratch, "the voxels");
    read(stored, values.data<float>(), Slab{H, W, at_once, 0, slices}, Scaling{false, 1, 0});
    parallel_for(H, 1, [&, W = W](int64_t first, int64_t last) {
      for (int64_t h = first; h < last; ++h) {
        for (int64_t w = 0; w < W; ++w) {
          const float* row = values.data<float>() + (h * W + w) * at_once;
          for (int64_t s = 0; s < slices; ++s) {
            if (row[s] != 0) masks.set(prompt, h, w, z + s);
          }
        }
      }
    });
  }
  scan.voxels->finish(scan.layout.header.warnings);
}

std::vector<std::string> nifti_files(const std::string& path) {
  const std::string header = other_of_pair(path, ".img", ".hdr"), image = other_of_pair(path, ".hdr", ".img");
  std::error_code unknown;
  if (!header.empty()) return {header, path};
  if (!image.empty() && std::filesystem::exists(image, unknown)) return {path, image};
  return {path};
}

void write_nifti(const std::string& path, const Tensor& voxels, const NiftiHeader& like,
                 const NiftiWriteOptions& options) {
  const std::array<int64_t, 3>& size = like.geometry.size;
  SAT_CHECK(voxels.shape == Shape({size[0], size[1], size[2]}), "write_nifti: ", path, ": voxels are ", voxels.shape,
            ", the grid is ", Shape({size[0], size[1], size[2]}));
  SAT_CHECK(voxels.numel() > 0 && !voxels.empty(), "write_nifti: ", path, ": there are no voxels");
  write_file(path, like, voxels.dtype, options, [&](auto& sink) { write_voxels(voxels, sink); });
}

void write_nifti_mask(const std::string& path, const BitMasks& masks, int64_t prompt, const NiftiHeader& like,
                      const NiftiWriteOptions& options) {
  SAT_CHECK(masks.size == like.geometry.size && masks.prompts > 0, "write_nifti_mask: ", path, ": masks are ",
            Shape({masks.size[0], masks.size[1], masks.size[2]}), ", the grid is ",
            Shape({like.geometry.size[0], like.geometry.size[1], like.geometry.size[2]}));
  MaskSlices mask(masks, prompt);
  write_file(path, like, DType::u8, options, [&](auto& sink) { write_mask_voxels(mask, sink); });
}

}  // namespace sat
