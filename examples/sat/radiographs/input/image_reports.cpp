// Lines about images.
#include "examples/sat/radiographs/input/image_reports.h"

#include <filesystem>

#include "examples/sat/output/failure.h"
#include "examples/sat/output/output.h"
#include "sat/io/files/file.h"

namespace sat::cli {

namespace {

std::string line_of(const std::string& image, const char* status, const std::vector<Json::Member>& more) {
  Json line = Json::object({{"image", image}, {"status", status}});
  for (const auto& [key, value] : more) line.set(key, value);
  return line.dump() + "\n";
}

}  // namespace

void ImageReports::done(const ReadyImage& image, const std::vector<Json::Member>& more) {
  ++done_;
  for (const std::string& warning : image.loaded.warnings) view_.line("warning: " + warning);
  if (as_json_) print_now(line_of(image.listed.name, "done", more));
}

void ImageReports::skipped(const ListedImage& image) {
  ++skipped_;
  if (as_json_) print_now(line_of(image.name, "skipped", {}));
}

void ImageReports::failed(const ListedImage& image, const std::exception& error) {
  ++failed_;
  const std::string message = message_of(error);
  view_.line("failed: " + message);
  if (as_json_)
    print_now(line_of(image.name, "failed", {{"error", failure_json(kind_of(error), message, {image.path})}}));
}

void ImageReports::finish(const std::string& what, const std::vector<Json::Member>& more, const std::string& remark) {
  if (as_json_) {
    Json line = Json::object({{"done", done_}, {"skipped", skipped_}, {"failed", failed_}});
    for (const auto& [key, value] : more) line.set(key, value);
    if (!remark.empty()) line.set("remark", remark);
    print_now(line.dump() + "\n");
  }
  view_.line(what + std::to_string(done_) + " done, " + std::to_string(skipped_) + " already there, " +
             std::to_string(failed_) + " failed" + (remark.empty() ? "" : "; " + remark));
}

int ImageReports::status() const { return failed_ == 0 ? kDone : images_ > 1 ? kSomeFailed : kFailed; }

std::vector<std::string> class_names(const std::vector<std::string>& given, int64_t classes) {
  if (given.empty()) {
    std::vector<std::string> names;
    for (int64_t i = 0; i < classes; ++i) names.push_back("class " + std::to_string(i));
    return names;
  }
  if (int64_t(given.size()) != classes) {
    throw UsageError("--labels names " + std::to_string(given.size()) + " classes, the model has " +
                     std::to_string(classes));
  }
  return given;
}

void make_folder(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  SAT_CHECK(std::filesystem::is_directory(path), "cannot make the folder ", path,
            error ? ": " + error.message() : ": something else is there");
}

void write_table(const std::string& path, const std::string& text) {
  if (path.empty()) {
    print(text);
  } else {
    failing_as(FailureKind::output, [&] { write_file_atomically(path, text); });
  }
}

}  // namespace sat::cli
