// ECAMP's networks against recorded values: the kinds `ecamp-pretrain`, `ecamp-classification`, `ecamp-segmentation`
// and `ecamp-detection`. What the records say of gradients and of steps with them is not compared: `gradients`,
// `after`, `training` (whose forward pass takes the batch's own statistics) and losses after a step.
#pragma once

#include <string>
#include <vector>

#include "tests/support/parity/parity_line.h"

namespace sat::test {

std::vector<ParityLine> compare_ecamp_pretraining(const std::string& folder);
std::vector<ParityLine> compare_ecamp_classification(const std::string& folder);
std::vector<ParityLine> compare_ecamp_segmentation(const std::string& folder);
std::vector<ParityLine> compare_ecamp_detection(const std::string& folder);
/// What of the last one needs no network: decoding, suppression, losses, average precision.
std::vector<ParityLine> compare_ecamp_boxes(const std::string& folder);

}  // namespace sat::test
