// Private to the library: what a file is by its first bytes, for messages about a file that is not what it should be.
// Knows many formats by their marks alone and reads none of them.
#pragma once

#include <cstdint>
#include <string_view>

namespace sat {

/// How many of a file's first bytes recognise_file() looks at.
inline constexpr int64_t kRecognisedBytes = 512;

/// A kind of file, and what to do with one that was given as ...
struct ForeignKind {
  const char* what;      // "a DICOM image"
  const char* as_scan;   // a scan: the way out, or null where there is none to name
  const char* as_model;  // a checkpoint
  bool known = true;
};

/// The kind of a file by its first bytes; "no kind of file known here" where nothing fits.
const ForeignKind& recognise_file(std::string_view first_bytes);

}  // namespace sat
