// Names are matched whole: an operation, or a case by its full name or by its first parts.
#include "examples/sat/bench/bench_select.h"

#include <algorithm>
#include <set>

#include "examples/sat/tools/nearest.h"

namespace sat::cli {

namespace {

/// "; did you mean a?", or "; there are a, b and c"
std::string hint(const std::string& name, const std::vector<std::string>& known, const std::vector<std::string>& all) {
  const std::vector<std::string> near = nearest_names(name, known, 1);
  if (!near.empty()) return "; did you mean " + near[0] + "?";
  std::string text = "; there are ";
  for (size_t i = 0; i < all.size(); ++i) text += (i == 0 ? "" : i + 1 == all.size() ? " and " : ", ") + all[i];
  return text;
}

std::string joined(const std::vector<std::string>& names, const char* separator) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : separator) + name;
  return text;
}

/// "64-64" or "96x96x96" as the operation reads them; throws UsageError where the count is another.
std::vector<int64_t> replaced(const std::vector<int64_t>& asked, const std::vector<int64_t>& own,
                              const std::vector<std::string>& names, const BenchOperation& operation,
                              const std::string& option, const char* separator) {
  if (asked.empty()) return own;
  if (names.empty()) throw UsageError(operation.name + " takes no " + option);
  if (asked.size() != names.size()) {
    throw UsageError(operation.name + " takes " + option + " " + joined(names, separator) + ": " +
                     std::to_string(names.size()) + (names.size() == 1 ? " number, not " : " numbers, not ") +
                     std::to_string(asked.size()));
  }
  return asked;
}

/// One case of an operation, before its variants are chosen.
struct Chosen {
  const BenchOperation* operation;
  CaseSizes sizes;
};

std::vector<Chosen> standard_cases(const std::vector<BenchOperation>& operations) {
  std::vector<Chosen> chosen;
  for (const BenchOperation& operation : operations) {
    for (size_t i = 0; i < std::min(operation.standard, operation.cases.size()); ++i) {
      chosen.push_back({&operation, operation.cases[i]});
    }
  }
  return chosen;
}

/// Cases that are `asked`, or that begin with it up to a '/'.
std::vector<Chosen> cases_named(const std::string& asked, const std::vector<BenchOperation>& operations) {
  std::vector<Chosen> chosen;
  std::vector<std::string> names, cases;
  for (const BenchOperation& operation : operations) {
    names.push_back(operation.name);
    for (const CaseSizes& sizes : operation.cases) {
      const std::string name = case_name(operation, sizes);
      cases.push_back(name);
      cases.push_back(name.substr(0, name.rfind('/')));
      if ((name + "/").compare(0, asked.size() + 1, asked + "/") == 0) chosen.push_back({&operation, sizes});
    }
  }
  if (chosen.empty()) {
    const bool is_case = asked.find('/') != std::string::npos;
    throw UsageError(std::string("there is no ") + (is_case ? "case" : "operation") + " '" + asked + "'" +
                     hint(asked, is_case ? cases : names, names));
  }
  return chosen;
}

std::vector<Chosen> chosen_cases(const BenchRequest& request, const std::vector<BenchOperation>& operations) {
  if (request.operations.empty()) {
    if (!request.size.empty() || !request.channels.empty()) throw UsageError("--size and --channels need --op");
    return standard_cases(operations);
  }
  std::vector<Chosen> all;
  std::set<std::string> seen;
  for (const std::string& asked : request.operations) {
    for (Chosen& chosen : cases_named(asked, operations)) {
      const BenchOperation& op = *chosen.operation;
      chosen.sizes.channels =
          replaced(request.channels, chosen.sizes.channels, op.channel_names, op, "--channels", ",");
      chosen.sizes.size = replaced(request.size, chosen.sizes.size, op.size_names, op, "--size", "x");
      const std::string reason = op.refusal ? op.refusal(chosen.sizes) : "";
      if (!reason.empty()) throw UsageError(case_name(op, chosen.sizes) + ": " + op.name + " needs " + reason);
      if (seen.insert(case_name(op, chosen.sizes)).second) all.push_back(std::move(chosen));
    }
  }
  return all;
}

/// Throws UsageError for a name that no chosen operation has.
void check_variants(const BenchRequest& request, const std::vector<Chosen>& cases) {
  std::vector<std::string> known;
  for (const Chosen& chosen : cases) {
    for (const BenchVariant& variant : chosen.operation->variants) {
      if (std::find(known.begin(), known.end(), variant.name) == known.end()) known.push_back(variant.name);
    }
  }
  for (const std::string& name : request.variants) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    throw UsageError("there is no variant '" + name + "'" + hint(name, known, known));
  }
}

}  // namespace

BenchSelection select_jobs(const BenchRequest& request, const std::vector<BenchOperation>& operations) {
  const std::vector<Chosen> cases = chosen_cases(request, operations);
  check_variants(request, cases);
  BenchSelection selection;
  for (const Chosen& chosen : cases) {
    BenchJob job{*chosen.operation, chosen.sizes, {}};
    for (const BenchVariant& variant : chosen.operation->variants) {
      const auto& named = request.variants;
      const bool is_named = std::find(named.begin(), named.end(), variant.name) != named.end();
      if (named.empty() ? variant.only_by_name : !is_named) continue;
      const CpuLevel level = variant.level.value_or(request.settings.cpu);
      const std::string reason = variant.refusal ? variant.refusal(chosen.sizes, level) : "";
      if (reason.empty()) {
        job.variants.push_back(variant);
      } else if (is_named) {
        selection.refused.push_back(case_name(job.operation, job.sizes) + ": " + reason);
      }
    }
    if (!job.variants.empty()) selection.jobs.push_back(std::move(job));
  }
  if (!selection.refused.empty() && (selection.jobs.empty() || !request.settings.device)) {
    throw UsageError(joined(selection.refused, "; "));
  }
  if (selection.jobs.empty())
    throw UsageError("none of these runs without being named by --variant (sat bench --list)");
  return selection;
}

}  // namespace sat::cli
