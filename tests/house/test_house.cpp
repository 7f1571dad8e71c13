// The rules of the house, read off the sources: which room may include which, who may see a third party's headers, how
// long a file may be and how it begins. Each rule is first shown to fail on a forged source.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/support/golden.h"

using namespace sat;

namespace {

struct Source {
  std::string path;  // from the root of the repository
  std::string text;
};

struct Include {
  std::string target;
  bool quoted;
};

bool starts_with(const std::string& text, const std::string& start) { return text.rfind(start, 0) == 0; }

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

/// The #include lines of a source; one that names no file (a macro) comes back with an empty target.
std::vector<Include> includes_of(const Source& source) {
  std::vector<Include> includes;
  for (const std::string& line : lines_of(source.text)) {
    size_t at = line.find_first_not_of(" \t");
    if (at == std::string::npos || line[at] != '#') continue;
    at = line.find_first_not_of(" \t", at + 1);
    if (at == std::string::npos || line.compare(at, 7, "include") != 0) continue;
    const size_t open = line.find_first_of("<\"", at + 7);
    if (open == std::string::npos) {
      includes.push_back({"", true});
      continue;
    }
    const size_t close = line.find(line[open] == '<' ? '>' : '"', open + 1);
    includes.push_back({line.substr(open + 1, close - open - 1), line[open] == '"'});
  }
  return includes;
}

/// The room of a path: "tensor", "cuda", "io" or "nn" of sat/, "door" for sat's own files, else the top folder; empty
/// for what is no file of ours.
std::string room_of(const std::string& path) {
  for (const char* room : {"tensor", "cuda", "io", "nn"}) {
    if (starts_with(path, std::string("sat/") + room + "/")) return room;
  }
  if (starts_with(path, "sat/")) return path.find('/', 4) == std::string::npos ? "door" : "";
  for (const char* top : {"examples", "tests", "weights"}) {
    if (starts_with(path, std::string(top) + "/")) return top;
  }
  return "";
}

const std::map<std::string, std::set<std::string>> kArrows = {
    {"tensor", {"tensor"}},
    {"cuda", {"tensor", "cuda"}},
    {"io", {"tensor", "io"}},
    {"nn", {"tensor", "nn"}},
    {"door", {"tensor", "cuda", "io", "nn", "door"}},
    {"examples", {"tensor", "cuda", "io", "nn", "door", "examples"}},
    {"weights", {"tensor", "io", "nn", "door", "weights"}},
    {"tests", {"tensor", "cuda", "io", "nn", "door", "examples", "weights", "tests"}},
};

/// The files of nn/ that meet the outside world.
const std::set<std::string> kMeetsFiles = {"blender",
                                           "case_sampler",
                                           "dry_run",
                                           "ecamp_file",
                                           "embedding_bank",
                                           "image_file",
                                           "image_model",
                                           "mask_scores",
                                           "mask_surface",
                                           "model_file",
                                           "plan",
                                           "probe_file",
                                           "rad_dino",
                                           "sampling_settings",
                                           "sat_config",
                                           "segment_volume",
                                           "segmentation_task",
                                           "session",
                                           "text_config",
                                           "text_encoder",
                                           "text_file",
                                           "trainer",
                                           "training_checkpoint",
                                           "training_task",
                                           "crop_masks",
                                           "atlas_sampler",
                                           "knowledge_file",
                                           "knowledge_task",
                                           "name_groups",
                                           "retrieval",
                                           "text_batch"};

/// Rooms within rooms: files below the first never include files below the second, whatever the arrows above say.
const std::vector<std::pair<std::string, std::string>> kWalls = {
    {"sat/tensor/ops/", "sat/tensor/cpu/"},  // ops ask a backend
    {"sat/nn/", "sat/tensor/cpu/"},          // and models ask ops
    {"sat/nn/", "sat/tensor/device/backend.h"},
    {"sat/nn/", "sat/tensor/device/runtime.h"},
};

/// Who may see a third party's headers, by the start of the include and of the including path.
const std::vector<std::pair<std::string, std::vector<std::string>>> kThirdParties = {
    {"zlib.h", {"sat/io/files/file.cpp", "tests/"}},
    {"doctest/", {"tests/"}},
    {"cuda", {"sat/cuda/", "tests/cuda/"}},
    {"cublas", {"sat/cuda/runtime.h"}},
    {"cudnn", {"sat/cuda/conv3d/cudnn/conv3d_cudnn.cpp"}},
    {"nvtx3/", {"sat/cuda/device/stream.cpp"}},
    {"CLI/", {"examples/"}},
    {"dcmtk/", {"examples/sat/images/dicom_file.cpp"}},
    {"jerror.h", {"examples/sat/images/jpeg_file.cpp"}},
    {"jpeglib.h", {"examples/sat/images/jpeg_file.cpp"}},
    {"png.h", {"examples/sat/images/png_file.cpp"}},
    {"tiffio.h", {"examples/sat/images/tiff_file.cpp"}},
    {"Eigen/", {"sat/io/scans/", "sat/nn/probe/"}},
};

/// Headers with a dot or a slash that come with the compiler or the system, beside those of sys/; the standard
/// library's have neither.
const std::set<std::string> kPlatform = {"cpuid.h",     "dirent.h",  "dlfcn.h",    "emmintrin.h", "errno.h", "fcntl.h",
                                         "immintrin.h", "limits.h",  "malloc.h",   "pty.h",       "sched.h", "signal.h",
                                         "stdarg.h",    "stdbool.h", "stddef.h",   "stdint.h",    "stdio.h", "stdlib.h",
                                         "string.h",    "time.h",    "ucontext.h", "unistd.h"};

std::string stem_of(const std::string& path) { return std::filesystem::path(path).stem().string(); }

/// What is wrong with one include of `path`, or "".
std::string include_complaint(const std::string& path, const Include& include) {
  const std::string& target = include.target;
  if (target.empty()) return "an include must name its file";
  const std::string from = room_of(path), to = room_of(target);
  for (const auto& [inside, hidden] : kWalls) {
    if (starts_with(path, inside) && starts_with(target, hidden)) return inside + " does not include " + target;
  }
  if (!to.empty()) {
    if (kArrows.at(from).count(to)) return "";
    if (from == "nn" && to == "io" && kMeetsFiles.count(stem_of(path))) return "";
    return "the architecture has no arrow from " + from + " to " + target;
  }
  if (include.quoted) return "'" + target + "' is not written from the root of the repository";
  for (const auto& [package, rooms] : kThirdParties) {
    if (!starts_with(target, package)) continue;
    for (const std::string& room : rooms) {
      if (starts_with(path, room)) return "";
    }
    return "<" + target + "> is not for this file";
  }
  if (target.find_first_of("./") == std::string::npos || kPlatform.count(target) || starts_with(target, "sys/"))
    return "";
  return "<" + target + "> belongs to nobody";
}

/// Everything that is wrong with a source, one line each.
std::vector<std::string> complaints(const Source& source) {
  std::vector<std::string> found;
  const auto complain = [&](const std::string& what) { found.push_back(source.path + ": " + what); };
  const std::vector<std::string> lines = lines_of(source.text);
  const std::string kind = std::filesystem::path(source.path).extension().string();
  if (lines.size() > 600 && kind != ".inc") complain(std::to_string(lines.size()) + " lines, at most 600");
  if (lines.empty() || !starts_with(lines[0], "// ") || lines[0].size() < 20) {
    complain("the first line must be a comment that says what the file is for");
  }
  if ((kind == ".h" || kind == ".cuh") && source.text.find("\n#pragma once\n") == std::string::npos)
    complain("a header without #pragma once");
  if (starts_with(source.path, "sat/cuda/") && source.path != "sat/cuda/device/stream.cpp") {
    for (const char* call : {"cudaMemcpy2D", "cudaMemset2D", "cudaMemcpy3D", "cudaMemset3D"}) {
      if (source.text.find(call) != std::string::npos)
        complain(std::string(call) + " is for sat/cuda/device/stream.cpp");
    }
  }
  if (starts_with(source.path, "sat/nn/") && source.text.find("Device::") != std::string::npos)
    complain("models name no device");
  for (const Include& include : includes_of(source)) {
    const std::string complaint = include_complaint(source.path, include);
    if (!complaint.empty()) complain(complaint);
  }
  return found;
}

/// Not installed: its first lines say so. cmake/install.cmake reads the same words.
bool is_private(const Source& source) {
  const std::vector<std::string> lines = lines_of(source.text);
  return std::any_of(lines.begin(), lines.begin() + std::min<std::ptrdiff_t>(4, std::ptrdiff_t(lines.size())),
                     [](const std::string& line) { return line.find("Private") != std::string::npos; });
}

bool is_library_header(const Source& source) {
  return starts_with(source.path, "sat/") && std::filesystem::path(source.path).extension() == ".h";
}

/// Rules about several files at once: the door shows every public header, no public header needs a private one, and
/// no chain of includes comes back to where it began.
std::vector<std::string> complaints(const std::vector<Source>& sources) {
  std::map<std::string, std::set<std::string>> graph;
  std::set<std::string> hidden;
  for (const Source& source : sources) {
    if (is_library_header(source) && is_private(source)) hidden.insert(source.path);
    for (const Include& include : includes_of(source)) {
      if (!room_of(include.target).empty()) graph[source.path].insert(include.target);
    }
  }
  std::vector<std::string> found;
  for (const Source& source : sources) {
    if (!is_library_header(source) || hidden.count(source.path)) continue;
    if (source.path != "sat/sat.h" && !graph["sat/sat.h"].count(source.path)) {
      found.push_back("sat/sat.h: does not include " + source.path);
    }
    for (const std::string& target : graph[source.path]) {
      if (hidden.count(target)) found.push_back(source.path + ": is public and includes the private " + target);
    }
  }
  for (const auto& start : graph) {
    std::set<std::string> seen;
    std::vector<std::string> ahead(start.second.begin(), start.second.end());
    while (!ahead.empty()) {
      const std::string path = ahead.back();
      ahead.pop_back();
      if (!seen.insert(path).second) continue;
      const auto next = graph.find(path);
      if (next != graph.end()) ahead.insert(ahead.end(), next->second.begin(), next->second.end());
    }
    if (seen.count(start.first)) found.push_back(start.first + ": includes itself in a circle");
  }
  return found;
}

/// What is wrong with the number of files in folders, given every path of the repository but recorded values.
std::vector<std::string> crowded(const std::vector<std::string>& paths) {
  constexpr int kMostFiles = 16;
  std::map<std::string, int> files;
  for (const std::string& path : paths) ++files[std::filesystem::path(path).parent_path().generic_string()];
  std::vector<std::string> found;
  for (const auto& [folder, count] : files) {
    if (count > kMostFiles) found.push_back(folder + ": " + std::to_string(count) + " files, at most 16");
  }
  return found;
}

std::vector<std::string> paths_of_this_repository() {
  std::vector<std::string> paths;
  for (const char* top : {"sat", "examples", "tests", "docs", "cmake"}) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(test::source_path(top))) {
      const std::string path = std::filesystem::relative(entry.path(), test::source_path("")).generic_string();
      if (entry.is_regular_file() && !starts_with(path, "tests/golden/") && !starts_with(path, "tests/fuzz/found/"))
        paths.push_back(path);
    }
  }
  return paths;
}

