// Private. Where features of images come from: which model, which of its tokens, how images were prepared. Travels with
// features and with what is fitted on them, so that nothing is applied to features of another kind.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sat/io/words/json.h"

namespace sat {

struct FeatureSource {
  std::string model;            // "rad-dino", "ecamp"; empty: not recorded, as all of these
  std::string identity;         // SHA-256 of the file in which the weights were published
  std::vector<int64_t> layers;  // blocks whose outputs are joined, from 1
  std::string tokens;           // "cls", "patches", "mean", "cls+mean"
  std::string norm;             // "final": after the model's last norm; "none"
  Json preprocessing;           // what the model's own description says of it; null: not recorded
  std::string remark;           // what whoever reads results must know, such as "untrained weights"
};

Json to_json(const FeatureSource& source);
/// Throws Error, naming `where`, for a wrong kind, an unknown key, and an identity that is not 64 hex digits.
FeatureSource feature_source_from_json(const Json& json, const std::string& where);

/// "" where features of `given` may take the place of features of `wanted`, else what differs: "the layers are [12],
/// not [9, 12]". What `wanted` does not record is not compared.
std::string difference(const FeatureSource& given, const FeatureSource& wanted);

}  // namespace sat
