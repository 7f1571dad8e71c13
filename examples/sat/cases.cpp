// Collecting and naming cases.
#include "examples/sat/cases.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <map>
#include <set>

#include "sat/io/files/file.h"
#include "sat/io/files/folder.h"
#include "sat/io/files/hash.h"
#include "sat/io/files/posix.h"
#include "sat/io/nifti/foreign.h"
#include "sat/io/nifti/nifti.h"
#include "sat/io/scans/scan_checks.h"
#include "sat/io/words/json.h"
#include "sat/io/words/modality.h"
#include "sat/io/words/safe_name.h"
#include "sat/io/words/text.h"

namespace sat::cli {

namespace {

namespace fs = std::filesystem;
constexpr int64_t kLargestRequest = int64_t(256) << 20;  // bytes of JSON lines

bool is_scan_name(const std::string& path) { return has_extension(path, ".nii") || has_extension(path, ".nii.gz"); }

std::string plain_folder(const Case& one) {
  if (one.scan.empty()) return safe_name(fs::path(one.line).filename().string());
  std::string name = fs::path(one.scan).filename().string();
  for (const char* extension : {".nii.gz", ".nii", ".hdr.gz", ".img.gz", ".hdr", ".img"}) {
    if (!has_extension(name, extension)) continue;
    name.resize(name.size() - std::string(extension).size());
    break;
  }
  return safe_name(one.dataset.empty() ? name : one.dataset + "-" + name);
}

Case case_of(const std::string& scan) {
  Case one;
  one.scan = scan;
  return one;
}

/// "" for a file that can be opened, else why it cannot.
std::string why_unreadable(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) return S_ISREG(status.st_mode) ? "" : path + " is not a regular file";
  const int reason = errno;
  std::error_code error;
  const fs::path target = fs::read_symlink(path, error);
  if (error) return "cannot read " + path + ": " + system_reason(reason);
  const bool annex = target.string().find(".git/annex/") != std::string::npos;
  return path + " is a link to " + sat::quoted(target.string()) + ", which cannot be read: " + system_reason(reason) +
         (annex ? "; git annex get fetches it" : "");
}

std::string counted(int64_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

/// "; this one is a DICOM image; convert ..." where the first bytes say so, or "".
std::string what_is(const std::string& path) {
  try {
    FileReader file(path);
    std::string head(size_t(kRecognisedBytes), '\0');
    head.resize(size_t(file.read(head.data(), kRecognisedBytes)));
    const ForeignKind& kind = recognise_file(head);
    return kind.known && kind.as_scan ? std::string("; this one is ") + kind.what + "; " + kind.as_scan : "";
  } catch (const Error&) {
    return "";  // there is nothing to add
  }
}

void add_folder(std::vector<Case>& cases, const std::string& folder) {
  std::vector<std::string> scans;
  int64_t folders = 0, others = 0;
  std::string example;
  for (const FolderEntry& entry : list_folder(folder)) {
    const std::string& name = entry.name;
    const std::string path = (fs::path(folder) / name).string();
    if (name[0] == '.') continue;  // hidden, and what other systems leave beside a scan (._scan.nii.gz)
    std::error_code unknown;
    const bool is_folder = entry.kind == FolderEntry::Kind::folder || fs::is_directory(path, unknown);
    if (is_scan_name(path) && !is_folder) {
      scans.push_back(path);
    } else if (is_folder) {
      ++folders;
    } else if (++others == 1) {
      example = name;
    }
  }
  if (scans.empty()) {
    std::string found = others + folders == 0 ? "; it is empty" : "; it holds ";
    if (others > 0) found += counted(others, "other file") + " such as " + sat::quoted(example);
    if (folders > 0)
      found += (others > 0 ? " and " : "") + counted(folders, "folder") + "; sat does not look into folders below";
    if (others > 0) found += what_is(folder + "/" + example);
    fail("the folder ", folder, " holds no .nii or .nii.gz file", found);
  }
  for (const std::string& scan : scans) {
    cases.push_back(case_of(scan));
    cases.back().error = why_unreadable(scan);
    if (looks_like_a_segmentation_name(scan)) {
      cases.back().warning = "by its name this file of the folder is a mask or a label map, not a scan";
    }
  }
}

/// Where a request's image lies: beside the file of requests or, as SAT's own tool has it, seen from the working
/// folder.
std::string find_image(Case& one, const fs::path& image) {
  const std::string beside = one.scan, from_here = image.lexically_normal().string();
  std::error_code error;
  const bool is_beside = fs::exists(beside, error), is_here = fs::exists(from_here, error);
  if (is_beside && is_here && !fs::equivalent(beside, from_here, error)) {
    one.warning = one.line + ": " + beside + " is used, which lies beside the requests, and not " +
                  absolute_path(from_here) + ", which the same words name from the working folder";
  }
  SAT_CHECK(is_beside || is_here, "there is no image ", sat::quoted(image.string()), ", neither beside the requests (",
            absolute_path(beside), ") nor from the working folder (", absolute_path(from_here), ")");
  return is_beside ? beside : from_here;
}

/// Fills in what a JSON line says, as far as it can be read.
void read_request(Case& one, const std::string& line, const std::string& folder) {
  const Json request = Json::parse(line, one.line);
  const fs::path image = request["image"].string();
  SAT_CHECK(!image.empty(), "there is no image");
  one.scan = image.is_absolute() ? image.string() : (fs::path(folder) / image).lexically_normal().string();
  if (const Json* dataset = request.find("dataset")) one.dataset = dataset->string();
  one.prompts = request["label"].strings();
  SAT_CHECK(!one.prompts.empty(), "there are no labels");
  one.modality = request["modality"].string();
  SAT_CHECK(!one.modality.empty(), "there is no modality");
  one.modality = name_of(parse_modality(one.modality));
  if (const Json* code = request.find("orientation_code")) one.orientation = code->string();
  if (image.is_relative()) one.scan = find_image(one, image);
}

void add_requests(std::vector<Case>& cases, const std::string& path) {
  int64_t number = 0;
  for (const std::string& line : lines_of(read_file(path, kLargestRequest), path)) {
    ++number;
    if (line.find_first_not_of(" \t") == std::string::npos) continue;
    Case one;
    one.line = path + " (line " + std::to_string(number) + ")";
    try {
      read_request(one, line, folder_of(path));
    } catch (const Error& error) {
      one.error = error.what();
      if (one.error.rfind(one.line, 0) != 0) one.error = one.line + ": " + one.error;  // the parser names it itself
    }
    cases.push_back(one);
  }
}

}  // namespace

std::string absolute_path(const std::string& path) {
  std::error_code error;
  const fs::path whole = fs::weakly_canonical(path, error);
  return error ? path : whole.string();
}

std::string distinct_folder(const Case& one) {
  return safe_name(plain_folder(one).substr(0, 80) + "-" +
                   sha256(absolute_path(nifti_files(one.scan)[0])).substr(0, 8));
}

std::vector<Case> collect_cases(const std::vector<std::string>& inputs) {
  std::vector<Case> cases;
  for (const std::string& input : inputs) {
    std::error_code error;
    if (fs::is_directory(input, error)) {
      add_folder(cases, input);
    } else if (has_extension(input, ".jsonl")) {
      add_requests(cases, input);
    } else {
      cases.push_back(case_of(input));
    }
  }
  SAT_CHECK(!cases.empty(), "there is no scan to segment");
  for (Case& one : cases) {
    if (is_utf8(absolute_path(one.scan))) continue;
    one.scan = sat::quoted(one.scan);
    one.error = "the path " + one.scan + " is not UTF-8, so that no manifest could name the scan";
  }

  std::map<std::string, std::set<std::string>> scans_named;  // capitals aside, as on some file systems
  const auto key = [](std::string name) {
    for (char& c : name) c = c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c;
    return name;
  };
  for (Case& one : cases) {
    one.folder = plain_folder(one);
    scans_named[key(one.folder)].insert(absolute_path(nifti_files(one.scan)[0]));
  }
  for (Case& one : cases) one.contested = scans_named[key(one.folder)].size() > 1;
  return cases;
}

}  // namespace sat::cli
