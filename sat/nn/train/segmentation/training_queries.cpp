// Rows gathered and added.
#include "sat/nn/train/segmentation/training_queries.h"

#include "sat/nn/text/text_encoder.h"
#include "sat/tensor/autograd/tape.h"
#include "sat/tensor/ops.h"

namespace sat {

TrainingQueries::TrainingQueries(const std::vector<std::string>& names, Tensor rows, Tensor table, bool table_learns)
    : rows_(std::move(rows)), table_(std::move(table)) {
  SAT_CHECK(rows_.shape == Shape({int64_t(names.size()), table_.shape[1]}), "queries: ", names.size(),
            " names, vectors of shape ", rows_.shape, " and a modality table of shape ", table_.shape);
  for (size_t i = 0; i < names.size(); ++i) row_of_.emplace(names[i], int64_t(i));
  if (table_learns) Tape::watch(table_);
}

int64_t TrainingQueries::row_of(const std::string& name) const {
  const auto found = row_of_.find(name);
  SAT_CHECK(found != row_of_.end(), "there is no text embedding for the structure '", name, "'");
  return found->second;
}

Tensor TrainingQueries::of(const std::vector<TrainingSample>& samples) const {
  std::vector<int64_t> rows, modalities;
  const size_t N = samples.at(0).structures.size();
  for (const TrainingSample& sample : samples) {
    SAT_CHECK(sample.structures.size() == N, "a batch of samples with ", N, " and ", sample.structures.size(),
              " structures");
    const int64_t code = modality_code(sample.modality);
    SAT_CHECK(code < table_.shape[0], "the modality ", sample.modality, " has number ", code, ", the table has ",
              table_.shape[0], " rows");
    modalities.insert(modalities.end(), N, code);
    for (size_t n = 0; n < N; ++n) {
      rows.push_back(sample.kinds[n] == QueryKind::filler ? -1 : row_of(sample.structures[n]));
    }
  }
  return reshape(add(gather_rows(rows_, rows), gather_rows(table_, modalities)),
                 {int64_t(samples.size()), int64_t(N), width()});
}

Tensor TrainingQueries::of(const std::vector<std::string>& names, const std::string& modality,
                           const NamedTensors& parameters) const {
  std::vector<int64_t> rows;
  for (const std::string& name : names) rows.push_back(row_of(name));
  return add_modality(gather_rows(rows_, rows), parameters.at(kModalityTable), modality, "the text encoder");
}

}  // namespace sat
