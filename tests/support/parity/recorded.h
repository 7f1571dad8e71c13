// Recorded values of the forms that share one record of statistics: "shape mean std mean_abs l2 first last".
#pragma once

#include <string>
#include <vector>

#include "sat/io/words/json.h"
#include "sat/tensor/weights.h"
#include "tests/support/parity/parity_line.h"

namespace sat::test {

Json read_json(const std::string& path);
Tensor channels_last(const Tensor& x);   // [B, C, H, W] -> [B, H, W, C]
Tensor channels_first(const Tensor& x);  // the way back

/// A tensor, row-major as recorded, against its record: the largest error of any of its figures, the ends absolutely,
/// l2 and the means by the largest recorded magnitude (at least 1).
ParityLine compare_statistics(const std::string& quantity, const Tensor& got, const Json& record, double limit);
/// Against a recorded array: the largest absolute difference; infinite where shapes differ.
ParityLine compare_array(const std::string& quantity, const Tensor& got, const std::string& npy, double limit);
ParityLine compare_array(const std::string& quantity, const Tensor& got, const Tensor& want, double limit);
ParityLine compare_numbers(const std::string& quantity, const std::vector<double>& got, const Json& recorded,
                           double limit);
ParityLine compare_number(const std::string& quantity, double got, double want, double limit);

/// Weights that are made when they are asked for, by rad-dino.md 12.3 (Hugging Face's names).
Weights generated_vit(const std::string& prefix);
/// The same by ecamp.md 14.2 (pre-training) and 14.3 (downstream).
Weights generated_ecamp(const std::string& prefix);
Weights generated_downstream(const std::string& prefix);

}  // namespace sat::test
