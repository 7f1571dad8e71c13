// The files of one finished case, and the manifest that records how they came about.
// Writes into a folder that it is given; case_folder.h makes it appear.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "examples/sat/cases.h"
#include "sat/io/json.h"
#include "sat/io/mapped_scratch.h"
#include "sat/io/nifti.h"
#include "sat/nn/segmenter.h"

namespace sat::cli {

/// What a user asked for beyond scan and prompts.
struct ResultOptions {
  bool model_space = false;
  bool probabilities = false;
  bool preview = true;
  NiftiForm geometry = NiftiForm::automatic;  // which form of the scan's header says where its voxels lie
  std::string mask_extension = ".nii.gz";
};

/// What a manifest must agree with for its case to count as finished.
struct Identity {
  Json model;    // path, identity (survives conversion), file_sha256, architecture, config_sha256
  Json text;     // kind, path, identity, file_sha256, vocabulary_sha256 (null for a bank)
  Json request;  // modality, prompts, orientation and ResultOptions
};
/// The parts that are the same for all cases; `request` is still to be set.
Identity identity_of(const Segmenter& segmenter, const SegmenterOptions& options);
Json request_json(const Case& one, const ResultOptions& wanted);

/// A scan as it lies on disk: {"path", "bytes", "modified_ns", "sha256"}.
Json scan_fingerprint(const std::string& path);

enum class Finished : uint8_t { no, yes, other_scan };
/// Does this folder hold the finished case: same identities, and a scan of the same size and time, or of the same
/// bytes? other_scan: it holds the result of a scan with another path and other bytes.
Finished finished_case(const std::string& folder, const Identity& identity, const std::string& scan);

/// Writes all files of a case into `folder`, the manifest last. Returns the manifest.
///   probabilities  null, or one f32 [H, W, D] a prompt, back to back
///   seconds        of reading the scan
Json write_case(const std::string& folder, const Case& one, const NiftiScan& scan, const Segmentation& result,
                const Segmenter& segmenter, const Identity& identity, const Json& fingerprint,
                const ResultOptions& wanted, const MappedScratch* probabilities, double seconds);

}  // namespace sat::cli
