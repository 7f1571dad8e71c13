// The published settings and their JSON, key by key.
#include "sat/nn/train/data/sampling_settings.h"

#include <functional>
#include <set>
#include <utility>
#include <vector>

#include "sat/io/words/text.h"

namespace sat {

namespace {

double fraction(const Json& value) {
  const double number = value.number();
  SAT_CHECK(number >= 0 && number <= 1, "is ", number, ", needs a probability from 0 to 1");
  return number;
}

double not_negative(const Json& value) {
  const double number = value.number();
  SAT_CHECK(number >= 0 && number <= 1e6, "is ", number, ", needs a number from 0 to 1e6");
  return number;
}

double positive(const Json& value) {
  const double number = not_negative(value);
  SAT_CHECK(number > 0, "is 0, needs a number above it");
  return number;
}

/// A factor of a zoom: an axis keeps at least a voxel in ten.
double zoom_factor(const Json& value) {
  const double number = value.number();
  SAT_CHECK(number >= 0.1 && number <= 10, "is ", number, ", needs a factor from 0.1 to 10");
  return number;
}

using Setter = std::pair<const char*, std::function<void(const Json&)>>;

/// Gives every member of an object to the setter of its name; messages say where it stands.
void set_members(const Json& object, const std::string& where, const std::vector<Setter>& setters) {
  SAT_CHECK(object.kind() == Json::Kind::object, where, " needs to be an object of settings");
  for (const auto& [key, value] : object.members()) {
    bool known = false;
    std::string names;
    for (const auto& [name, set] : setters) {
      names += (names.empty() ? "" : ", ") + std::string(name);
      if (key != name) continue;
      known = true;
      try {
        set(value);
      } catch (const Error& error) {
        fail(where, ": ", key, " ", error.what());
      }
    }
    SAT_CHECK(known, where, ": there is no setting ", quoted(key), "; known are ", names);
  }
}

Setter number(const char* name, double& field, double (*read)(const Json&)) {
  return {name, [&field, read](const Json& value) { field = read(value); }};
}

Setter unused(const char* name) {
  return {name, [](const Json&) {}};
}

void set_range(AugmentationSettings::Range& to, const Json& value, double low, double high) {
  const std::vector<double> ends =
      value.kind() == Json::Kind::array ? value.numbers() : std::vector<double>{-value.number(), value.number()};
  SAT_CHECK(ends.size() == 2 && ends[0] <= ends[1] && ends[0] >= low && ends[1] <= high,
            "needs two ascending numbers from ", low, " to ", high);
  to = {ends[0], ends[1]};
}

Setter range(const char* name, AugmentationSettings::Range& field, double low, double high) {
  return {name, [&field, low, high](const Json& value) { set_range(field, value, low, high); }};
}

void set_augmentation(AugmentationSettings& to, const Json& json, const std::string& where) {
  const auto part = [&](const char* name, std::vector<Setter> setters) {
    return Setter(name, [&where, name, setters = std::move(setters)](const Json& value) {
      set_members(value, where + ": " + name, setters);
    });
  };
  const Setter no_mean{"mean", [](const Json& value) {
                         SAT_CHECK(value.number() == 0, "is ", value.number(), ", and only 0 is known");
                       }};
  set_members(
      json, where,
      {part("RandZoom", {number("prob", to.zoom_prob, fraction), number("min_zoom", to.zoom[0], zoom_factor),
                         number("max_zoom", to.zoom[1], zoom_factor)}),
       part("RandGaussianNoise",
            {number("prob", to.noise_prob, fraction), number("std", to.noise_deviation, not_negative), no_mean}),
       part("RandGaussianSharpen", {number("prob", to.sharpen_prob, fraction)}),
       part("RandScaleIntensity", {number("prob", to.scale_prob, fraction), range("factors", to.scale, -1, 10)}),
       part("RandAdjustContrastInvert",
            {number("prob", to.contrast_prob, fraction), range("gamma", to.gamma, 0.01, 100), unused("retain_stats"),
             unused("invert_image")}),
       part("RandAdjustContrast",
            {number("prob", to.second_contrast_prob, fraction), range("gamma", to.second_gamma, 0.01, 100),
             unused("retain_stats"), unused("invert_image")}),
       unused("RandScaleIntensityFixedMean"), unused("RandSimulateLowResolution")});
  SAT_CHECK(to.zoom[0] <= to.zoom[1], where, ": RandZoom: min_zoom is ", to.zoom[0], ", above max_zoom, ", to.zoom[1]);
}

void set_sampling(SamplingSettings& to, const Json& json, const std::string& where) {
  set_members(json, where,
              {number("sampling_weight", to.sampling_weight, positive),
               number("foreground_crop_prob", to.foreground_crop_prob, fraction),
               number("label_based_crop_prob", to.label_based_crop_prob, fraction),
               number("uncenter_prob", to.uncenter_prob, fraction),
               number("pos_label_first_prob", to.pos_label_first_prob, fraction),
               number("neg_label_ratio_threshold", to.neg_label_ratio_threshold, not_negative),
               Setter("augmentation",
                      [&](const Json& value) { set_augmentation(to.augmentation, value, where + ": augmentation"); }),
               unused("load_and_save")});
}

}  // namespace

AugmentationSettings no_augmentation() {
  AugmentationSettings none;
  none.zoom_prob = none.noise_prob = none.sharpen_prob = none.scale_prob = 0;
  none.contrast_prob = none.second_contrast_prob = 0;
  return none;
}

SamplingSettings published_sampling(const std::string& dataset) {
  static const std::set<std::string> kTwice = {"SegRap2023_Task1",
                                               "TotalSegmentator_Organs",
                                               "TotalSegmentator_Vertebrae",
                                               "TotalSegmentator_Cardiac",
                                               "TotalSegmentator_Ribs",
                                               "TotalSegmentator_Muscles",
                                               "TotalSegmentator_v2",
                                               "HAN_Seg",
                                               "Brain_Atlas"};
  SamplingSettings settings;
  settings.sampling_weight = dataset == "DAP_Atlas" ? 3 : kTwice.count(dataset) ? 2 : 1;
  return settings;
}

SamplingTable::SamplingTable(const Json& json, const std::string& source) : source_(source) {
  for (const auto& [dataset, changes] : json.members()) {
    SAT_CHECK(changes_.emplace(dataset, changes).second, source, ": ", quoted(dataset), " comes twice");
    of(dataset);  // refuses what is wrong before anything is drawn
  }
}

SamplingSettings SamplingTable::of(const std::string& dataset) const {
  SamplingSettings settings = published_sampling(dataset);
  for (const std::string& name : {std::string("*"), dataset}) {
    const auto found = changes_.find(name);
    if (found != changes_.end()) set_sampling(settings, found->second, source_ + ": " + name);
    if (dataset == "*") break;
  }
  return settings;
}

}  // namespace sat
