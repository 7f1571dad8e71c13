// A part of a JSON config: values asked for by key, held against what they may be, and keys that nobody asked for.
// Knows no training; train_config.h says which keys there are.
#pragma once

#include <array>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "sat/io/words/json.h"

namespace sat::cli {

/// Every message names the file and the whole key: `config.json: "data.workers" is -1; it is a whole number from 0 to
/// 64`. An absent key gives the fallback. Paths that are relative start at the config's folder.
class ConfigSection {
 public:
  /// Of a whole file.
  ConfigSection(const Json& json, const std::string& source);

  bool has(const std::string& key) const { return json_->find(key) != nullptr; }
  int64_t integer(const std::string& key, int64_t fallback, int64_t least, int64_t most);
  double number(const std::string& key, double fallback, double least, double most);
  bool flag(const std::string& key, bool fallback);
  std::string text(const std::string& key, const std::string& fallback = "");
  std::string choice(const std::string& key, const std::vector<std::string>& of);  // the first is the fallback
  std::vector<std::string> texts(const std::string& key, const std::vector<std::string>& fallback = {});  // or one text
  std::array<int64_t, 3> sizes(const std::string& key, const std::array<int64_t, 3>& fallback, int64_t most);
  std::array<double, 2> numbers(const std::string& key, const std::array<double, 2>& fallback, double least,
                                double most);
  /// A file or folder that is there; "" where the key is absent.
  std::string path(const std::string& key);
  std::vector<std::string> paths(const std::string& key);  // a text or a list of them
  std::string new_path(const std::string& key);            // need not be there
  Json value(const std::string& key);                      // as it stands, null where it is absent

  ConfigSection section(const std::string& key);                // an object, empty where it is absent
  std::vector<ConfigSection> sections(const std::string& key);  // a list of objects

  /// Throws Error for a key that was not asked for, with the nearest one that was.
  void finish() const;
  /// Throws Error about a key: its name, then the words.
  [[noreturn]] void refuse(const std::string& key, const std::string& words) const;

 private:
  ConfigSection(const Json* json, const ConfigSection& of, const std::string& prefix);
  const Json* find(const std::string& key);
  template <class Read>
  auto read(const std::string& key, const Json& json, const std::string& wanted, const Read& get) const;
  std::string existing(const std::string& key, const std::string& path) const;
  std::string from_folder(const std::string& path) const;

  const Json* json_;
  std::string source_, prefix_;
  std::set<std::string> known_;
};

}  // namespace sat::cli