std::vector<Source> sources_of_this_repository() {
  const std::set<std::string> kinds = {".h", ".cpp", ".cu", ".cuh", ".c", ".inc"};
  std::vector<Source> sources;
  for (const char* top : {"sat", "examples", "tests", "weights"}) {
    if (!std::filesystem::exists(test::source_path(top))) continue;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(test::source_path(top))) {
      if (!kinds.count(entry.path().extension().string())) continue;
      const std::string path = std::filesystem::relative(entry.path(), test::source_path("")).generic_string();
      sources.push_back({path, test::read_text(entry.path().string())});
    }
  }
  std::sort(sources.begin(), sources.end(), [](const Source& a, const Source& b) { return a.path < b.path; });
  return sources;
}

const std::string kHead = "// What this forged file is for.\n";

std::string judge(const std::string& path, const std::string& text) {
  std::string all;
  for (const std::string& complaint : complaints(Source{path, kHead + text})) all += complaint + "\n";
  return all;
}

}  // namespace

TEST_CASE("a forbidden arrow between rooms is found") {
  const std::string arrow = "the architecture has no arrow";
  CHECK(judge("sat/tensor/ops.cpp", "#include \"sat/tensor/ops.h\"\n") == "");
  CHECK(judge("sat/tensor/ops.cpp", "#include \"sat/io/files/file.h\"\n") ==
        "sat/tensor/ops.cpp: the architecture has no arrow from tensor to sat/io/files/file.h\n");
  CHECK(judge("sat/tensor/ops.cpp", "#include \"sat/nn/sat/backbones/unet3d.h\"\n").find(arrow) != std::string::npos);
  CHECK(judge("sat/tensor/ops.cpp", "  #  include <sat/io/files/file.h>\n").find(arrow) != std::string::npos);
  CHECK(judge("sat/io/files/file.cpp", "#include \"sat/tensor/error.h\"\n") == "");
  CHECK(judge("sat/io/files/file.cpp", "#include \"sat/nn/sat/backbones/unet3d.h\"\n").find(arrow) !=
        std::string::npos);
  CHECK(judge("sat/cuda/conv.cu", "#include \"sat/io/files/file.h\"\n").find(arrow) != std::string::npos);
  CHECK(judge("sat/nn/sat/unet3d.cpp", "#include \"sat/io/files/file.h\"\n").find(arrow) != std::string::npos);
  CHECK(judge("sat/nn/run/session.cpp", "#include \"sat/io/files/file.h\"\n") == "");
  CHECK(judge("sat/nn/run/session.cpp", "#include \"sat/sat.h\"\n").find(arrow) != std::string::npos);
  CHECK(judge("sat/sat_c.cpp", "#include \"sat/sat.h\"\n#include \"sat/nn/run/session.h\"\n") == "");
  CHECK(judge("sat/sat_c.cpp", "#include \"examples/cli.h\"\n").find(arrow) != std::string::npos);
  CHECK(judge("examples/cli.cpp", "#include \"sat/sat.h\"\n") == "");
  CHECK(judge("examples/cli.cpp", "#include \"tests/support/golden.h\"\n").find(arrow) != std::string::npos);
}

