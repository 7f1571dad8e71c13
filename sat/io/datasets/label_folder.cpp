// labels.json and the files that its patterns find.
#include "sat/io/datasets/label_folder.h"

#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "sat/io/files/file.h"
#include "sat/io/files/folder.h"
#include "sat/io/words/json.h"
#include "sat/io/words/modality.h"
#include "sat/io/words/text.h"

namespace sat {

namespace {

constexpr int64_t kLargestList = int64_t(64) << 20;
constexpr int kDeepest = 16;             // folders within folders
constexpr size_t kMostFiles = 20000000;  // that a pattern may look through

bool starts_with(const std::string& text, const std::string& start) { return text.rfind(start, 0) == 0; }
bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

/// A path or name with one `*`, which stands for anything but nothing.
struct Pattern {
  std::string before, after;

  Pattern(const std::string& text, const std::string& where) {
    const size_t star = text.find('*');
    SAT_CHECK(star != std::string::npos && text.find('*', star + 1) == std::string::npos, where, ": ", quoted(text),
              " needs one *, which stands for the case");
    before = text.substr(0, star);
    after = text.substr(star + 1);
  }
  bool matches(const std::string& text) const {
    return text.size() > before.size() + after.size() && starts_with(text, before) && ends_with(text, after);
  }
  std::string star_of(const std::string& text) const {
    return text.substr(before.size(), text.size() - before.size() - after.size());
  }
  std::string with(const std::string& star) const { return before + star + after; }
};

/// Paths of the files below `root`, relative to it, that match a pattern.
void find_files(const std::string& root, const std::string& relative, const Pattern& pattern, int depth, size_t& seen,
                std::vector<std::string>& found) {
  SAT_CHECK(depth <= kDeepest, root, ": folders lie more than ", kDeepest, " deep");
  for (const FolderEntry& entry : list_folder(relative.empty() ? root : root + "/" + relative)) {
    const std::string path = relative.empty() ? entry.name : relative + "/" + entry.name;
    SAT_CHECK(++seen <= kMostFiles, root, ": more than ", kMostFiles, " files");
    if (entry.kind == FolderEntry::Kind::folder) {
      const size_t some = std::min(path.size(), pattern.before.size());
      if (path.compare(0, some, pattern.before, 0, some) == 0) find_files(root, path, pattern, depth + 1, seen, found);
    } else if (pattern.matches(path)) {
      found.push_back(path);
    }
  }
}

bool exists(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0;
}

/// What a member of the file may be called; anything else is a mistake.
void check_keys(const Json& object, const std::vector<std::string>& known, const std::string& where) {
  for (const auto& [key, value] : object.members()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    std::string names;
    for (const std::string& name : known) names += (names.empty() ? "" : ", ") + name;
    fail(where, ": there is no key ", quoted(key), "; known are ", names);
  }
}

std::string text_or(const Json& object, const char* key, const std::string& otherwise) {
  const Json* value = object.find(key);
  return value ? value->string() : otherwise;
}

/// A structure as the file names it.
struct Label {
  std::string name;
  std::vector<int64_t> values;     // of the label map, or
  std::vector<std::string> files;  // what stands for {} in the masks' pattern
};

std::vector<Label> labels_of(const Json& json, const std::string& where) {
  std::vector<Label> labels;
  for (const auto& [name, value] : json.members()) {
    SAT_CHECK(!name.empty() && name != "none" && is_utf8(name), where, ": ", quoted(name),
              " is no name of a structure");
    Label label{name, {}, {}};
    const std::vector<Json> single{value};
    for (const Json& part : value.kind() == Json::Kind::array ? value.items() : single) {
      if (part.kind() == Json::Kind::string) {
        label.files.push_back(part.string());
      } else {
        label.values.push_back(part.integer());
        SAT_CHECK(label.values.back() != 0 && std::abs(label.values.back()) <= 1 << 24, where, ": ", quoted(name),
                  " has the value ", label.values.back(), ", needs one from 1 to 2^24; 0 is the background");
      }
    }
    SAT_CHECK(label.values.empty() != label.files.empty(), where, ": ", quoted(name),
              " needs values of the label map, or names of mask files, and not both");
    labels.push_back(std::move(label));
  }
  SAT_CHECK(!labels.empty(), where, ": there is no label");
  return labels;
}

class FolderReader {
 public:
  FolderReader(const std::string& path, const DatasetOptions& options) : options_(options) {
    path_ = ends_with(path, ".json") ? path : path + (ends_with(path, "/") ? "" : "/") + "labels.json";
    const size_t slash = path_.rfind('/');
    root_ = slash == std::string::npos ? "." : path_.substr(0, slash);
    json_ = Json::parse(read_file(path_, kLargestList), path_);
    if (const Json* root = json_.find("root")) {
      root_ = root->string().rfind('/', 0) == 0 ? root->string() : root_ + "/" + root->string();
    }
    check_keys(json_,
               {"root", "dataset", "modality", "orientation", "image", "label_map", "masks", "labels", "ignore",
                "empty", "cases", "exclude", "train", "validation", "validation_fraction", "seed"},
               path_);
    dataset_ = json_["dataset"].string();
    SAT_CHECK(!dataset_.empty(), path_, ": the data set has no name");
    labels_ = labels_of(json_["labels"], path_ + ": labels");
  }

