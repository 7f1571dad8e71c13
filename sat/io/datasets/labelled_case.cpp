// Problems of cases, the choice of patients for validation, and which reader a path is for.
#include "sat/io/datasets/labelled_case.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "sat/io/datasets/case_records.h"
#include "sat/io/datasets/label_folder.h"
#include "sat/io/files/hash.h"
#include "sat/io/words/text.h"

namespace sat {

EmptyLabel parse_empty_label(const std::string& word) {
  if (word == "refuse") return EmptyLabel::refuse;
  if (word == "absent") return EmptyLabel::absent;
  SAT_CHECK(word == "unlabelled", quoted(word), " says nothing of empty structures; known are refuse, absent and ",
            "unlabelled");
  return EmptyLabel::unlabelled;
}

std::string name_of(const LabelledCase& one) { return printable(one.id) + " of " + printable(one.dataset); }

bool try_case(const std::string& dataset, const std::string& id, const OnCaseProblem& on_problem,
              const std::function<void()>& body) {
  try {
    body();
    return true;
  } catch (const Cancelled&) {
    throw;
  } catch (const MemoryError&) {
    throw;
  } catch (const Error& error) {
    const std::string reason = "case " + printable(id) + " of " + printable(dataset) + ": " + error.what();
    if (!on_problem) throw Error(reason);
    on_problem({dataset, id, reason});
    return false;
  }
}

std::vector<std::string> validation_patients(const std::vector<std::string>& patients, const std::string& dataset,
                                             double fraction, uint64_t seed) {
  SAT_CHECK(fraction >= 0 && fraction < 1, "the fraction for validation is ", fraction, ", needs 0 to below 1");
  const std::set<std::string> names(patients.begin(), patients.end());
  std::vector<std::pair<std::string, std::string>> shuffled;  // by a hash: the order of names means nothing
  for (const std::string& name : names) {
    shuffled.emplace_back(sha256(std::to_string(seed) + '\n' + dataset + '\n' + name), name);
  }
  std::sort(shuffled.begin(), shuffled.end());
  auto count = size_t(std::lround(fraction * double(names.size())));
  if (fraction > 0 && names.size() >= 2) count = std::clamp<size_t>(count, 1, names.size() - 1);
  std::vector<std::string> chosen;
  for (size_t i = 0; i < count; ++i) chosen.push_back(shuffled[i].second);
  return chosen;
}

LabelledData read_dataset(const std::string& path, const DatasetOptions& options) {
  constexpr const char* kLines = ".jsonl";
  const std::string end = path.size() > 6 ? path.substr(path.size() - 6) : "";
  return end == kLines ? read_case_records(path, options) : read_label_folder(path, options);
}

}  // namespace sat
