// The card's JSON, and the comparison of a scan with it.
#include "sat/io/words/model_card.h"

#include <cmath>

#include "sat/io/scans/scan_checks.h"
#include "sat/io/words/text.h"

namespace sat {

namespace {

constexpr double kTolerance = 2;  // times beyond what is stated
constexpr const char* kAxes[] = {"left to right", "back to front", "feet to head"};

ModelCard::Entry entry_from_json(const std::string& modality, const Json& json, const std::string& source) {
  const std::string where = source + ", card, " + quoted(modality);
  ModelCard::Entry entry;
  entry.modality = modality;
  entry.region = json["region"].string();
  SAT_CHECK(!entry.region.empty() && json.size() == 2, where, ": needs \"region\" and \"field_of_view_mm\" alone");
  const std::vector<Json>& axes = json["field_of_view_mm"].items();
  SAT_CHECK(axes.size() == 3, where, ": field_of_view_mm has ", axes.size(), " ranges, needs 3");
  for (size_t axis = 0; axis < 3; ++axis) {
    const std::vector<double> range = axes[axis].numbers();
    SAT_CHECK(range.size() == 2 && range[0] > 0 && range[0] <= range[1], where, ": the range ", kAxes[axis],
              " must be two lengths above 0, the smaller first");
    entry.field_of_view_mm[axis] = {range[0], range[1]};
  }
  return entry;
}

}  // namespace

ModelCard model_card_from_json(const Json& json, const std::string& source) {
  ModelCard card;
  for (const Json::Member& member : json.members()) {
    card.entries.push_back(entry_from_json(member.first, member.second, source));
  }
  return card;
}

Json to_json(const ModelCard& card) {
  Json json = Json::object();
  for (const ModelCard::Entry& entry : card.entries) {
    Json ranges = Json::array();
    for (const auto& range : entry.field_of_view_mm) ranges.push(Json::array({range[0], range[1]}));
    json.set(entry.modality, Json::object().set("region", entry.region).set("field_of_view_mm", std::move(ranges)));
  }
  return json;
}

std::string region_warning(const ModelCard::Entry& entry, const Geometry& scan) {
  const std::array<double, 3> shown = field_of_view_mm(scan);
  for (size_t axis = 0; axis < 3; ++axis) {
    const auto [least, most] = entry.field_of_view_mm[axis];
    if (shown[axis] >= least / kTolerance && shown[axis] <= most * kTolerance) continue;
    return "the scan extends " + fixed(shown[axis], 0) + " mm " + kAxes[axis] +
           ", but scans of what this model knows (" + entry.modality + ": " + entry.region + ") extend " +
           fixed(least, 0) + " to " + fixed(most, 0) + " mm; it may show another part of the body";
  }
  return "";
}

}  // namespace sat
