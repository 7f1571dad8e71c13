// Listing folders and naming images.
#include "examples/sat/radiographs/input/image_list.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "sat/io/files/file.h"
#include "sat/io/files/folder.h"
#include "sat/io/words/text.h"

namespace sat::cli {

namespace {

namespace fs = std::filesystem;

bool is_image_name(const std::string& name) {
  std::string extension = fs::path(name).extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; });
  const std::set<std::string> known{".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom"};
  return known.count(extension) > 0;
}

bool is_folder(const std::string& path) {
  std::error_code unknown;
  return fs::is_directory(path, unknown);
}

std::vector<std::string> images_in(const std::string& folder) {
  std::vector<std::string> found;
  int64_t others = 0;
  for (const FolderEntry& entry : list_folder(folder)) {
    const std::string path = (fs::path(folder) / entry.name).string();
    if (entry.name[0] == '.') continue;
    if (is_image_name(entry.name) && !is_folder(path)) {
      found.push_back(path);
    } else {
      ++others;
    }
  }
  SAT_CHECK(!found.empty(), "the folder ", folder, " holds no .png, .jpg, .tif or .dcm file",
            others > 0 ? " among its " + std::to_string(others) + " entries; sat does not look into folders below"
                       : "; it is empty");
  return found;
}

/// "" for a file that can be opened, else why not.
std::string why_unreadable(const std::string& path) {
  try {
    const OpenFile file(path);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

std::vector<ListedImage> list_images(const std::vector<std::string>& inputs) {
  std::vector<ListedImage> images;
  std::set<std::string> known;
  const auto add = [&](const std::string& path) {
    if (known.insert(path).second) images.push_back({path, fs::path(path).filename().string(), why_unreadable(path)});
  };
  for (const std::string& input : inputs) {
    if (is_folder(input)) {
      for (const std::string& path : images_in(input)) add(path);
    } else {
      add(input);
    }
  }
  std::map<std::string, int> uses;
  for (const ListedImage& image : images) ++uses[image.name];
  for (ListedImage& image : images) {
    if (uses[image.name] > 1) image.name = image.path;
    if (!is_utf8(image.name))
      fail("the name ", sat::quoted(image.name), " is not UTF-8, so that no manifest could hold it");
  }
  return images;
}

}  // namespace sat::cli
