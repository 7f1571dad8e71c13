// DICOM through DCMTK: grey radiographs of one frame, plain or compressed as its codecs know, with the rescale slope
// and the window that the file asks for.
#include <dcmtk/config/osconfig.h>
// DCMTK wants its configuration first.
#include <dcmtk/dcmdata/dcistrmb.h>
#include <dcmtk/dcmdata/dcrledrg.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmjpeg/djdecode.h>
#include <dcmtk/dcmjpls/djdecode.h>

#include <cmath>

#include "examples/sat/images/decode.h"

namespace sat::cli {

namespace {

/// DCMTK's decoders, known to it once a process; what it would print is not printed.
void register_decoders() {
  static const bool done = [] {
    OFLog::configure(OFLogger::OFF_LOG_LEVEL);
    DcmRLEDecoderRegistration::registerCodecs();
    DJDecoderRegistration::registerCodecs();
    DJLSDecoderRegistration::registerCodecs();
    return true;
  }();
  static_cast<void>(done);
}

/// A file's bytes. DCMTK allocates what an element says it holds before it reads; one that says more than the whole
/// file has is skipped instead, which the end of the file then stops.
class BoundedStream : public DcmInputBufferStream {
 public:
  explicit BoundedStream(const EncodedImage& file) {
    setBuffer(file.bytes.data(), offile_off_t(file.size()));
    setEos();
  }
  DcmInputStreamFactory* newFactory() const override { return new NoSecondReading; }

 private:
  struct NoSecondReading : DcmInputStreamFactory {
    DcmInputStream* create() const override { return new DcmInputBufferStream; }  // empty
    DcmInputStreamFactory* clone() const override { return new NoSecondReading; }
    DcmInputStreamFactoryType ident() const override { return DFT_DcmInputFileStreamFactory; }
  };
};

/// DCMTK reads items within items by recursion, and the stack has an end. Items are counted by their mark wherever they
/// are; a radiograph has some dozens, or one a piece of its compressed pixels.
void check_items(const EncodedImage& file) {
  constexpr int kMostItems = 2000;
  int items = 0;
  for (const std::string_view mark :
       {std::string_view("\xFE\xFF\x00\xE0", 4), std::string_view("\xFF\xFE\xE0\x00", 4)}) {
    for (size_t at = file.bytes.find(mark); at != std::string::npos; at = file.bytes.find(mark, at + 1)) {
      SAT_CHECK(++items <= kMostItems, file.path, ": a DICOM file of more than ", kMostItems, " items");
    }
  }
}

std::string text_of(DcmDataset& data, const DcmTagKey& tag) {
  OFString text;
  return data.findAndGetOFString(tag, text).good() ? std::string(text.c_str()) : std::string();
}

std::optional<double> number_at(DcmDataset& data, const DcmTagKey& tag) {
  Float64 value = 0;
  if (!data.findAndGetFloat64(tag, value).good() || !std::isfinite(value)) return std::nullopt;
  return value;
}

/// How the pixels are stored.
struct Stored {
  Uint16 rows = 0, columns = 0, samples = 1, allocated = 0, bits = 0, high_bit = 0, is_signed = 0;
  std::string photometric;

  explicit Stored(DcmDataset& data) : photometric(text_of(data, DCM_PhotometricInterpretation)) {
    data.findAndGetUint16(DCM_Rows, rows);
    data.findAndGetUint16(DCM_Columns, columns);
    data.findAndGetUint16(DCM_SamplesPerPixel, samples);
    data.findAndGetUint16(DCM_BitsAllocated, allocated);
    data.findAndGetUint16(DCM_BitsStored, bits);
    data.findAndGetUint16(DCM_HighBit, high_bit);
    data.findAndGetUint16(DCM_PixelRepresentation, is_signed);
  }

  ImageSize size() const { return {int64_t(rows), int64_t(columns)}; }

