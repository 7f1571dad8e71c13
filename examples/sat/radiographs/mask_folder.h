// An image's masks as a folder: on the image's own pixels, with a picture and figures. Knows logits and files, not
// networks.
#pragma once

#include <string>
#include <vector>

#include "examples/sat/radiographs/input/image_reader.h"
#include "sat/io/words/json.h"

namespace sat::cli {

/// What logits mean and where they come from; two results of one image and the same settings are the same.
struct MaskSettings {
  std::vector<std::string> classes;
  bool each = false;   // every class by itself, inside where its logit is above 0; else the class of the largest logit
  std::string remark;  // what whoever looks at it must know
  Json source;         // an object: models, layers, preprocessing
};

/// Does the folder hold a whole result of this image and these settings? Throws Failure where it holds another one, or
/// files that somebody changed: they would be lost.
bool has_masks(const std::string& folder, const std::string& identity, const MaskSettings& settings);

/// Writes a folder that appears whole or not at all, from logits [h, w, K] over what the model saw:
///   mask.png         the class of each pixel, 0 first, where classes exclude each other; 255 was not seen
///   NAME.png         else: 255 inside, 0 outside or not seen, a file a class
///   overlay.png      the image with its masks and names
///   statistics.json  pixels, share and place of each class, the settings, and the files' hashes
/// Of classes that exclude each other the first is the background. Returns the classes' figures. `overwrite`: what is
/// there is replaced; else throws Error where something is.
Json write_masks(const std::string& folder, const ReadyImage& image, const Tensor& logits, const MaskSettings& settings,
                 bool overwrite);

}  // namespace sat::cli
