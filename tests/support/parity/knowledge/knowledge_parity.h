// Compares knowledge pre-training with recorded values.
#pragma once

#include <string>
#include <vector>

#include "tests/support/parity/parity_line.h"

namespace sat::test {

/// Folders of kind "sat-pretrain-sampler": which pairs, scans and crops are drawn.
std::vector<ParityLine> compare_knowledge_sampler(const std::string& folder);

/// The part of it that takes no network: the losses of rows, and stage 1.
std::vector<ParityLine> compare_contrastive_losses(const std::string& folder);

/// Folders of kind "sat-pretrain": both losses alone, and a step of each kind with generated weights.
std::vector<ParityLine> compare_knowledge_training(const std::string& folder);

}  // namespace sat::test
