// ECAMP's networks at a few thousand generated weights, for tests of everything around them.
#pragma once

#include <map>
#include <string>

#include "sat/nn/image/ecamp/classifier.h"
#include "sat/nn/image/ecamp/detection/detector.h"
#include "sat/nn/image/ecamp/pretraining/pretraining.h"
#include "sat/nn/image/ecamp/segmenter.h"

namespace sat::test {

/// Width 64, two blocks, one head, 4 x 4 patches of 16 pixels: images of 64 x 64.
VitConfig tiny_ecamp_encoder();
/// That encoder, one block of width 32 in the image decoder, and two layers over 40 words and 12 places.
EcampConfig tiny_ecamp();
EcampClassifierConfig tiny_classifier();   // five classes
EcampSegmenterConfig tiny_segmenter();     // stages of 12, 10, 8 and 6 channels
EcampSegmenterConfig tiny_disc_and_cup();  // the same, twice
EcampDetectorConfig tiny_detector();       // two classes

/// The tensors that a network asks for, by the rule of ecamp.md 14.2 (pre-training) or 14.3.
using Tensors = std::map<std::string, Tensor>;
Tensors tensors_of(const EcampConfig& config);
Tensors tensors_of(const EcampClassifierConfig& config);
Tensors tensors_of(const EcampSegmenterConfig& config);
Tensors tensors_of(const EcampDetectorConfig& config);

}  // namespace sat::test
