// The files of one finished case, and the manifest that records how they came about.
// Writes into a folder that it is given; case_folder.h makes it appear.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "examples/sat/cases.h"
#include "examples/sat/devices.h"
#include "examples/sat/segment/case_record.h"
#include "examples/sat/segment/resume.h"
#include "sat/io/files/mapped_scratch.h"
#include "sat/io/nifti/nifti.h"
#include "sat/io/words/json.h"
#include "sat/nn/run/session.h"

namespace sat::cli {

/// What a user asked for beyond scan and prompts.
struct ResultOptions {
  bool model_space = false;
  bool probabilities = false;
  bool preview = true;
  NiftiForm geometry = NiftiForm::automatic;  // which form of the scan's header says where its voxels lie
  std::string mask_extension = ".nii.gz";
};

/// The model and the text side of a run, which are the same for all its cases.
struct Identity {
  Json model;  // path, identity (survives conversion), file_sha256, architecture, config_sha256
  Json text;   // kind, path, identity, file_sha256, vocabulary_sha256 (null for a bank)
};
Identity identity_of(const Model& model);

/// Everything beyond scan, model and text that changes results. The CPU level is not part of it: levels differ
/// by rounding alone, and each run records its own.
Json settings_json(const Case& one, const ResultOptions& wanted, const Session& session, const DeviceChoice& device);

/// What write_case() puts together.
struct CaseParts {
  const Case& one;
  const NiftiScan& scan;
  const Question& question;
  const Resume& resume;
  const std::optional<CaseRecord>& record;  // what was there before
  const Segmentation& result;               // of resume.prompts
  const Session& session;
  const MappedScratch* probabilities;  // null, or one f32 [H, W, D] a prompt of the result, back to back
  double reading_seconds;
};

/// Bytes that write_case() holds beside scan, model and result: the masks of all structures where some were made
/// before.
int64_t joining_bytes(const Geometry& grid, const Resume& resume);

/// Writes all files of a case but the kept ones into `folder`, the manifest last. Returns the manifest.
Json write_case(const std::string& folder, const CaseParts& parts, const ResultOptions& wanted);

}  // namespace sat::cli