TEST_CASE("a look over a wall between rooms of one room is found, and a device named in a model") {
  CHECK(judge("sat/tensor/ops/norm.cpp", "#include \"sat/tensor/cpu/backend.h\"\n") ==
        "sat/tensor/ops/norm.cpp: sat/tensor/ops/ does not include sat/tensor/cpu/backend.h\n");
  CHECK(judge("sat/tensor/ops/norm.cpp", "#include \"sat/tensor/device/backend.h\"\n") == "");
  CHECK(judge("sat/nn/sat/unet3d.cpp", "#include \"sat/tensor/device/backend.h\"\n") != "");
  CHECK(judge("sat/nn/sat/unet3d.cpp", "#include \"sat/tensor/device/replay.h\"\n") == "");
  CHECK(judge("sat/nn/run/blender.cpp", "const Device there = Device::cuda;\n") ==
        "sat/nn/run/blender.cpp: models name no device\n");
}

TEST_CASE("a folder with too many files is found") {
  std::vector<std::string> paths;
  for (int i = 0; i < 16; ++i) paths.push_back("sat/io/x" + std::to_string(i) + ".cpp");
  CHECK(crowded(paths).empty());
  paths.push_back("sat/io/one_more.h");
  CHECK(crowded(paths) == std::vector<std::string>{"sat/io: 17 files, at most 16"});
}

