// Private. Names that mean the same, and how close an encoder puts them: what knowledge pre-training is to change. And
// the plane in which they are looked at.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "sat/tensor/tensor.h"

namespace sat {

/// A structure's name, others that the training saw for it, and others that it did not.
struct NameGroup {
  std::string name;
  std::vector<std::string> learnt, held_out;
};

/// Reads {name: {"learnt": [name, ...], "held_out": [name, ...]}, ...}. Throws Error naming file and group.
std::vector<NameGroup> read_name_groups(const std::string& path);

/// All names, group by group: the name, the learnt ones, those held out. The order of rows below.
std::vector<std::string> names_of(const std::vector<NameGroup>& groups);

/// Mean cosines.
struct NameSimilarity {
  double learnt = 0;             // of two among a group's name and learnt names
  double held_out = 0;           // of one held out and its group's name
  double others = 0;             // of two of different groups, those held out included
  double nearest = 0;            // share of those held out whose nearest name, of all names of groups, is their own
  std::vector<double> by_group;  // as `learnt`
};
/// rows [names, C] of any length.
NameSimilarity similarity_of(const std::vector<NameGroup>& groups, const Tensor& rows);

/// Rows in the plane of their two largest principal components, each coordinate from 0 to 1. [R, C] -> R points. The
/// plane's sides are such that the coordinate farthest from the mean is positive.
std::vector<std::pair<double, double>> principal_plane(const Tensor& rows);

}  // namespace sat
