// What `sat inspect` and `sat convert` say of checkpoints with more in them than weights, with values that are no
// numbers, or larger than the limits.
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <string>

#include "sat/io/checkpoints/safetensors.h"
#include "sat/io/nifti/nifti.h"
#include "sat/io/words/json.h"
#include "tests/support/checkpoint_bytes.h"
#include "tests/support/golden.h"
#include "tests/support/program.h"
#include "tests/support/tiny_model.h"

using namespace sat;
using namespace sat::test;

namespace {

/// A copy of a safetensors file in which one value of a tensor is a NaN.
void write_spoilt(const std::string& from, const std::string& to, const std::string& name) {
  const Checkpoint file = read_safetensors(from);
  std::map<std::string, Tensor> tensors;
  for (const Weights::Entry& entry : file.weights.entries()) tensors[entry.name] = entry.load();
  tensors.at(name).data<float>()[2] = NAN;
  write_safetensors(to, tensors, file.metadata);
}

}  // namespace

TEST_CASE("inspect lists what a file holds beside its tensors, in words and in JSON") {
  const TempDir folder;
  const std::string object = pickle::dict({{"args", pickle::global("argparse", "Namespace") + ")R"},
                                           {"model_state_dict", pickle::dict({{"w", pickle::tensor()}})},
                                           {"ema", pickle::dict({{"w", pickle::tensor()}})}});
  write_bytes(folder / "x.pth", torch_zip(pickle::whole(object), {{"0", std::string(24, '\0')}}));
  const Ran json = sat_run({"inspect", folder / "x.pth", "--json"});
  CHECK(json.status == 1);  // one tensor is no model
  const Json report = Json::parse(json.out, "stdout");
  CHECK(report["tensors"].integer() == 1);
  CHECK(report["skipped"].size() == 2);
  CHECK(report["skipped"]["args"].string() == "argparse.Namespace");
  CHECK(report["skipped"]["ema"].string() == "a dict");
  const Ran words = sat_run({"inspect", folder / "x.pth"});
  CHECK(contains(words.out, "skipped"));
  CHECK(contains(words.out, "argparse.Namespace"));
}

TEST_CASE("values that are no numbers: inspect names the tensor with status 1, convert and segment refuse it") {
  const TempDir folder;
  const std::string model = folder / "model.safetensors", bank = folder / "bank.safetensors";
  write_tiny_model(model, bank, 4);
  CHECK(sat_run({"inspect", model}).status == 0);
  CHECK(sat_run({"inspect", bank}).status == 0);
  const std::string name = "transformer_decoder.norm.weight", bad = folder / "bad.safetensors";
  write_spoilt(model, bad, name);
  const Ran inspected = sat_run({"inspect", bad, "--json"});
  CHECK(inspected.status == 1);
  const Json report = Json::parse(inspected.out, "stdout");
  CHECK(report["architecture"].string() == "tiny");
  CHECK(contains(report["problem"].string(), "not finite in 1 tensor: '" + name + "' (1 of 24)"));

  const Ran converted = sat_run({"convert", bad, folder / "out.safetensors"});
  CHECK(converted.status == 1);
  CHECK(contains(converted.err, "'" + name + "' holds 1 of 24"));
  CHECK_FALSE(std::filesystem::exists(folder / "out.safetensors"));

  const Volume scan = tiny_scan({16, 16, 8});
  write_nifti(folder / "scan.nii", scan.voxels, header_for(scan.geometry));
  const Ran segmented = sat_run({"segment", folder / "scan.nii", "--prompts", "prompt 1", "--modality", "mri",
                                 "--model", bad, "--bank", bank, "-o", folder / "out"});
  CHECK(segmented.status != 0);
  CHECK(contains(segmented.err, "'" + name + "' holds 1 of 24"));

  write_spoilt(bank, folder / "bad-bank.safetensors", "embeddings");
  const Ran spoilt = sat_run({"inspect", folder / "bad-bank.safetensors", "--json"});
  CHECK(spoilt.status == 1);
  CHECK(contains(Json::parse(spoilt.out, "stdout")["problem"].string(), "embeddings holds nan at element 2"));
}

TEST_CASE("inspect names all that a model lacks") {
  const TempDir folder;
  write_tiny_model(folder / "model.safetensors", folder / "bank.safetensors", 4);
  const Checkpoint file = read_safetensors(folder / "model.safetensors");
  std::map<std::string, Tensor> tensors;
  for (const Weights::Entry& entry : file.weights.entries()) tensors[entry.name] = entry.load();
  for (const char* lost : {"mask_embed_proj.0.weight", "mask_embed_proj.0.bias", "transformer_decoder.norm.weight"}) {
    REQUIRE(tensors.erase(lost) == 1);
  }
  write_safetensors(folder / "less.safetensors", tensors, file.metadata);
  const Ran ran = sat_run({"inspect", folder / "less.safetensors", "--json"});
  CHECK(ran.status == 1);
  const std::string problem = Json::parse(ran.out, "stdout")["problem"].string();
  CHECK(contains(problem, "3 tensors are missing: 'mask_embed_proj.0.bias'"));
  CHECK(contains(problem, "'transformer_decoder.norm.weight'"));
}

TEST_CASE("a header beyond the limit is refused with the figure, and read where --max-header allows it") {
  const TempDir folder;
  std::string header = "{";
  for (int i = 0; i < 300; ++i) {
    header += (i ? ",\"t" : "\"t") + std::to_string(i) + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  }
  write_bytes(folder / "x.safetensors", safetensors(header + "}", ""));
  const Ran refused = sat_run({"inspect", folder / "x.safetensors", "--max-header", "64K"});
  CHECK(refused.status == 1);
  CHECK(contains(refused.err, "more than 256 tensors"));
  const Ran read = sat_run({"inspect", folder / "x.safetensors", "--max-header", "1M", "--json"});
  CHECK(Json::parse(read.out, "stdout")["tensors"].integer() == 300);
}