TEST_CASE("a third party's header outside its room is found") {
  CHECK(judge("sat/io/files/file.cpp", "#include <zlib.h>\n") == "");
  CHECK(judge("sat/io/nifti/nifti.cpp", "#include <zlib.h>\n") ==
        "sat/io/nifti/nifti.cpp: <zlib.h> is not for this file\n");
  CHECK(judge("tests/test_x.cpp", "#include <doctest/doctest.h>\n") == "");
  CHECK(judge("sat/tensor/x.cpp", "#include <doctest/doctest.h>\n") != "");
  CHECK(judge("examples/x.cpp", "#include <CLI/App.hpp>\n") == "");
  CHECK(judge("tests/test_x.cpp", "#include <CLI/App.hpp>\n") != "");
  CHECK(judge("sat/io/scans/x.cpp", "#include <Eigen/Dense>\n") == "");
  CHECK(judge("sat/tensor/x.cpp", "#include <Eigen/Dense>\n") ==
        "sat/tensor/x.cpp: <Eigen/Dense> is not for this file\n");
  CHECK(judge("sat/tensor/x.cpp", "#include <boost/any.hpp>\n") ==
        "sat/tensor/x.cpp: <boost/any.hpp> belongs to nobody\n");
  CHECK(judge("sat/tensor/x.cpp", "#include <vector>\n#include <sys/mman.h>\n") == "");
}

