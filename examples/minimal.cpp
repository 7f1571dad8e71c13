// The smallest program around the library: finds structures in one scan by name and writes a mask for each.
#include <sat/sat.h>

#include <cstdio>
#include <exception>
#include <string>
#include <vector>

int main(int argc, char** argv) try {
  if (argc < 6) {
    std::fprintf(stderr, "usage: %s MODEL BANK SCAN MODALITY PROMPT...\n", argv[0]);
    return 64;
  }
  sat::ModelOptions files;
  files.model = argv[1];
  files.bank = argv[2];
  const sat::Session session(sat::Model::open(files));

  const sat::NiftiScan scan = sat::read_nifti(argv[3]);
  sat::RunOptions run;
  run.modality = argv[4];
  run.scan_warnings = scan.header.warnings;
  const sat::Segmentation found = session.run(scan.volume, std::vector<std::string>(argv + 5, argv + argc), run);

  for (const std::string& warning : found.warnings) std::fprintf(stderr, "warning: %s\n", warning.c_str());
  for (std::size_t i = 0; i < found.prompts.size(); ++i) {
    const auto prompt = static_cast<int64_t>(i);
    const double volume_mm3 = sat::measure_mask(found.masks, prompt, scan.volume).volume_mm3;
    sat::write_nifti_mask(found.prompts[i] + ".nii.gz", found.masks, prompt, scan.header);  // on the scan's own grid
    std::printf("%s: %.1f ml\n", found.prompts[i].c_str(), volume_mm3 / 1000);
  }
} catch (const std::exception& error) {  // sat::Error with one sentence for a person, or std::bad_alloc
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
