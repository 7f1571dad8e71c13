// Compares the tokenizer of reports and what ECAMP makes of them with recorded values, for the tests and for the
// program that checks whole folders.
#pragma once

#include <string>
#include <vector>

#include "tests/support/parity/parity_line.h"

namespace sat::test {

/// Folders of kind "ecamp-masking": case.json names the prefix of the streams, how many tokens a report gets, and the
/// tokenizer's file, which is looked for in the folder, then in data/vocab/ and shared/data/vocab/ beside every folder
/// that it or this repository lies in; `tokenizer` replaces it when it is not empty. Texts, ids, positions and numbers
/// of draws count 1 for each record that differs, weights their largest absolute difference.
std::vector<ParityLine> compare_report_masking(const std::string& folder, const std::string& tokenizer = {});

}  // namespace sat::test
