// Private. The two contrastive losses of knowledge pre-training (spec m.3). Rows of both sides have length 1
// (normalize_rows), l_ij = e^t u_i . v_j. Knows rows and labels, not what made them.
//
// Differs: the published losses exponentiate l as it is, which reaches e^100; here each row's largest l is subtracted
// first (cross_entropy), so nothing overflows and the value is the same.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sat/tensor/ops.h"

namespace sat {

/// Which texts belong together, [N, N]: 1 where labels are the same, divided by each column's length.
/// QUIRK (parity): so each of k texts with one label gets 1 / sqrt(k), and rows do not sum to 1.
Tensor text_targets(const std::vector<std::string>& labels);

/// Texts against texts: (CE(l, G) + CE(l^T, G)) / 2 with G = text_targets(), CE the mean over rows of the cross-entropy
/// with soft targets. u, v [N, C]; t [1].
Tensor text_text_loss(const Tensor& u, const Tensor& v, const Tensor& targets, const Tensor& t);

/// Texts against structures in scans: -mean_i ln(e^l_ii / sum_j e^l_ij), where j leaves out what has i's label and is
/// not i; of l and of l^T, averaged. u, v [N, C]; t [1]; `labels`: a number a row, equal for equal names, whatever the
/// modality.
/// Differs: where one process trains, the published code takes fillers for rows 0 and 1; they are left out here before,
/// as several processes do it there.
Tensor text_atlas_loss(const Tensor& u, const Tensor& v, const std::vector<int64_t>& labels, const Tensor& t);

/// Names as numbers: equal ones for equal names.
std::vector<int64_t> label_numbers(const std::vector<std::string>& labels);

}  // namespace sat
