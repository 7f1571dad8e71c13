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

#include "sat/tensor/memory/machine.h"

#include "sat/tensor/memory/memory.h"

#include "sat/tensor/parallel.h"

#include "sat/tensor/context.h"
#include "sat/tensor/cpu/conv_method.h"

#include "sat/tensor/profile.h"

#include "sat/tensor/ops.h"

#include "sat/tensor/roofs/roofs.h"

#include "sat/tensor/weights.h"

// CUDA devices.
#include "sat/cuda/device/device.h"

// Files, millimetres and words.
#include "sat/io/files/file.h"

#include "sat/io/files/hash.h"

#include "sat/io/words/text.h"

#include "sat/io/words/modality.h"

#include "sat/io/words/json.h"

#include "sat/io/scans/volume.h"

#include "sat/io/scans/nifti.h"

#include "sat/io/scans/scan_checks.h"

#include "sat/io/words/model_card.h"

#include "sat/io/pictures/png.h"

#include "sat/io/words/unicode.h"

#include "sat/io/words/wordpiece.h"

#include "sat/io/scans/resample.h"

#include "sat/io/scans/preprocess.h"

#include "sat/nn/run/windows.h"

#include "sat/io/masks/bit_masks.h"

#include "sat/io/masks/restore.h"

#include "sat/io/masks/label_map.h"

#include "sat/io/masks/statistics.h"

#include "sat/io/pictures/preview.h"

#include "sat/io/files/scratch_file.h"

#include "sat/io/files/mapped_scratch.h"

#include "sat/io/files/disk_room.h"

#include "sat/io/words/safe_name.h"

#include "sat/io/files/open_file.h"

#include "sat/io/checkpoints/stored_tensor.h"

#include "sat/io/checkpoints/checkpoint.h"

#include "sat/io/checkpoints/safetensors.h"

#include "sat/io/checkpoints/zip.h"

#include "sat/io/checkpoints/pickle.h"

#include "sat/io/checkpoints/torch_file.h"

// The network, from its parts to the whole path.
#include "sat/nn/layers.h"

#include "sat/nn/sat/sat_config.h"

#include "sat/nn/sat/unet3d.h"

#include "sat/nn/sat/query_decoder.h"

#include "sat/nn/sat/sat_model.h"

#include "sat/nn/sat/model_file.h"

#include "sat/nn/text/post_norm.h"

#include "sat/nn/text/bert.h"

#include "sat/nn/text/mpnet.h"

#include "sat/nn/text/text_file.h"

#include "sat/nn/text/text_encoder.h"

#include "sat/nn/text/embedding_bank.h"

#include "sat/nn/run/blender.h"

#include "sat/nn/run/segment_volume.h"

#include "sat/nn/run/verify.h"

#include "sat/nn/run/segmenter.h"