  LabelledData read() {
    const Pattern image(json_["image"].string(), path_ + ": image");
    std::vector<std::string> files;
    size_t seen = 0;
    find_files(root_, "", image, 0, seen, files);
    const std::vector<Pattern> others = label_patterns();
    for (const std::string& file : files) {
      // "*.nii.gz" may match label maps too: what is the label map of another image is no image.
      const bool other = std::any_of(others.begin(), others.end(), [&](const Pattern& pattern) {
        return pattern.matches(file) && exists(root_ + "/" + image.with(pattern.star_of(file)));
      });
      if (!other) ids_.insert(image.star_of(file));
    }
    SAT_CHECK(!ids_.empty(), path_, ": no file in ", root_, " matches ", quoted(json_["image"].string()));
    for (const std::string& id : listed("exclude")) ids_.erase(id);
    const Json none = Json::object();
    const Json& changes = json_.find("cases") ? json_["cases"] : none;
    for (const auto& [id, value] : changes.members()) {
      SAT_CHECK(ids_.count(id), path_, ": cases: there is no case ", quoted(id));
      check_keys(value, {"modality", "orientation", "patient", "unlabelled", "empty"}, path_ + ": cases: " + id);
    }

    std::vector<LabelledCase> cases;
    for (const std::string& id : ids_) {
      try_case(dataset_, id, options_.on_problem, [&] {
        const Json* own = changes.find(id);
        cases.push_back(read_case(id, image.with(id), own ? *own : none));
      });
    }
    return split(std::move(cases));
  }

 private:
  /// Cases that a list names, each by its id or by a pattern.
  std::set<std::string> listed(const char* key) const {
    std::set<std::string> names;
    const Json* list = json_.find(key);
    if (!list) return names;
    for (const std::string& entry : list->strings()) {
      const size_t before = names.size();
      if (entry.find('*') == std::string::npos) {
        if (ids_.count(entry)) names.insert(entry);
      } else {
        const Pattern pattern(entry, path_ + ": " + key);
        for (const std::string& id : ids_) {
          if (entry == "*" || pattern.matches(id)) names.insert(id);
        }
      }
      SAT_CHECK(names.size() > before, path_, ": ", key, ": ", quoted(entry), " names no further case");
    }
    return names;
  }

  LabelledCase read_case(const std::string& id, const std::string& image, const Json& own) const {
    LabelledCase one;
    one.id = id;
    one.dataset = dataset_;
    one.image = root_ + "/" + image;
    one.patient = text_or(own, "patient", id);
    one.modality = text_or(own, "modality", text_or(json_, "modality", ""));
    SAT_CHECK(!one.modality.empty(), path_, ": neither the data set nor the case has a modality");
    parse_modality(one.modality);
    one.orientation = text_or(own, "orientation", text_or(json_, "orientation", one.orientation));
    one.empty = parse_empty_label(text_or(own, "empty", text_or(json_, "empty", "refuse")));
    if (json_.find("ignore")) one.ignored = json_["ignore"].integers();
    if (own.find("unlabelled")) one.unlabelled = own["unlabelled"].strings();
    for (const std::string& name : one.unlabelled) {
      const bool known = std::any_of(labels_.begin(), labels_.end(), [&](const Label& l) { return l.name == name; });
      SAT_CHECK(known, path_, ": unlabelled: there is no label ", quoted(name));
    }
    for (const Label& label : labels_) {
      const bool skipped = std::count(one.unlabelled.begin(), one.unlabelled.end(), label.name) > 0;
      if (skipped && label.values.empty()) continue;
      if (skipped) {
        one.ignored.insert(one.ignored.end(), label.values.begin(), label.values.end());
        continue;
      }
      add_structure(one, label);
    }
    return one;
  }

