// The decision, case by case: nothing there, the same question as before, or another one.
#include "examples/sat/segment/resume.h"

#include <algorithm>
#include <set>

#include "examples/sat/tools/nearest.h"
#include "sat/io/masks/bit_masks.h"
#include "sat/io/nifti/nifti.h"
#include "sat/io/words/safe_name.h"
#include "sat/io/words/text.h"

namespace sat::cli {

namespace {

bool same_apart_from_path(Json known, Json now) {
  return known.set("path", Json()).dump() == now.set("path", Json()).dump();
}

std::string shown(const Json* value) {
  if (!value || value->is_null()) return "not given";
  return value->kind() == Json::Kind::string ? value->string() : value->dump();
}

/// Why the earlier result does not answer this question, or "".
std::string difference(const CaseRecord& record, const Question& question) {
  if (!record.current) return "it was made by an earlier version of sat";
  const Json& manifest = record.manifest;
  if (manifest["version"].string() != SAT_VERSION) {
    return "it was made by version " + quoted(manifest["version"].string());
  }
  if (manifest["scan"]["sha256"].string() != question.scan["sha256"].string()) return "the scan has changed";
  if (!same_apart_from_path(manifest["model"], question.model)) return "it was made with another model";
  if (!same_apart_from_path(manifest["text"], question.text)) return "it was made with another bank or text encoder";
  for (const Json::Member& setting : question.settings.members()) {
    const Json* before = manifest["request"].find(setting.first);
    if (before && before->dump() == setting.second.dump()) continue;
    return "it was made with another " + setting.first + ": " + shown(before) + ", now " + shown(&setting.second);
  }
  return "";
}

[[noreturn]] void refuse_changed(const CaseRecord& record, const std::string& file) {
  fail(record.folder, "/", file, " was changed since sat wrote it, so it is not replaced; --overwrite does that");
}

/// Finds a structure by its name, capitals and spaces aside.
template <class Structures, class Name>
auto find_name(Structures& structures, const std::string& name, Name name_of) {
  return std::find_if(structures.begin(), structures.end(),
                      [&, sought = plain(name)](const auto& each) { return plain(name_of(each)) == sought; });
}

/// Throws Error unless a file that is not as it was written is still a mask of the case's grid: one that a person
/// corrected.
void check_corrected(const CaseRecord& record, const std::string& mask) {
  const std::string path = record.folder + "/" + mask;
  try {
    const std::vector<int64_t> size = record.manifest["grid"].integers();
    SAT_CHECK(size.size() == 3, path, ": the grid of the manifest has ", size.size(), " axes");
    BitMasks masks({size[0], size[1], size[2]}, 1);
    read_nifti_mask(path, masks, 0);
  } catch (const Cancelled&) {
    throw;
  } catch (const Error& error) {
    fail(error.what(), "; it is not as sat wrote it: move it away, or ask for it with --overwrite");
  }
}

class Planner {
 public:
  Planner(const CaseRecord& record, const Question& question) : record_(record), question_(question) {}

  Resume plan() {
    resume_.replaced = difference(record_, question_);
    if (resume_.replaced.empty()) {
      plan_same();
    } else {
      plan_other();
    }
    return std::move(resume_);
  }

 private:
  bool asked(const std::string& name) const {
    const auto& prompts = question_.prompts;
    return find_name(prompts, name, [](const std::string& each) { return each; }) != prompts.end();
  }

  /// Another question: everything there is replaced, unless a mask would be lost.
  void plan_other() {
    if (question_.overwrite) return;
    SAT_CHECK(record_.current, record_.folder, ": ", resume_.replaced,
              ", which did not record whether somebody changed its files; --overwrite replaces it");
    for (const auto& [file, stored] : record_.files) {
      if (condition_of(record_, file, true) == Condition::other) refuse_changed(record_, file);
    }
    for (const StoredStructure& structure : record_.structures) {
      const bool there = condition_of(record_, structure.mask, false) != Condition::missing;
      SAT_CHECK(asked(structure.name) || !there, record_.folder, " holds a mask of ", quoted(structure.name),
                " that would be lost, for ", resume_.replaced,
                "; ask for it as well, choose another output folder, or say --overwrite");
    }
  }

  void refuse_doubts() const {
    std::string all;
    for (const std::string& doubt : record_.manifest["doubts"].strings()) all += (all.empty() ? "" : "; ") + doubt;
    SAT_CHECK(all.empty(), "finished before, but refused now, as the run is strict: ", all);
  }

  /// The same question, perhaps with more words: what is there stays.
  void plan_same() {
    if (question_.strict) refuse_doubts();
    for (const StoredStructure& structure : record_.structures) {
      if (asked(structure.name)) {
        plan_asked(structure);
      } else if (condition_of(record_, structure.mask, false) != Condition::missing) {
        keep(structure);
      }
    }
    const bool written_again = !resume_.prompts.empty() || !all_asked_known();
    if (!check_others(written_again) && !written_again) compute_asked_again();
  }

