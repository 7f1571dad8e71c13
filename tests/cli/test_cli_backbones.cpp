// The program with U-Mamba and SwinUNETR: what works with the U-Net works with them, unchanged.
#include <doctest/doctest.h>

#include <algorithm>

#include "sat/io/words/json.h"
#include "tests/support/tiny_case.h"

using namespace sat;
using namespace sat::test;

namespace {

struct Kind {
  BackboneKind backbone;
  const char* published;
};
constexpr Kind kKinds[] = {{BackboneKind::umamba, "UMamba"}, {BackboneKind::swin_unetr, "SwinUNETR"}};

/// The tiny case with another network behind its bank.
struct OtherCase : TinyCase {
  explicit OtherCase(BackboneKind backbone) { write_tiny_model(model, bank, 4, backbone); }
};

}  // namespace

TEST_CASE("segment writes the same masks for any number of threads, resumes, and holds to what plan says it needs") {
  for (const Kind& kind : kKinds) {
    CAPTURE(kind.published);
    const OtherCase tiny(kind.backbone);
    const Ran first = sat_run(tiny.segment({tiny.scan}, tiny.asked()));
    CAPTURE(first.err);
    REQUIRE(first.status == 0);
    const std::string mask = tiny.output + "/scan/masks/prompt 0.nii.gz";
    const std::string bytes = read_text(mask);
    const Ran again = sat_run(tiny.segment({tiny.scan}, tiny.asked()));
    CHECK(again.status == 0);
    CHECK(read_text(mask) == bytes);

    const auto elsewhere = [&](const std::string& threads, const Words& more) {
      Words words = tiny.segment({tiny.scan}, tiny.asked(more));
      std::replace(words.begin(), words.end(), tiny.output, tiny.folder / "other");
      *(std::find(words.begin(), words.end(), "--threads") + 1) = threads;
      return sat_run(words);
    };
    const Ran refused = elsewhere("1", {"--max-ram", "1M"});
    CHECK(refused.status != 0);
    CAPTURE(refused.err);
    CHECK(contains(refused.err, "the memory limit of 1048576 bytes"));
    const Ran other = elsewhere("3", {});
    CAPTURE(other.err);
    REQUIRE(other.status == 0);
    CHECK(read_text(tiny.folder / "other/scan/masks/prompt 0.nii.gz") == bytes);

    const Ran plan = sat_run({"plan", tiny.scan, "--modality", "mri", "--prompts-count", "2", "--model", tiny.model,
                              "--json", "--device", "cpu"});
    REQUIRE(plan.status == 0);
    CHECK(Json::parse(plan.out, "stdout")["peak_bytes"].integer() > 0);
  }
}

TEST_CASE("plan lists the convolutions of the published backbones, inspect names a model, convert keeps it") {
  for (const Kind& kind : kKinds) {
    CAPTURE(kind.published);
    const Ran kernels = sat_run({"plan", "--kernels", "--architecture", kind.published, "--json"});
    REQUIRE(kernels.status == 0);
    CHECK(Json::parse(kernels.out, "stdout").size() == (kind.backbone == BackboneKind::umamba ? 23 : 22));

    const OtherCase tiny(kind.backbone);
    const Ran converted = sat_run({"convert", tiny.model, tiny.folder / "half.safetensors", "--dtype", "f16"});
    CAPTURE(converted.err);
    REQUIRE(converted.status == 0);
    const Ran inspected = sat_run({"inspect", tiny.folder / "half.safetensors", "--json"});
    REQUIRE(inspected.status == 0);
    CHECK(Json::parse(inspected.out, "stdout")["config"]["backbone"].string() == kind.published);
  }
}
