// The C++ door: every public header of the library, in reading order.
//
//   sat::SegmenterOptions options;
//   options.model = "sat-small.safetensors";                        // the network, and
//   options.bank = "sat-small-bank.safetensors";                    // the prompts it was given vectors for
//   const sat::Segmenter segmenter(options);
//
//   sat::RunOptions run;
//   run.modality = "ct";
//   run.on_progress = [](const sat::Progress& p) { show(p.fraction); };
//   const sat::NiftiScan scan = sat::read_nifti("head.nii.gz");
//   const sat::Segmentation found = segmenter.run(scan.volume, {"brainstem", "mandible"}, run);
//   for (int64_t i = 0; i < found.masks.prompts; ++i) {             // one bit a voxel, on the scan's own grid
//     sat::write_nifti(found.prompts[size_t(i)] + ".nii.gz", found.masks.unpack(i), scan.header);
//   }
//
// Whatever is wrong with a file or a request arrives as sat::Error. Nothing is printed, and nothing is global.
#pragma once

// Numbers.
#include "sat/tensor/error.h"

#include "sat/tensor/tensor.h"

#include "sat/tensor/machine.h"

#include "sat/tensor/memory.h"

#include "sat/tensor/parallel.h"

#include "sat/tensor/context.h"
#include "sat/tensor/conv_method.h"

#include "sat/tensor/profile.h"

#include "sat/tensor/ops.h"

#include "sat/tensor/roofs.h"

#include "sat/tensor/weights.h"

// CUDA devices.
#include "sat/cuda/device.h"

// Files, millimetres and words.
#include "sat/io/file.h"

#include "sat/io/hash.h"

#include "sat/io/text.h"

#include "sat/io/modality.h"

#include "sat/io/json.h"

#include "sat/io/volume.h"

#include "sat/io/nifti.h"

#include "sat/io/scan_checks.h"

#include "sat/io/model_card.h"

#include "sat/io/png.h"

#include "sat/io/unicode.h"

#include "sat/io/wordpiece.h"

#include "sat/io/resample.h"

#include "sat/io/preprocess.h"

#include "sat/io/windows.h"

#include "sat/io/bit_masks.h"

#include "sat/io/restore.h"

#include "sat/io/label_map.h"

#include "sat/io/statistics.h"

#include "sat/io/preview.h"

#include "sat/io/scratch_file.h"

#include "sat/io/mapped_scratch.h"

#include "sat/io/disk_room.h"

#include "sat/io/safe_name.h"

#include "sat/io/open_file.h"

#include "sat/io/stored_tensor.h"

#include "sat/io/checkpoint.h"

#include "sat/io/safetensors.h"

#include "sat/io/zip.h"

#include "sat/io/pickle.h"

#include "sat/io/torch_file.h"

// The network, from its parts to the whole path.
#include "sat/nn/layers.h"

#include "sat/nn/sat_config.h"

#include "sat/nn/unet3d.h"

#include "sat/nn/query_decoder.h"

#include "sat/nn/sat_model.h"

#include "sat/nn/model_file.h"

#include "sat/nn/post_norm.h"

#include "sat/nn/bert.h"

#include "sat/nn/mpnet.h"

#include "sat/nn/text_file.h"

#include "sat/nn/text_encoder.h"

#include "sat/nn/embedding_bank.h"

#include "sat/nn/blender.h"

#include "sat/nn/segment_volume.h"

#include "sat/nn/verify.h"

#include "sat/nn/segmenter.h"