  Pattern label_map_pattern() const { return {json_["label_map"].string(), path_ + ": label_map"}; }

  Pattern mask_pattern(const std::string& file) const {
    const std::string masks = json_["masks"].string();
    const size_t braces = masks.find("{}");
    SAT_CHECK(braces != std::string::npos, path_, ": masks: ", quoted(masks),
              " needs {}, which stands for the structure's file");
    return {masks.substr(0, braces) + file + masks.substr(braces + 2), path_ + ": masks"};
  }

  std::vector<Pattern> label_patterns() const {
    std::vector<Pattern> patterns;
    if (json_.find("label_map")) patterns.push_back(label_map_pattern());
    for (const Label& label : labels_) {
      for (const std::string& file : label.files) patterns.push_back(mask_pattern(file));
    }
    return patterns;
  }

  void add_structure(LabelledCase& one, const Label& label) const {
    StructureSource source{label.name, {}, label.values, {}};
    if (!label.values.empty()) {
      const std::string path = root_ + "/" + label_map_pattern().with(one.id);
      SAT_CHECK(exists(path), "there is no label map ", path);
      source.paths.push_back(path);
    }
    for (const std::string& file : label.files) {
      const std::string path = root_ + "/" + mask_pattern(file).with(one.id);
      if (exists(path)) {
        source.paths.push_back(path);
        continue;
      }
      SAT_CHECK(one.empty != EmptyLabel::refuse, "there is no mask ", path, " of ", quoted(label.name), "; `empty` in ",
                path_, " can say what that means");
      if (one.empty == EmptyLabel::unlabelled) {  // a union of which a part is not known is not known
        one.unlabelled.push_back(label.name);
        return;
      }
    }
    one.structures.push_back(std::move(source));
  }

  LabelledData split(std::vector<LabelledCase> cases) const {
    const std::set<std::string> train = listed("train"), validation = listed("validation");
    double fraction = options_.validation_fraction;
    uint64_t seed = options_.seed;
    if (fraction < 0 && json_.find("validation_fraction")) {
      fraction = json_["validation_fraction"].number();
      seed = json_.find("seed") ? uint64_t(json_["seed"].integer()) : 0;
    }
    const bool by_lists = options_.validation_fraction < 0 && (!train.empty() || !validation.empty());
    std::set<std::string> patients;
    if (!by_lists && fraction >= 0) {
      std::vector<std::string> all;
      for (const LabelledCase& one : cases) all.push_back(one.patient);
      const std::vector<std::string> chosen = validation_patients(all, dataset_, fraction, seed);
      patients.insert(chosen.begin(), chosen.end());
    }
    LabelledData data;
    std::map<std::string, bool> for_validation;  // by patient
    for (LabelledCase& one : cases) {
      bool held_out = patients.count(one.patient) > 0;
      if (by_lists) {
        const bool in_train = train.count(one.id) > 0, in_validation = validation.count(one.id) > 0;
        SAT_CHECK(!(in_train && in_validation), path_, ": case ", quoted(one.id), " is for training and validation");
        SAT_CHECK(in_train || in_validation || train.empty() || validation.empty(), path_, ": case ", quoted(one.id),
                  " is in neither list; `exclude` can name it");
        held_out = validation.empty() ? !in_train : in_validation;
      }
      const auto [known, fresh] = for_validation.emplace(one.patient, held_out);
      SAT_CHECK(fresh || known->second == held_out, path_, ": patient ", quoted(one.patient),
                " has cases for training and for validation");
      (held_out ? data.validation : data.train).push_back(std::move(one));
    }
    return data;
  }

  std::string path_, root_, dataset_;
  Json json_;
  std::vector<Label> labels_;
  std::set<std::string> ids_;
  const DatasetOptions& options_;
};

}  // namespace

LabelledData read_label_folder(const std::string& path, const DatasetOptions& options) {
  return FolderReader(path, options).read();
}

}  // namespace sat
