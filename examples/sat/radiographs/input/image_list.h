// Which images a run is about: files and folders, and the name that each goes by.
// Reads names, not images.
#pragma once

#include <string>
#include <vector>

namespace sat::cli {

struct ListedImage {
  std::string path;
  std::string name;   // of its file; where several files have that name, the path as it was given
  std::string error;  // why it cannot be opened; such an image fails when its turn comes
};

/// Images of all inputs in order, each once. A folder stands for the files in it that are named as images (.png, .jpg,
/// .jpeg, .tif, .tiff, .dcm, .dicom), sorted by name, hidden ones and those in folders below left out; a file that is
/// named itself may be called anything. Throws Error for what is not there, and where there is no image at all.
std::vector<ListedImage> list_images(const std::vector<std::string>& inputs);

}  // namespace sat::cli