  void check(const EncodedImage& file) const {
    check_image_size(size(), file.path, file.options.max_pixels);
    SAT_CHECK(samples == 1 && (photometric == "MONOCHROME1" || photometric == "MONOCHROME2"), file.path,
              ": a DICOM image of ", samples, " samples a pixel ('", photometric,
              "'); MONOCHROME1 and MONOCHROME2 are read");
    const bool whole = (allocated == 8 || allocated == 16) && bits >= 1 && bits <= allocated && high_bit < allocated &&
                       high_bit + 1 >= bits;
    SAT_CHECK(whole, file.path, ": a DICOM image of ", bits, " bits in ", allocated, ", the highest being ", high_bit,
              "; 1 to 16 bits in 8 or 16 are read");
  }
};

/// The window that a file asks for, as the values that become 0 and 255 (PS3.3 C.11.2.1.2 and .3).
std::optional<IntensityWindow> asked_window(DcmDataset& data, std::vector<std::string>& warnings) {
  const std::optional<double> centre = number_at(data, DCM_WindowCenter), width = number_at(data, DCM_WindowWidth);
  if (!centre || !width) {
    if (data.tagExistsWithValue(DCM_VOILUTSequence))
      warnings.push_back("it asks for a table of values (VOI LUT), which is not read");
    return std::nullopt;
  }
  const std::string function = text_of(data, DCM_VOILUTFunction);
  if (function.empty() || function == "LINEAR") {
    if (*width < 1) return std::nullopt;
    return IntensityWindow{*centre - 0.5 - (*width - 1) / 2, *centre - 0.5 + (*width - 1) / 2};
  }
  if (function == "LINEAR_EXACT" && *width > 0) return IntensityWindow{*centre - *width / 2, *centre + *width / 2};
  warnings.push_back("it asks for a window of the form '" + function + "', which is not read");
  return std::nullopt;
}

Tensor values_of(DcmDataset& data, const Stored& stored, const EncodedImage& file) {
  DcmElement* element = nullptr;
  SAT_CHECK(data.findAndGetElement(DCM_PixelData, element).good() && element, file.path,
            ": a DICOM file without pixels");
  const int64_t count = stored.size().height * stored.size().width, bytes = stored.allocated / 8;
  SAT_CHECK(int64_t(element->getLength()) >= count * bytes, file.path, ": damaged as DICOM: ", stored.size(),
            " pixels of ", stored.allocated, " bits need ", count * bytes, " bytes, and there are ",
            int64_t(element->getLength()));
  Uint8* narrow = nullptr;
  Uint16* wide = nullptr;
  const OFCondition got = bytes == 1 ? element->getUint8Array(narrow) : element->getUint16Array(wide);
  SAT_CHECK(got.good() && (narrow || wide), file.path, ": damaged as DICOM: ", got.text());

  SAT_CHECK(!data.tagExistsWithValue(DCM_ModalityLUTSequence), file.path,
            ": a DICOM image whose values go through a table (modality LUT), which is not read");
  const double slope = number_at(data, DCM_RescaleSlope).value_or(1);
  const double intercept = number_at(data, DCM_RescaleIntercept).value_or(0);
  const int shift = stored.high_bit + 1 - stored.bits;
  const int32_t mask = (int32_t(1) << stored.bits) - 1, sign = stored.is_signed ? int32_t(1) << (stored.bits - 1) : 0;
  Tensor values({stored.size().height, stored.size().width});
  float* to = values.data<float>();
  for (int64_t i = 0; i < count; ++i) {
    const int32_t bits = ((bytes == 1 ? int32_t(narrow[i]) : int32_t(wide[i])) >> shift) & mask;
    to[i] = float(double((bits ^ sign) - sign) * slope + intercept);
  }
  return values;
}

}  // namespace

bool reads_dicom() { return true; }

DecodedImage decode_dicom(const EncodedImage& file) {
  register_decoders();
  check_items(file);
  // Deflated as a whole, its sizes could not be held against the file.
  SAT_CHECK(file.bytes.substr(0, 4096).find(UID_DeflatedExplicitVRLittleEndianTransferSyntax) == std::string::npos,
            file.path, ": a DICOM file that is deflated as a whole, which is not read");
  BoundedStream stream(file);
  DcmFileFormat whole;
  whole.transferInit();
  const OFCondition parsed = whole.read(stream, EXS_Unknown, EGL_noChange, Uint32(file.size()));
  whole.transferEnd();
  SAT_CHECK(parsed.good(), file.path, ": damaged as DICOM: ", parsed.text());

  DcmDataset& data = *whole.getDataset();
  Sint32 frames = 1;
  if (data.findAndGetSint32(DCM_NumberOfFrames, frames).good()) {
    SAT_CHECK(frames == 1, file.path, ": a DICOM file of ", frames, " frames; radiographs, of one frame, are read");
  }
  Stored(data).check(file);  // before its pixels are unpacked
  const char* syntax = DcmXfer(data.getOriginalXfer()).getXferName();
  const OFCondition unpacked = data.chooseRepresentation(EXS_LittleEndianExplicit, nullptr);
  SAT_CHECK(unpacked.good() && data.canWriteXfer(EXS_LittleEndianExplicit), file.path, ": its DICOM pixels (", syntax,
            ") cannot be unpacked: ", unpacked.good() ? "there is no decoder for them" : unpacked.text());
  const Stored stored(data);  // which unpacking may have changed
  stored.check(file);

  DecodedImage decoded;
  decoded.facts.format = "DICOM";
  decoded.facts.photometric = stored.photometric;
  decoded.facts.bits = stored.bits;
  decoded.inverted = stored.photometric == "MONOCHROME1";
  decoded.values = values_of(data, stored, file);
  decoded.window = asked_window(data, decoded.warnings);
  if (data.tagExistsWithValue(DCM_PixelPaddingValue))
    decoded.warnings.push_back("it has a value for padding, which counts as any other");
  return decoded;
}

}  // namespace sat::cli
