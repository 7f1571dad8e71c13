// Values of a config, each checked where it is read.
#include "examples/sat/train/config_section.h"

#include <filesystem>

#include "examples/sat/cases.h"
#include "examples/sat/tools/nearest.h"
#include "sat/io/files/file.h"
#include "sat/io/words/text.h"

namespace sat::cli {

namespace {

const Json& empty_object() {
  static const Json empty = Json::object();
  return empty;
}

std::string shown(const Json& json) {
  const std::string text = json.dump();
  return text.size() <= 60 ? text : text.substr(0, 57) + "...";
}

std::string range(const std::string& least, const std::string& most) { return "from " + least + " to " + most; }

}  // namespace

ConfigSection::ConfigSection(const Json& json, const std::string& source) : json_(&json), source_(source) {
  SAT_CHECK(json.kind() == Json::Kind::object, source, ": a config is a JSON object, this is ", shown(json));
}

ConfigSection::ConfigSection(const Json* json, const ConfigSection& of, const std::string& prefix)
    : json_(json), source_(of.source_), prefix_(prefix) {}

void ConfigSection::refuse(const std::string& key, const std::string& words) const {
  fail(source_, ": \"", prefix_, key, "\" ", words);
}

const Json* ConfigSection::find(const std::string& key) {
  known_.insert(key);
  return json_->find(key);
}

template <class Read>
auto ConfigSection::read(const std::string& key, const Json& json, const std::string& wanted, const Read& get) const {
  try {
    return get(json);
  } catch (const Error&) {
    refuse(key, "is " + printable(shown(json)) + "; it is " + wanted);
  }
}

int64_t ConfigSection::integer(const std::string& key, int64_t fallback, int64_t least, int64_t most) {
  const Json* json = find(key);
  if (!json) return fallback;
  const std::string wanted = "a whole number " + range(std::to_string(least), std::to_string(most));
  return read(key, *json, wanted, [&](const Json& value) {
    const int64_t number = value.integer();
    SAT_CHECK(number >= least && number <= most, "out of range");
    return number;
  });
}

double ConfigSection::number(const std::string& key, double fallback, double least, double most) {
  const Json* json = find(key);
  if (!json) return fallback;
  const std::string wanted = "a number " + range(significant(least, 6), significant(most, 6));
  return read(key, *json, wanted, [&](const Json& value) {
    const double number = value.number();
    SAT_CHECK(number >= least && number <= most, "out of range");
    return number;
  });
}

bool ConfigSection::flag(const std::string& key, bool fallback) {
  const Json* json = find(key);
  return json ? read(key, *json, "true or false", [](const Json& value) { return value.boolean(); }) : fallback;
}

std::string ConfigSection::text(const std::string& key, const std::string& fallback) {
  const Json* json = find(key);
  if (!json) return fallback;
  return read(key, *json, "a text", [](const Json& value) {
    SAT_CHECK(!value.string().empty(), "empty");
    return value.string();
  });
}

std::string ConfigSection::choice(const std::string& key, const std::vector<std::string>& of) {
  const std::string chosen = text(key, of.front());
  for (const std::string& one : of) {
    if (one == chosen) return chosen;
  }
  const std::vector<std::string> near = nearest_names(chosen, of, 1);
  refuse(key, "is " + sat::quoted(chosen) + "; it is " + either(of) +
                  (near.empty() ? "" : ": did you mean \"" + near[0] + "\"?"));
}

std::vector<std::string> ConfigSection::texts(const std::string& key, const std::vector<std::string>& fallback) {
  const Json* json = find(key);
  if (!json) return fallback;
  if (json->kind() == Json::Kind::string) return {text(key)};
  return read(key, *json, "a text or a list of texts", [](const Json& value) {
    for (const std::string& one : value.strings()) SAT_CHECK(!one.empty(), "empty");
    return value.strings();
  });
}

std::array<int64_t, 3> ConfigSection::sizes(const std::string& key, const std::array<int64_t, 3>& fallback,
                                            int64_t most) {
  const Json* json = find(key);
  if (!json) return fallback;
  const std::string wanted = "three whole numbers " + range("1", std::to_string(most));
  return read(key, *json, wanted, [&](const Json& value) {
    const std::vector<int64_t> all = value.integers();
    SAT_CHECK(all.size() == 3, "not three");
    for (const int64_t size : all) SAT_CHECK(size >= 1 && size <= most, "out of range");
    return std::array<int64_t, 3>{all[0], all[1], all[2]};
  });
}

std::array<double, 2> ConfigSection::numbers(const std::string& key, const std::array<double, 2>& fallback,
                                             double least, double most) {
  const Json* json = find(key);
  if (!json) return fallback;
  const std::string wanted = "two numbers " + range(significant(least, 6), significant(most, 6));
  return read(key, *json, wanted, [&](const Json& value) {
    const std::vector<double> all = value.numbers();
    SAT_CHECK(all.size() == 2, "not two");
    for (const double one : all) SAT_CHECK(one >= least && one <= most, "out of range");
    return std::array<double, 2>{all[0], all[1]};
  });
}

std::string ConfigSection::from_folder(const std::string& path) const {
  return absolute_path((std::filesystem::path(folder_of(source_)) / path).string());
}

std::string ConfigSection::existing(const std::string& key, const std::string& path) const {
  std::string whole = from_folder(path);
  std::error_code error;
  if (!std::filesystem::exists(whole, error)) refuse(key, "names " + sat::quoted(whole) + ", which is not there");
  return whole;
}

std::string ConfigSection::path(const std::string& key) {
  const std::string named = text(key);
  return named.empty() ? "" : existing(key, named);
}

std::vector<std::string> ConfigSection::paths(const std::string& key) {
  std::vector<std::string> all = texts(key);
  for (std::string& one : all) one = existing(key, one);
  return all;
}

std::string ConfigSection::new_path(const std::string& key) {
  const std::string named = text(key);
  return named.empty() ? "" : from_folder(named);
}

Json ConfigSection::value(const std::string& key) {
  const Json* json = find(key);
  return json ? *json : Json();
}

ConfigSection ConfigSection::section(const std::string& key) {
  const Json* json = find(key);
  if (json && json->kind() != Json::Kind::object) refuse(key, "is " + printable(shown(*json)) + "; it is an object");
  return ConfigSection(json ? json : &empty_object(), *this, prefix_ + key + ".");
}

std::vector<ConfigSection> ConfigSection::sections(const std::string& key) {
  const Json* json = find(key);
  std::vector<ConfigSection> all;
  if (!json) return all;
  const auto refused = [&] { refuse(key, "is " + printable(shown(*json)) + "; it is a list of objects"); };
  if (json->kind() != Json::Kind::array) refused();
  for (const Json& item : json->items()) {
    if (item.kind() != Json::Kind::object) refused();
    all.push_back(ConfigSection(&item, *this, prefix_ + key + "[" + std::to_string(all.size()) + "]."));
  }
  return all;
}

void ConfigSection::finish() const {
  for (const auto& [key, value] : json_->members()) {
    if (known_.count(key) != 0) continue;
    const std::vector<std::string> near = nearest_names(key, {known_.begin(), known_.end()}, 1);
    refuse(printable(key), "is no key of a training's config" +
                               (near.empty() ? std::string() : "; did you mean \"" + prefix_ + near[0] + "\"?"));
  }
}

}  // namespace sat::cli
