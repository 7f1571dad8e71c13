// Private. What is known of images: labels that are there or not, or one class each, from a CSV file.
// Knows names and answers, no features.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sat/io/features/feature_set.h"

namespace sat {

enum class LabelState : int8_t { unknown = -1, absent = 0, present = 1 };

/// What an uncertain finding (-1, as CheXpert's labels have it) counts as.
enum class Uncertain : uint8_t { refuse, unknown, absent, present };
Uncertain parse_uncertain(const std::string& name);  // "refuse", "unknown", "absent", "present"

enum class LabelTask : uint8_t { automatic, labels, classes };
LabelTask parse_label_task(const std::string& name);  // "automatic", "labels", "classes"

struct LabelOptions {
  LabelTask task = LabelTask::automatic;
  std::vector<std::string> columns;  // of labels, or one of classes; none: all but the image, group and split
  std::vector<std::string> among;    // without `columns`: those of the table that are named here
  std::string group;                 // column of what must not be torn apart, such as a patient; empty: none
  std::string split;                 // column that says train, val or test; empty: none
  Uncertain uncertain = Uncertain::refuse;
};

struct Labels {
  std::vector<std::string> names;                   // K labels, or K classes
  bool exclusive = false;                           // classes: exactly one is present, or all are unknown
  std::vector<std::string> images, groups, splits;  // one an image; groups and splits as the file has them, or empty
  std::vector<LabelState> states;                   // [images, K]

  int64_t size() const { return int64_t(images.size()); }
  LabelState state(int64_t image, int64_t label) const { return states[size_t(image) * names.size() + size_t(label)]; }
};

/// Reads a table with an image a line, its name in the first column. Columns that hold only 0, 1 and nothing (unknown)
/// are labels; a single column that holds anything else, or is said to, has classes, which are ordered as numbers where
/// all are whole numbers, else as texts. Throws Error, naming line and column, for whatever fits neither.
Labels read_labels(const std::string& path, const LabelOptions& options = {});

/// Rows of features with what is known of them, in the order of the features.
struct LabelledRows {
  std::vector<int64_t> rows, labels;           // of the features; of the labels
  int64_t features_left = 0, labels_left = 0;  // without a partner
};

/// Throws Error, with a name from either side, where none fits.
LabelledRows join(const FeatureSet& features, const Labels& labels, const std::string& labels_path);

}  // namespace sat