  /// A structure of the record that is asked for again: is its mask still good, and all that is wanted with it there?
  void plan_asked(const StoredStructure& structure) {
    const Condition mask = condition_of(record_, structure.mask, question_.hashes);
    if (question_.overwrite || mask == Condition::missing) return compute(structure);
    if (mask == Condition::other) return keep(structure);
    const Condition probabilities = condition_of(record_, structure.probabilities, question_.hashes);
    const bool lacks =
        (question_.probabilities && probabilities == Condition::missing) || (question_.verify && !structure.verified);
    if (!lacks) return keep(structure);
    // It will be written again, so be sure that nobody loses anything.
    if (condition_of(record_, structure.mask, true) == Condition::other) return keep(structure);
    if (question_.probabilities && condition_of(record_, structure.probabilities, true) == Condition::other) {
      refuse_changed(record_, structure.probabilities);
    }
    compute(structure);
  }

  void keep(const StoredStructure& structure) {
    if (condition_of(record_, structure.mask, question_.hashes) == Condition::other) {
      check_corrected(record_, structure.mask);
      resume_.changed.push_back(structure.mask);
    }
    resume_.structures.push_back({with_probabilities(structure), false});
  }

  void compute(const StoredStructure& structure) {
    resume_.structures.push_back({with_probabilities(structure), true});
    resume_.prompts.push_back(structure.name);
  }

  /// The structure, without probabilities where they are gone.
  StoredStructure with_probabilities(StoredStructure structure) const {
    if (condition_of(record_, structure.probabilities, false) == Condition::missing) structure.probabilities.clear();
    return structure;
  }

  bool all_asked_known() const {
    return std::all_of(question_.prompts.begin(), question_.prompts.end(), [&](const std::string& prompt) {
      const auto& known = record_.structures;
      return find_name(known, prompt, [](const StoredStructure& each) { return each.name; }) != known.end();
    });
  }

  /// The files beside masks: label map, legends, statistics, preview, image. False where one that is wanted is missing.
  bool check_others(bool written_again) {
    std::set<std::string> masks;
    for (const StoredStructure& structure : record_.structures) {
      masks.insert(structure.mask);
      masks.insert(structure.probabilities);
    }
    bool whole = !question_.preview || record_.files.count("preview.png");
    for (const auto& [file, stored] : record_.files) {
      if (masks.count(file)) continue;
      const Condition condition = condition_of(record_, file, question_.hashes || written_again);
      if (condition == Condition::missing) whole = false;
      if (condition != Condition::other || question_.overwrite) continue;
      if (written_again) refuse_changed(record_, file);
      SAT_CHECK(record_.stamps.at(file).bytes > 0, record_.folder, "/", file,
                " is empty, which it was not when sat wrote it; --overwrite makes it again");
      if (file.rfind("labels.nii", 0) == 0) check_corrected(record_, file);
      resume_.changed.push_back(file);
    }
    return whole;
  }

  /// Something beside the masks is missing: it is made when masks are.
  void compute_asked_again() {
    for (PlannedStructure& planned : resume_.structures) {
      const std::string& mask = planned.structure.mask;
      if (!asked(planned.structure.name) || condition_of(record_, mask, true) != Condition::intact) continue;
      planned.computed = true;
      resume_.prompts.push_back(planned.structure.name);
    }
    SAT_CHECK(!resume_.prompts.empty(), record_.folder,
              " lacks files, and all masks asked for were changed by somebody; --overwrite makes all of them again");
  }

  const CaseRecord& record_;
  const Question& question_;
  Resume resume_;
};

/// The file name of a structure's mask, without folder and extension.
std::string stem_of(const StoredStructure& structure, const Question& question) {
  const size_t start = structure.mask.find('/') + 1;
  return structure.mask.substr(start, structure.mask.size() - start - question.mask_extension.size());
}

/// Adds the prompts that no structure stands for yet, under file names that no other has.
void add_new(Resume& resume, const Question& question) {
  std::vector<std::string> names;
  for (const PlannedStructure& planned : resume.structures) names.push_back(stem_of(planned.structure, question));
  std::vector<std::string> fresh;
  for (const std::string& prompt : question.prompts) {
    const auto& known = resume.structures;
    const auto name_of = [](const PlannedStructure& each) { return each.structure.name; };
    if (find_name(known, prompt, name_of) == known.end()) fresh.push_back(prompt);
  }
  names.insert(names.end(), fresh.begin(), fresh.end());
  const std::vector<std::string> safe = safe_names(names);
  for (size_t i = 0; i < fresh.size(); ++i) {
    const std::string& name = safe[safe.size() - fresh.size() + i];
    resume.structures.push_back({{fresh[i], "masks/" + name + question.mask_extension, "", false}, true});
    resume.prompts.push_back(fresh[i]);
  }
}

}  // namespace

std::vector<std::string> Resume::kept_files() const {
  std::vector<std::string> files;
  for (const PlannedStructure& planned : structures) {
    const StoredStructure& structure = planned.structure;
    if (!planned.computed) files.push_back(structure.mask);
    const bool written = planned.computed && writes_probabilities;
    if (!structure.probabilities.empty() && !written) files.push_back(structure.probabilities);
  }
  return files;
}

Resume plan_resume(const std::optional<CaseRecord>& record, const Question& question) {
  Resume resume;
  if (record) resume = Planner(*record, question).plan();
  add_new(resume, question);
  resume.writes_probabilities = question.probabilities;
  for (PlannedStructure& planned : resume.structures) {
    if (!planned.computed) continue;
    StoredStructure& structure = planned.structure;
    if (question.probabilities) structure.probabilities = "probabilities/" + stem_of(structure, question) + ".nii";
    structure.verified = question.verify;
  }
  return resume;
}

}  // namespace sat::cli
