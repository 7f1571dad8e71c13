// results.csv: a line for every structure of every case, written and read again.
// Knows columns and numbers; what is measured is score_case.h's.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sat::cli {

/// Columns with numbers, in the order of the file.
enum class Score : uint8_t {
  truth_voxels,
  prediction_voxels,
  dice,
  nsd,
  hd95_mm,
  hd_mm,
  truth_to_prediction_mm,
  prediction_to_truth_mm,
  truth_ml,
  prediction_ml,
  volume_error_ml,
  volume_error,
  sat_truth_voxels,
  sat_prediction_voxels,
  sat_dice,
  sat_nsd,
};
inline constexpr size_t kScores = 16;

struct ScoreColumn {
  const char* name;
  int better;  // 1: more is better, -1: less is, 0: neither, or not a score
};
inline constexpr std::array<ScoreColumn, kScores> kScoreColumns{{{"truth_voxels", 0},
                                                                 {"prediction_voxels", 0},
                                                                 {"dice", 1},
                                                                 {"nsd", 1},
                                                                 {"hd95_mm", -1},
                                                                 {"hd_mm", -1},
                                                                 {"truth_to_prediction_mm", -1},
                                                                 {"prediction_to_truth_mm", -1},
                                                                 {"truth_ml", 0},
                                                                 {"prediction_ml", 0},
                                                                 {"volume_error_ml", 0},
                                                                 {"volume_error", 0},
                                                                 {"sat_truth_voxels", 0},
                                                                 {"sat_prediction_voxels", 0},
                                                                 {"sat_dice", 1},
                                                                 {"sat_nsd", 1}}};
/// Throws Error naming the columns for another name.
Score parse_score(const std::string& name);

struct ScoreRow {
  std::string dataset, case_id, patient, modality, structure, region;
  std::array<std::optional<double>, kScores> scores;  // none where it is not defined, or was not asked for

  std::optional<double>& operator[](Score score) { return scores[size_t(score)]; }
  const std::optional<double>& operator[](Score score) const { return scores[size_t(score)]; }
};

/// Numbers with nine digits; nothing where there is none.
std::string csv_of(const std::vector<ScoreRow>& rows);
/// A table as csv_of() writes it, whose columns may come in any order with others among them; of the scores only the
/// ones in `needed` must be there. Throws Error for a column that is missing, a field that is no number, and a
/// structure that a case has twice.
std::vector<ScoreRow> read_scores(const std::string& path, const std::vector<Score>& needed);

}  // namespace sat::cli
