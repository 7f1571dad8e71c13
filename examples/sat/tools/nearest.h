// "Did you mean": the nearest of many names to a misspelt or differently worded one.
// Knows letters and words, not meanings.
#pragma once

#include <string>
#include <vector>

namespace sat::cli {

/// Lower case in ASCII, single spaces, none at the ends.
std::string plain(const std::string& text);

/// How alike two plain names are, from 0 to 1: by letters (edit distance) or by words (shared ones, small misspellings
/// forgiven, in any order), whichever is more.
double likeness(const std::string& a, const std::string& b);

/// The most alike names, best first, at most `most`; none that is hardly alike.
std::vector<std::string> nearest_names(const std::string& name, const std::vector<std::string>& known, size_t most);

/// "a", "b" or "c"
std::string either(const std::vector<std::string>& names);

}  // namespace sat::cli
