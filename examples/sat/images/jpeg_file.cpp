// JPEG through libjpeg. Its errors leave by longjmp, which runs no destructors: what it may jump over holds nothing
// that needs one, and everything else lives outside of guarded().
#include <cstddef>
#include <cstdio>
// After <cstdio>, which it needs and does not include.
#include <jpeglib.h>
// The codes of its messages.
#include <jerror.h>

#include <csetjmp>
#include <new>
#include <type_traits>

#include "examples/sat/images/decode.h"

namespace sat::cli {

namespace {

constexpr int kMostScans = 200;  // of a progressive file; encoders write about ten

struct JpegReader {
  jpeg_decompress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg_progress_mgr progress{};
  std::jmp_buf back{};
  char error[JMSG_LENGTH_MAX] = "", warning[JMSG_LENGTH_MAX] = "";  // the last one, the first one

  JpegReader() {
    jpeg.err = jpeg_std_error(&errors);
    jpeg.client_data = this;
    errors.error_exit = on_error;
    errors.emit_message = on_message;
    errors.output_message = [](j_common_ptr) {};
    progress.progress_monitor = on_progress;
    if (!guarded([this] { jpeg_create_decompress(&jpeg); })) throw std::bad_alloc();
    jpeg.progress = &progress;
  }
  ~JpegReader() { jpeg_destroy_decompress(&jpeg); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  /// Runs calls of libjpeg; false, with `error` set, where one of them failed.
  template <class Calls>
  bool guarded(Calls calls) {
    static_assert(std::is_trivially_destructible_v<Calls>);
    if (setjmp(back)) return false;
    calls();
    return true;
  }

 private:
  static JpegReader& reader_of(j_common_ptr jpeg) { return *static_cast<JpegReader*>(jpeg->client_data); }
  [[noreturn]] static void on_error(j_common_ptr jpeg) {
    JpegReader& reader = reader_of(jpeg);
    jpeg->err->format_message(jpeg, reader.error);
    std::longjmp(reader.back, 1);
  }
  /// A warning after which pixels are made up is an error here.
  static void on_message(j_common_ptr jpeg, int level) {
    if (level >= 0) return;
    switch (jpeg->err->msg_code) {
      case JWRN_ADOBE_XFORM:
      case JWRN_EXTRANEOUS_DATA:
      case JWRN_JFIF_MAJOR:
      case JWRN_TOO_MUCH_DATA: break;
      default: on_error(jpeg);
    }
    JpegReader& reader = reader_of(jpeg);
    if (!reader.warning[0]) jpeg->err->format_message(jpeg, reader.warning);
  }
  static void on_progress(j_common_ptr jpeg) {
    const auto* decompress = reinterpret_cast<j_decompress_ptr>(jpeg);
    if (decompress->input_scan_number <= kMostScans) return;
    JpegReader& reader = reader_of(jpeg);
    std::snprintf(reader.error, sizeof reader.error, "more than %d scans", kMostScans);
    std::longjmp(reader.back, 1);
  }
};

const char* name_of_colours(J_COLOR_SPACE space) {
  switch (space) {
    case JCS_GRAYSCALE: return "grey";
    case JCS_RGB: return "RGB";
    case JCS_YCbCr: return "YCbCr";
    case JCS_CMYK: return "CMYK";
    case JCS_YCCK: return "YCCK";
    default: return "unknown colours";
  }
}

/// The orientation in the EXIF marker, if one was kept.
int orientation_of(const jpeg_decompress_struct& jpeg) {
  const std::string_view mark("Exif\0\0", 6);
  for (jpeg_saved_marker_ptr marker = jpeg.marker_list; marker; marker = marker->next) {
    const std::string_view bytes(reinterpret_cast<const char*>(marker->data), marker->data_length);
    if (bytes.substr(0, mark.size()) == mark) return exif_orientation(bytes.substr(mark.size()));
  }
  return 1;
}

}  // namespace

bool is_jpeg(std::string_view bytes) { return bytes.substr(0, 3) == "\xFF\xD8\xFF"; }

DecodedImage decode_jpeg(const EncodedImage& file) {
  JpegReader reader;
  jpeg_decompress_struct& jpeg = reader.jpeg;
  const auto damaged = [&] { fail(file.path, ": damaged as JPEG: ", reader.error); };
  const bool begun = reader.guarded([&] {
    jpeg_mem_src(&jpeg, file.data(), static_cast<unsigned long>(file.bytes.size()));
    jpeg_save_markers(&jpeg, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(&jpeg, TRUE);
  });
  if (!begun) damaged();
  const ImageSize size{int64_t(jpeg.image_height), int64_t(jpeg.image_width)};
  check_image_size(size, file.path, file.options.max_pixels);
  const J_COLOR_SPACE space = jpeg.jpeg_color_space;
  const bool grey = space == JCS_GRAYSCALE;
  SAT_CHECK(grey || space == JCS_RGB || space == JCS_YCbCr, file.path, ": a JPEG of ", jpeg.num_components,
            " channels (", name_of_colours(space), "); grey, RGB and YCbCr are read");
  int64_t blocks = 0;
  for (int c = 0; c < jpeg.num_components; ++c) {
    blocks += int64_t(jpeg.comp_info[c].width_in_blocks) * int64_t(jpeg.comp_info[c].height_in_blocks);
  }
  // A Huffman code has a bit or more, and each block of 8 x 8 pixels one or more codes.
  SAT_CHECK(jpeg.arith_code || blocks <= 8 * file.size(), file.path, ": damaged as JPEG: ", size,
            " pixels cannot be packed into the file's ", file.size(), " bytes");

  const int64_t channels = grey ? 1 : 3;
  DecodedImage decoded;
  decoded.facts.format = "JPEG";
  decoded.facts.photometric = name_of_colours(space);
  decoded.facts.orientation = orientation_of(jpeg);
  decoded.image = Image8(size, channels);
  uint8_t* pixels = decoded.image.pixels.data<uint8_t>();
  const bool read = reader.guarded([&] {
    jpeg.out_color_space = grey ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_start_decompress(&jpeg);
    while (jpeg.output_scanline < jpeg.output_height) {
      JSAMPROW row = pixels + int64_t(jpeg.output_scanline) * size.width * channels;
      jpeg_read_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_decompress(&jpeg);
  });
  if (!read) damaged();
  if (reader.warning[0]) decoded.warnings.push_back("libjpeg: " + std::string(reader.warning));
  return decoded;
}

}  // namespace sat::cli
