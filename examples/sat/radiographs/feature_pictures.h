// What features look like: the class token's attention over an image, and principal components of its patches.
// Puts pictures together; drawing is pictures/.
#pragma once

#include <string>
#include <vector>

#include "examples/sat/radiographs/image_encoder.h"

namespace sat::cli {

/// The class token's attention to the patches of one image: [heads, h, w].
using AttentionMaps = Tensor;
AttentionMaps class_attention(const EncodedImages& encoded, int64_t image);

/// "out/features.npy" -> "out/features-attention"
std::string attention_folder(const std::string& output);

/// Writes PATH.npy and PATH.png: what the model saw of the image, a panel a head.
void write_attention(const AttentionMaps& maps, const ReadyImage& image, const EncodeOptions& options,
                     const std::string& remark, const std::string& path);

constexpr int64_t kMostComponentImages = 16;
/// Principal components of the last block's patches of the first images together, so that a colour means the same in
/// all: each image beside its patches, the first three components as red, green and blue. Images that cannot be read
/// are left out. Throws Error where none can.
void write_components(const ImageEncoder& encoder, const std::vector<ListedImage>& images, const std::string& path);

}  // namespace sat::cli
