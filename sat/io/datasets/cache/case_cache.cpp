// Which file a case has in the cache, and whether it is still the case's.
#include "sat/io/datasets/cache/case_cache.h"

#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "sat/io/datasets/cache/case_writer.h"
#include "sat/io/files/hash.h"
#include "sat/io/files/posix.h"
#include "sat/io/nifti/nifti.h"
#include "sat/io/words/json.h"

namespace sat {

namespace {

constexpr int kLayout = 1;          // of files and of what is computed into them; a change makes old files stale
constexpr size_t kNameDigits = 32;  // of a file's name

Json list(const std::vector<std::string>& texts) {
  Json json = Json::array();
  for (const std::string& text : texts) json.push(text);
  return json;
}

Json list(const std::vector<int64_t>& numbers) {
  Json json = Json::array();
  for (int64_t number : numbers) json.push(number);
  return json;
}

Json json_of(const PreprocessOptions& options) {
  Json spacing = Json::array();
  for (double length : options.spacing_mm) spacing.push(length);
  return Json::object({{"orientation", options.orientation},
                       {"spacing_mm", spacing},
                       {"normalisation", int(options.normalisation.kind)},
                       {"low", options.normalisation.low},
                       {"high", options.normalisation.high}});
}

/// What is known of a file without reading it.
Json json_of_file(const std::string& path) {
  struct stat status {};
  SAT_CHECK(::stat(path.c_str(), &status) == 0, "cannot open ", path, ": ", system_reason(errno));
  return Json::object({{"path", path},
                       {"bytes", int64_t(status.st_size)},
                       {"seconds", int64_t(status.st_mtim.tv_sec)},
                       {"nanoseconds", int64_t(status.st_mtim.tv_nsec)}});
}

}  // namespace

CaseCache::CaseCache(std::string folder, PreprocessOf preprocess)
    : folder_(std::move(folder)), preprocess_(std::move(preprocess)) {
  SAT_CHECK(::mkdir(folder_.c_str(), 0777) == 0 || errno == EEXIST, "cannot make the folder ", folder_, ": ",
            system_reason(errno));
}

PreprocessOptions CaseCache::options_of(const LabelledCase& one) const {
  PreprocessOptions options = preprocess_(one.modality);
  options.orientation = one.orientation;
  return options;
}

std::string CaseCache::path_of(const LabelledCase& one) const {
  const Json about = Json::object({{"dataset", one.dataset}, {"id", one.id}, {"options", json_of(options_of(one))}});
  return folder_ + "/" + sha256(about.dump()).substr(0, kNameDigits) + ".case";
}

std::string CaseCache::key_of(const LabelledCase& one) const {
  Json files = Json::array(), structures = Json::array();
  for (const std::string& path : one.converted ? std::vector<std::string>{one.image} : nifti_files(one.image)) {
    files.push(json_of_file(path));
  }
  std::string before;
  for (const StructureSource& source : one.structures) {
    Json box = Json::array();
    if (source.box) {
      for (size_t axis = 0; axis < 3; ++axis) box.push(source.box->start[axis]).push(source.box->end[axis]);
    }
    structures.push(Json::object(
        {{"name", source.name}, {"paths", list(source.paths)}, {"values", list(source.values)}, {"box", box}}));
    for (const std::string& path : source.paths) {
      if (path != before) files.push(json_of_file(path));
      before = path;
    }
  }
  return sha256(Json::object({{"layout", kLayout},
                              {"options", json_of(options_of(one))},
                              {"converted", one.converted},
                              {"empty", int(one.empty)},
                              {"unlabelled", list(one.unlabelled)},
                              {"ignored", list(one.ignored)},
                              {"structures", structures},
                              {"files", files}})
                    .dump());
}

CachedCase CaseCache::remake(const LabelledCase& one) const {
  const std::string path = path_of(one);
  write_cached_case(path, one, options_of(one), key_of(one));
  return CachedCase(path);
}

CachedCase CaseCache::open(const LabelledCase& one) const {
  const std::string key = key_of(one);
  try {
    CachedCase cached(path_of(one));
    if (cached.key() == key) return cached;
  } catch (const Error&) {  // none there, or a damaged one
  }
  return remake(one);
}

CachedCase CaseCache::reopen(const LabelledCase& one) const {
  try {
    return CachedCase(path_of(one));
  } catch (const Error&) {
  }
  return remake(one);
}

std::vector<PreparedCase> prepare_cases(const CaseCache& cache, const std::vector<LabelledCase>& cases,
                                        const OnCaseProblem& on_problem,
                                        const std::function<void(int64_t, const LabelledCase&)>& on_case) {
  std::vector<PreparedCase> prepared;
  for (size_t i = 0; i < cases.size(); ++i) {
    const LabelledCase& one = cases[i];
    if (on_case) on_case(int64_t(i), one);
    try_case(one.dataset, one.id, on_problem, [&] {
      const CachedCase cached = cache.open(one);
      prepared.push_back(
          {one, cached.size(), cached.foreground().box, int64_t(cached.structures().size()), cached.warnings()});
    });
  }
  return prepared;
}

}  // namespace sat
