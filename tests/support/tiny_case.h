// A folder with the tiny model, its bank and a scan, and the words that segment it.
#pragma once

#include <string>

#include "sat/io/nifti/nifti.h"
#include "tests/support/golden.h"
#include "tests/support/program.h"
#include "tests/support/tiny_model.h"

namespace sat::test {

struct TinyCase {
  TempDir folder;
  std::string model = folder / "model.safetensors", bank = folder / "bank.safetensors", scan = folder / "scan.nii",
              output = folder / "out";

  explicit TinyCase(int64_t phrases = 4, const std::array<int64_t, 3>& size = {20, 18, 12}) {
    write_tiny_model(model, bank, phrases);
    const Volume volume = tiny_scan(size);
    write_nifti(scan, volume.voxels, header_for(volume.geometry));
  }

  /// sat segment of these scans; what `more` says comes last.
  Words segment(const Words& scans, const Words& more = {}) const {
    Words words{"segment"};
    words.insert(words.end(), scans.begin(), scans.end());
    for (const std::string& word : {std::string("--model"), model, std::string("--bank"), bank, std::string("-o"),
                                    output, std::string("--threads"), std::string("1"), std::string("--device"),
                                    std::string("cpu"), std::string("--no-preview")}) {
      words.push_back(word);
    }
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  Words asked(const Words& more = {}) const {
    Words words{"--prompts", "prompt 0,prompt 1", "--modality", "mri"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
};

}  // namespace sat::test