TEST_CASE("relative and nameless includes are found") {
  CHECK(judge("sat/tensor/ops.cpp", "#include \"ops.h\"\n") ==
        "sat/tensor/ops.cpp: 'ops.h' is not written from the root of the repository\n");
  CHECK(judge("sat/tensor/ops.cpp", "#include \"../io/file.h\"\n") != "");
  CHECK(judge("sat/tensor/ops.cpp", "#include SOME_MACRO\n") != "");
}

TEST_CASE("a file that is too long or begins without its purpose is found") {
  CHECK(judge("tests/x.cpp", std::string(599, '\n')) == "");
  CHECK(judge("sat/io/generated_table.inc", std::string(600, '\n')) == "");
  CHECK(judge("tests/x.cpp", std::string(600, '\n')) == "tests/x.cpp: 601 lines, at most 600\n");
  const auto first_line = [](const std::string& text) { return complaints(Source{"sat/io/x.cpp", text}).size(); };
  CHECK(first_line("#include <vector>\n") == 1);
  CHECK(first_line("\n// Comes too late to be read first.\n") == 1);
  CHECK(first_line("//\n") == 1);
  CHECK(first_line("") == 1);
  CHECK(judge("sat/io/x.h", "#pragma once\n") == "");
  CHECK(judge("sat/io/x.h", "struct X {};\n") == "sat/io/x.h: a header without #pragma once\n");
}

TEST_CASE("a copy with a pitch that goes past the one door for them is found") {
  const std::string call = "void copy() { cudaMemcpy2DAsync(a, b, c, d, e, f, g, h); }\n";
  CHECK(judge("sat/cuda/blending.cpp", call) ==
        "sat/cuda/blending.cpp: cudaMemcpy2D is for sat/cuda/device/stream.cpp\n");
  CHECK(judge("sat/cuda/device/stream.cpp", call) == "");
}

TEST_CASE("a header that the door forgets, a private one that leaks and a circle are found") {
  const Source door{"sat/sat.h", kHead + "#include \"sat/io/a.h\"\n"};
  const Source a{"sat/io/a.h", kHead}, b{"sat/io/b.h", kHead + "#include \"sat/io/a.h\"\n"};
  using Lines = std::vector<std::string>;
  CHECK(complaints(std::vector<Source>{door, a}) == Lines{});
  CHECK(complaints(std::vector<Source>{door, a, b}) == Lines{"sat/sat.h: does not include sat/io/b.h"});
  const Source secret{"sat/io/b.h", kHead + "// Private: not installed.\n"};
  CHECK(complaints(std::vector<Source>{door, a, secret}) == Lines{});
  const Source leaky{"sat/io/a.h", kHead + "#include \"sat/io/b.h\"\n"};
  CHECK(complaints(std::vector<Source>{door, leaky, secret}) ==
        Lines{"sat/io/a.h: is public and includes the private sat/io/b.h"});
  const Source secret_back{"sat/io/b.h", secret.text + "#include \"sat/io/a.h\"\n"};
  CHECK(complaints(std::vector<Source>{door, leaky, secret_back}).size() == 3);  // the leak, and both in the circle
}

TEST_CASE("the sources of this repository keep the rules of the house") {
  const std::vector<Source> sources = sources_of_this_repository();
  CHECK(sources.size() > 20);
  for (const Source& source : sources) {
    for (const std::string& complaint : complaints(source)) FAIL_CHECK(complaint);
  }
  for (const std::string& complaint : complaints(sources)) FAIL_CHECK(complaint);
  for (const std::string& complaint : crowded(paths_of_this_repository())) FAIL_CHECK(complaint);
}
