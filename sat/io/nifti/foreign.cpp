// The marks that files of other kinds carry at their start, from the surest to the vaguest.
#include "sat/io/nifti/foreign.h"

#include <algorithm>
#include <string>
#include <vector>

namespace sat {

namespace {

using namespace std::string_view_literals;

/// Bytes that stand at a place of a file, and the kind that they give away. All marks of a kind stand in the table.
struct Mark {
  size_t place;
  std::string_view bytes;
  const ForeignKind* kind;
};

constexpr const char* kUnpack = "unpack it first";
constexpr const char* kConvertSlices = "convert the whole series to NIfTI with dcm2niix";
constexpr const char* kSaveAsNifti = "save it as .nii.gz, for example with 3D Slicer or ITK-SNAP";
constexpr const char* kFetchAgain = "it is what a server answered in place of the file; fetch the file again";
constexpr const char* kPicture = "a picture has no place in the patient; give the scan that it was made from";

constexpr ForeignKind kLfs{"a git-lfs pointer", "fetch the file itself with 'git lfs pull'",
                           "fetch the file itself with 'git lfs pull'"};
constexpr ForeignKind kAnnex{"a git-annex pointer", "fetch the file itself with 'git annex get'",
                             "fetch the file itself with 'git annex get'"};
constexpr ForeignKind kAppleDouble{"an AppleDouble file, in which macOS keeps attributes of the file beside it",
                                   "give the file whose name has no '._' before it",
                                   "give the file whose name has no '._' before it"};
constexpr ForeignKind kDicom{"a DICOM image", kConvertSlices, nullptr};
constexpr ForeignKind kNrrd{"an NRRD image", kSaveAsNifti, nullptr};
constexpr ForeignKind kMeta{"a MetaImage (.mha, .mhd)", kSaveAsNifti, nullptr};
constexpr ForeignKind kMgh{"a FreeSurfer image (.mgh, .mgz)", "convert it with 'mri_convert FILE scan.nii.gz'",
                           nullptr};
constexpr ForeignKind kMinc{"a MINC image or another netCDF file", "convert it with mnc2nii", nullptr};
constexpr ForeignKind kHdf5{"an HDF5 file, as Keras and MINC write", "export the scan in it to .nii.gz", nullptr};
constexpr ForeignKind kNifti{"a NIfTI image", nullptr, nullptr};
constexpr ForeignKind kGzip{"gzip data", kUnpack, kUnpack};
constexpr ForeignKind kCompressed{"compressed data", kUnpack, kUnpack};
constexpr ForeignKind kZip{"a zip archive", "unpack it first, and convert what is in it where that is no NIfTI file",
                           kUnpack};
constexpr ForeignKind kEmptyZip{"an empty zip archive", nullptr, nullptr};
constexpr ForeignKind kTar{"a tar archive", kUnpack, kUnpack};
constexpr ForeignKind kWebPage{"a web page, not the file it should lead to", kFetchAgain, nullptr};
constexpr ForeignKind kXml{"an XML text", kFetchAgain, nullptr};
constexpr ForeignKind kPng{"a PNG image", kPicture, nullptr};
constexpr ForeignKind kJpeg{"a JPEG image", kPicture, nullptr};
constexpr ForeignKind kGif{"a GIF image", kPicture, nullptr};
constexpr ForeignKind kTiff{"a TIFF image", kPicture, nullptr};
constexpr ForeignKind kPdf{"a PDF document", nullptr, nullptr};
constexpr ForeignKind kMatlab{"a MATLAB file", "export the scan in it to .nii.gz", nullptr};
constexpr ForeignKind kNumpy{"a NumPy array", "save it with its affine, by nibabel for example", nullptr};
constexpr ForeignKind kGguf{"a GGUF model", nullptr, nullptr};
constexpr ForeignKind kPickle{"a bare Python pickle", nullptr, nullptr};
constexpr ForeignKind kOnnx{"an ONNX model", nullptr, nullptr};
constexpr ForeignKind kSafetensors{"a safetensors checkpoint", nullptr, nullptr};
constexpr ForeignKind kJson{"a JSON text", nullptr, nullptr};
constexpr ForeignKind kUnknown{"no kind of file known here", nullptr, nullptr, false};

constexpr Mark kMarks[] = {
    {0, "version https://git-lfs"sv, &kLfs},
    {0, "/annex/objects/"sv, &kAnnex},
    {0, "\0\x05\x16\x07"sv, &kAppleDouble},
    {128, "DICM"sv, &kDicom},
    {0, "\x02\0\0\0UL"sv, &kDicom},  // without the 128 bytes before its mark: group 2 comes first,
    {0, "\x08\0\x05\0"sv, &kDicom},  // or where that lacks too, group 8
    {0, "\x08\0\x08\0"sv, &kDicom},
    {0, "NRRD0"sv, &kNrrd},
    {0, "ObjectType ="sv, &kMeta},
    {0, "ObjectType="sv, &kMeta},
    {0, "NDims ="sv, &kMeta},
    {0, "CDF\x01"sv, &kMinc},
    {0, "CDF\x02"sv, &kMinc},
    {0, "\x89HDF"sv, &kHdf5},
    {0, "\x1F\x8B"sv, &kGzip},
    {0,
     "\xFD"
     "7zXZ"sv,
     &kCompressed},
    {0, "BZh"sv, &kCompressed},
    {0, "\x28\xB5\x2F\xFD"sv, &kCompressed},
    {0, "7z\xBC\xAF"sv, &kCompressed},
    {0, "Rar!"sv, &kCompressed},
    {0, "PK\x03\x04"sv, &kZip},
    {0, "PK\x05\x06"sv, &kEmptyZip},
    {257, "ustar"sv, &kTar},
    {0, "<!DOCTYPE"sv, &kWebPage},
    {0, "<!doctype"sv, &kWebPage},
    {0, "<html"sv, &kWebPage},
    {0, "<HTML"sv, &kWebPage},
    {0, "<?xml"sv, &kXml},
    {0, "\x5C\x01\0\0"sv, &kNifti},
    {0, "\0\0\x01\x5C"sv, &kNifti},
    {0, "\x1C\x02\0\0"sv, &kNifti},
    {0, "\0\0\x02\x1C"sv, &kNifti},
    {0, "\0\0\0\x01\0\0"sv, &kMgh},  // version 1, and a size below 65536
    {0, "\x89PNG"sv, &kPng},
    {0, "\xFF\xD8\xFF"sv, &kJpeg},
    {0, "GIF8"sv, &kGif},
    {0, "II*\0"sv, &kTiff},
    {0, "MM\0*"sv, &kTiff},
    {0, "%PDF"sv, &kPdf},
    {0, "MATLAB 5"sv, &kMatlab},
    {0, "\x93NUMPY"sv, &kNumpy},
    {0, "GGUF"sv, &kGguf},
    {0, "{"sv, &kJson},
    {0, "["sv, &kJson},
};

}  // namespace

const ForeignKind& recognise_file(std::string_view bytes) {
  for (const Mark& mark : kMarks) {
    if (bytes.size() > mark.place && bytes.substr(mark.place, mark.bytes.size()) == mark.bytes) return *mark.kind;
  }
  const auto byte = [&](size_t i) { return i < bytes.size() ? uint8_t(bytes[i]) : uint8_t(0); };
  if (byte(8) == '{' && byte(9) == '"') return kSafetensors;
  if (byte(0) == 0x80 && byte(1) >= 2 && byte(1) <= 5) return kPickle;
  if (byte(0) == 0x08 && byte(1) >= 1 && byte(1) <= 20 && byte(2) == 0x12) return kOnnx;
  const std::string_view text = bytes.substr(std::min(bytes.find_first_not_of(" \t\r\n"), bytes.size()));
  if (text.size() < bytes.size() && (text.substr(0, 9) == "<!DOCTYPE" || text.substr(0, 5) == "<html")) return kWebPage;
  return kUnknown;
}

}  // namespace sat
