// A text encoder's file is opened under the names that training gave its tensors, and refused where values are no
// numbers.
#include "sat/nn/text/text_file.h"

#include <doctest/doctest.h>

#include <cmath>

#include "sat/io/checkpoints/safetensors.h"
#include "tests/support/golden.h"
#include "tests/support/text_model.h"

namespace {

using namespace sat;
using namespace sat::test;

TextBackboneConfig small_sizes() {
  TextBackboneConfig sizes;
  sizes.vocabulary = 50;
  sizes.hidden = 64;
  sizes.layers = 1;
  sizes.heads = 1;
  sizes.feedforward = 96;
  sizes.positions = 40;
  return sizes;
}

std::map<std::string, Tensor> tensors_of(TextKind kind, const std::string& prefix) {
  std::map<std::string, Tensor> tensors;
  const Weights weights = generated_text_weights(text_encoder_shapes(small_sizes(), kind));
  for (const Weights::Entry& entry : weights.entries()) tensors[prefix + entry.name] = entry.load();
  return tensors;
}

std::vector<std::string> names_of(const TextFile& text) {
  std::vector<std::string> names;
  for (const Weights::Entry& entry : text.weights.entries()) names.push_back(entry.name);
  return names;
}

}  // namespace

TEST_CASE("a text encoder's own `model.` stays where the wrappers around it go") {
  const TempDir folder;
  for (const TextKind kind : {TextKind::ours, TextKind::basebert}) {
    write_safetensors(folder / "plain", tensors_of(kind, ""), {});
    const std::vector<std::string> plain = names_of(open_text_file({folder / "plain"}));
    CHECK(plain.size() == tensors_of(kind, "").size());
    for (const char* prefix : {"module.", "_orig_mod.module.", "model.", "model._fsdp_wrapped_module."}) {
      CAPTURE(prefix);
      write_safetensors(folder / "wrapped", tensors_of(kind, prefix), {});
      CHECK(names_of(open_text_file({folder / "wrapped"})) == plain);
    }
  }
}

TEST_CASE("a text encoder with values that are no numbers is refused by the tensor's name") {
  const TempDir folder;
  std::map<std::string, Tensor> tensors = tensors_of(TextKind::ours, "");
  write_safetensors(folder / "plain", tensors, {});
  write_text_file(folder / "out", open_text_file({folder / "plain"}), DType::f32);
  const std::string name = "text_tower.biolord.embeddings.word_embeddings.weight";
  tensors.at(name).data<float>()[7] = INFINITY;
  write_safetensors(folder / "bad", tensors, {});
  const TextFile text = open_text_file({folder / "bad"});
  const std::string why = "'" + name + "' holds 1 of 3200 values that are not finite";
  CHECK_THROWS_WITH_AS(text.weights.get(name, {50, 64}), doctest::Contains(why.c_str()), Error);
  CHECK_THROWS_WITH_AS(write_text_file(folder / "out", text, DType::f32), doctest::Contains(why.c_str()), Error);
}
