// The C++ door: the public headers of the library, in reading order.
//
//   sat::ModelOptions options;
//   options.model = "sat-small.safetensors";                        // the network, and
//   options.bank = "sat-small-bank.safetensors";                    // the prompts it was given vectors for
//   const sat::Session session(sat::Model::open(options));          // other sessions may run the same model meanwhile
//
//   sat::RunOptions run;
//   run.modality = "ct";
//   run.on_progress = [](const sat::Progress& p) { show(p.fraction); };
//   const sat::NiftiScan scan = sat::read_nifti("head.nii.gz");
//   const sat::Segmentation found = session.run(scan.volume, {"brainstem", "mandible"}, run);
//   for (int64_t i = 0; i < found.masks.prompts; ++i) {             // one bit a voxel, on the scan's own grid
//     sat::write_nifti(found.prompts[size_t(i)] + ".nii.gz", found.masks.unpack(i), scan.header);
//   }
//
// Whatever is wrong with a file or a request arrives as sat::Error. Nothing is printed, and nothing is global.
#pragma once

// Numbers, threads, and what the machine grants.
#include "sat/tensor/error.h"

#include "sat/tensor/tensor.h"

#include "sat/tensor/context.h"
#include "sat/tensor/memory/machine.h"

// CUDA devices.
#include "sat/cuda/device/device.h"

// Scans and masks.
#include "sat/io/words/json.h"

#include "sat/io/files/mapped_scratch.h"

#include "sat/io/scans/volume.h"

#include "sat/io/scans/resample.h"

#include "sat/io/scans/preprocess.h"

#include "sat/io/masks/bit_masks.h"

#include "sat/io/nifti/nifti.h"

#include "sat/io/masks/label_map.h"
#include "sat/io/masks/statistics.h"
#include "sat/io/pictures/png.h"
#include "sat/io/pictures/preview.h"

// Radiographs.
#include "sat/io/images/image.h"

#include "sat/io/images/placement.h"
#include "sat/io/images/resize.h"

#include "sat/io/images/prepare.h"

// The network over a scan.
#include "sat/nn/run/windows.h"

#include "sat/nn/sat/sat_config.h"

#include "sat/nn/run/plan.h"

#include "sat/nn/load_options.h"
#include "sat/nn/run/model.h"
#include "sat/nn/run/session.h"

// Encoders of radiographs.
#include "sat/nn/image/image_model.h"

#include "sat/nn/image/ecamp/detection/detection.h"
#include "sat/nn/image/ecamp/ecamp_model.h"
