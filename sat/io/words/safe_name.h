// Private. Names of structures and scans turned into names of files that every common file system takes.
// Knows nothing of folders or of what the files hold.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sat {

/// Longest file name without extension that safe_name() returns, in bytes.
constexpr int64_t kMaxSafeNameBytes = 100;

/// `name` as a file name without extension: UTF-8, at most kMaxSafeNameBytes, never empty. Control characters, path
/// separators and < > : " | ? * become '_', spaces at either end and dots at the end go (leading dots become '_'), and
/// names that Windows keeps for devices ("con", "lpt1.x") get a leading '_'. Letters of all alphabets stay; malformed
/// UTF-8 becomes '_' byte by byte. A name without anything left is "unnamed".
std::string safe_name(const std::string& name);

/// safe_name() of each, no two equal even where upper and lower case or composed and decomposed accents are one: the
/// second of a kind becomes "x-2", the third "x-3". Depends on the names and their order alone.
std::vector<std::string> safe_names(const std::vector<std::string>& names);

}  // namespace sat
