// Private. A file of one of ECAMP's networks: opened whatever its format, and known by its tensors. The networks are
// built by ecamp_model.h; encoders of any kind are ImageModel's as well.
#pragma once

#include <string>

#include "sat/io/checkpoints/checkpoint.h"
#include "sat/nn/image/ecamp/ecamp_model.h"
#include "sat/tensor/weights.h"

namespace sat {

struct EcampFile {
  std::string path;
  Weights weights;  // without wrappers around their names; a NaN or an infinity throws Error when it is asked for
  EcampKind kind = EcampKind::encoder;
  std::string identity;  // SHA-256 of the file in which the weights were published
  std::string remark;    // "untrained weights" where the file says so
};

/// Opens safetensors or a PyTorch file, also one that a training left: {model, optimizer, epoch, scaler, args}.
EcampFile open_ecamp_file(const std::string& path, const CheckpointLimits& limits = {});

/// Which network these tensors are of. Throws Error where they are of none, or of several.
EcampKind recognise_ecamp(const Weights& w);

/// Throws Error where the network that was built of them has left tensors unread, naming the first.
void check_all_read(const Weights& w, EcampKind kind);

}  // namespace sat
