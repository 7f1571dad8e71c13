// A file of another kind given as a scan is named for what it is, with the way out.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "sat/io/files/file.h"
#include "sat/io/nifti/nifti.h"
#include "tests/support/golden.h"

namespace sat::test {
namespace {

std::string message_for(const std::string& bytes, const std::string& name = "scan.nii.gz") {
  const TempDir folder;
  write_file_atomically(folder / name, bytes);
  try {
    read_nifti_header(folder / name);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST_CASE("files of other kinds are named, packed or not, with the way out") {
  const auto binary = [](const char* bytes, size_t count) {
    return std::string(bytes, count) + std::string(600, '\0');
  };
  const std::string rest(600, '0');
  const struct {
    std::string bytes, kind, way_out;
  } files[] = {
      {std::string(128, '\0') + "DICM" + rest, "a DICOM image", "dcm2niix"},
      {binary("\x02\0\0\0UL", 6), "a DICOM image", "dcm2niix"},
      {binary("\x08\0\x05\0\x0A\0\0\0", 8), "a DICOM image", "dcm2niix"},
      {"NRRD0004\ntype: short\n" + rest, "an NRRD image", "save it as .nii.gz"},
      {"ObjectType = Image\nNDims = 3\n" + rest, "a MetaImage", "save it as .nii.gz"},
      {binary("\0\0\0\x01\0\0\x01\0", 8), "a FreeSurfer image", "mri_convert"},
      {"CDF\x01" + rest, "a MINC image", "mnc2nii"},
      {"PK\x03\x04" + rest, "a zip archive", "unpack it first"},
      {"<!DOCTYPE html>" + rest, "a web page", "fetch the file again"},
      {"\n  <html>" + rest, "a web page", "fetch the file again"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "a git-lfs pointer",
       "git lfs pull"},
      {"/annex/objects/MD5E-s12--0.nii.gz\n", "a git-annex pointer", "git annex get"},
      {binary("\0\x05\x16\x07", 4), "an AppleDouble file", "no '._' before it"},
      {"\x89PNG\r\n\x1A\n" + rest, "a PNG image", "no place in the patient"},
      {"\xFF\xD8\xFF\xE0" + rest, "a JPEG image", "no place in the patient"},
      {"%PDF-1.7\n" + rest, "a PDF document", ""},
      {"BZh9" + rest, "compressed data", "unpack it first"},
      {"\x93NUMPY\x01" + rest, "a NumPy array", "affine"},
      {std::string("\x40\0\0\0\0\0\0\0{\"a\"", 12) + rest, "a safetensors checkpoint", ""},
  };
  for (const auto& file : files) {
    CAPTURE(file.kind);
    for (const std::string& bytes : {file.bytes, gzip_of(file.bytes)}) {
      const std::string message = message_for(bytes);
      CAPTURE(message);
      CHECK(message.find("scan.nii.gz: not a NIfTI file but " + file.kind) != std::string::npos);
      CHECK(message.find(file.way_out) != std::string::npos);
    }
  }
  CHECK(message_for("nothing of the kind, but long enough").find("it starts with ") != std::string::npos);
}

TEST_CASE("a scan packed twice and an Analyze header are named") {
  const TempDir folder;
  write_nifti(folder / "x.nii", zeros({3, 4, 5}, DType::u8), header_for({{3, 4, 5}, {}}));
  std::string bytes = read_text(folder / "x.nii");
  CHECK(message_for(bytes) == "accepted");
  CHECK(message_for(gzip_of(bytes)) == "accepted");
  CHECK(message_for(gzip_of(gzip_of(bytes))).find("packed twice; unpack it once, with gunzip") != std::string::npos);
  bytes.replace(344, 4, 4, '\0');
  CHECK(message_for(bytes).find("Analyze 7.5, whose orientation is unknown") != std::string::npos);
}

}  // namespace
}  // namespace sat::test
