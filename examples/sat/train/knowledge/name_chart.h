// A picture of names that mean the same, as an encoder puts them before and after a training.
#pragma once

#include <vector>

#include "sat/nn/train/knowledge/monitoring/name_groups.h"

namespace sat::cli {

/// Two panels, each the plane of the two largest principal components of the first groups (as many as have a colour): a
/// star a group, from its middle to its names. Circles were learnt, diamonds held out. The legend has each group's mean
/// cosine. An RGB image u8 [rows, columns, 3].
Tensor draw_names(const std::vector<NameGroup>& groups, const Tensor& before, const Tensor& after);

}  // namespace sat::cli
