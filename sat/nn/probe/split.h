// Private. Which rows are fitted on, which choose and which judge, so that what belongs together stays together.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sat {

/// Whether each row is held out, given the name of its group (an image, or a patient with all images): groups in an
/// order that follows from seed and names alone, the first of them until `share` of the rows is held out, at least one
/// group and never all. Throws Error where there are fewer than two groups.
std::vector<uint8_t> hold_out(const std::vector<std::string>& groups, double share, uint64_t seed);

/// Numbers of groups from 0, in the order in which they are first met.
std::vector<int64_t> number_groups(const std::vector<std::string>& groups);

}  // namespace sat
