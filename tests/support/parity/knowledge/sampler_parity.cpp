// Parity of what knowledge pre-training draws: pairs, scans, crops.
#include <algorithm>
#include <cmath>

#include "sat/io/datasets/knowledge/knowledge_pairs.h"
#include "sat/io/datasets/knowledge/label_pool.h"
#include "sat/io/words/text.h"
#include "tests/support/golden.h"
#include "tests/support/parity/knowledge/knowledge_parity.h"
#include "tests/support/parity/recorded.h"

namespace sat::test {

namespace {

constexpr double kPrinted = 1e-9;  // weights are recorded with nine digits

KnowledgePairs read_pairs(const std::string& folder, const Json& ratios) {
  KnowledgePairs pairs;
  pairs.add(read_umls_definitions(folder + "/umls_def.csv"), ratios["umls_definition"].number());
  pairs.add(read_umls_graph(folder + "/umls_kg.csv"), ratios["umls_graph"].number());
  ConceptFile web = read_web_knowledge(folder + "/website.json");
  pairs.add(std::move(web.definitions), ratios["web_definition"].number());
  pairs.add(std::move(web.relations), ratios["web_graph"].number());
  ConceptFile supplement = read_supplement(folder + "/supplementary.json");
  pairs.add(std::move(supplement.definitions), ratios["supplementary_definition"].number());
  pairs.add(std::move(supplement.relations), ratios["supplementary_graph"].number());
  return pairs;
}

ParityLine differing(const std::string& quantity, int64_t compared, int64_t wrong) {
  return {quantity + " (" + std::to_string(compared) + ")", double(wrong), 0};
}

void compare_pairs(const std::string& folder, const Json& setup, const Json& want, std::vector<ParityLine>& lines) {
  const KnowledgePairs pairs = read_pairs(folder, setup["ratios"]);
  int64_t wrong_items = 0;
  double weights = 0;
  for (size_t s = 0; s < pairs.sources().size(); ++s) {
    wrong_items += int64_t(pairs.sources()[s].items.size()) == want["items"].members()[s].second.integer() ? 0 : 1;
    weights = std::max(weights, std::fabs(pairs.share(s) - want["weights"][s].number()));
  }
  lines.push_back(differing("items of sources", int64_t(pairs.sources().size()), wrong_items));
  lines.push_back({"shares of sources", weights, kPrinted});

  int64_t draws = 0, wrong = 0;
  const std::function<double()> counted = [&draws, stream = unit_stream(setup["prefix"].string() + "pairs")] {
    ++draws;
    return stream();
  };
  for (const Json& pair : want["pairs"].items()) {
    const int64_t before = draws;
    const KnowledgePair drawn = pairs.draw(counted);
    const bool same = drawn.label == pair[0].string() && drawn.text == pair[1].string();
    wrong += same && draws - before == pair[2].integer() ? 0 : 1;
  }
  lines.push_back(differing("pairs and their draws", int64_t(want["pairs"].size()), wrong));
}

void compare_scans(const std::string& folder, const Json& want, std::vector<ParityLine>& lines) {
  std::vector<AnnotatedScan> scans;
  std::vector<std::string> ids;
  const std::string path = folder + "/volumes.jsonl";
  for (const std::string& line : lines_of(read_text(path), path)) {
    const Json record = Json::parse(line, path);
    AnnotatedScan scan{record["dataset"].string(), {}};
    for (size_t l = 0; l < record["label"].size(); ++l) {
      const Json& box = record["renorm_y1x1z1_y2x2z2"][l];
      if (box.kind() == Json::Kind::array) scan.labels.push_back(record["label"][l].string());
    }
    ids.push_back(record["id"].string());
    scans.push_back(std::move(scan));
  }
  const LabelPool pool(scans);
  int64_t wrong = pool.labels().size() == want["pool"].size() ? 0 : 1;
  double weights = 0;
  for (const auto& [name, label] : pool.labels()) {
    wrong += label.repeats == want["pool"][name].integer() ? 0 : 1;
    std::vector<std::string> have;
    for (int64_t scan : label.scans) have.push_back(ids[size_t(scan)]);
    wrong += have == want["cases"][name].strings() ? 0 : 1;
    for (size_t i = 0; i < label.weights.size(); ++i) {
      weights = std::max(weights, std::fabs(label.weights[i] - want["weights"][name][i].number()));
    }
  }
  lines.push_back(differing("repeats and scans of labels", int64_t(pool.labels().size()), wrong));
  lines.push_back({"weights of scans", weights, kPrinted});
}

std::array<int64_t, 3> three(const std::vector<int64_t>& numbers, size_t first = 0) {
  return {numbers.at(first), numbers.at(first + 1), numbers.at(first + 2)};
}

VoxelBox box_of(const Json& json) { return {three(json.integers()), three(json.integers(), 3)}; }

void compare_places(const Json& setup, const Json& values, std::vector<ParityLine>& lines) {
  const std::array<int64_t, 3> crop = three(setup["crop"].integers());
  int64_t wrong = 0;
  for (const Json& item : values["crop"].items()) {
    const std::array<int64_t, 3> start =
        crop_start(three(item["size"].integers()), crop, three(item["voxel"].integers()));
    VoxelBox got{start, start};
    for (size_t axis = 0; axis < 3; ++axis) got.end[axis] += crop[axis];
    const VoxelBox want = box_of(item["crop"]);
    wrong += got.start == want.start && got.end == want.end ? 0 : 1;
  }
  lines.push_back(differing("crops around voxels", int64_t(values["crop"].size()), wrong));

  wrong = 0;
  for (const auto& [word, merged] : values["modality"].members()) {
    wrong += merged_modality(word) == merged.string() ? 0 : 1;
  }
  lines.push_back(differing("modalities", int64_t(values["modality"].size()), wrong));

  wrong = 0;
  for (const Json& item : values["overlap"].items()) {
    wrong += boxes_meet(box_of(item[0]), box_of(item[1])) == item[2].boolean() ? 0 : 1;
  }
  lines.push_back(differing("boxes that meet", int64_t(values["overlap"].size()), wrong));
}

}  // namespace

std::vector<ParityLine> compare_knowledge_sampler(const std::string& folder) {
  const Json setup = read_json(folder + "/case.json"), values = read_json(folder + "/values.json");
  std::vector<ParityLine> lines;
  compare_pairs(folder, setup, values, lines);
  compare_scans(folder, values["volumes"], lines);
  compare_places(setup, values, lines);
  return lines;
}

}  // namespace sat::test
