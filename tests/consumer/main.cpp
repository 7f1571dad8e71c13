// The smallest user of the installed library: a model, its bank, a scan and a word in; a mask file out.
#include <sat/sat.h>

#include <cstdio>

int main(int argc, char** argv) try {
  if (argc != 6) return 2;
  sat::ModelOptions options;
  options.model = argv[1];
  options.bank = argv[2];
  const sat::Session session(sat::Model::open(options));

  sat::RunOptions run;
  run.modality = "mri";
  const sat::NiftiScan scan = sat::read_nifti(argv[3]);
  const sat::Segmentation found = session.run(scan.volume, {argv[4]}, run);
  sat::write_nifti_mask(argv[5], found.masks, 0, scan.header);
  std::printf("%s: %lld voxels\n", argv[4], static_cast<long long>(found.masks.count(0)));
  return found.masks.count(0) > 0 ? 0 : 1;
} catch (const sat::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
