// Claims: a file's network is known by its tensors whatever wraps them, EcampModel gives what the network gives, and
// files that are no whole network are refused in one sentence.
#include <doctest/doctest.h>

#include <cmath>

#include "sat/io/checkpoints/safetensors.h"
#include "sat/nn/image/ecamp/ecamp_file.h"
#include "sat/tensor/memory/memory.h"
#include "tests/support/checkpoint_bytes.h"
#include "tests/support/golden.h"
#include "tests/support/image/tiny_ecamp.h"
#include "tests/support/levels.h"

using namespace sat;
using namespace sat::test;

namespace {

Tensor images(int64_t batch) { return field("images", {batch, 64, 64, 3}, 1.5); }

std::shared_ptr<const EcampModel> opened(const std::string& path) {
  LoadOptions options;
  options.model = path;
  return EcampModel::open(options);
}

struct File {
  TempDir folder;
  std::string path = folder / "model.safetensors";

  explicit File(const Tensors& tensors, const std::map<std::string, std::string>& metadata = {}) {
    write_safetensors(path, tensors, metadata);
  }
  std::shared_ptr<const EcampModel> open() const { return opened(path); }
};

Tensors behind(const std::string& prefix, const Tensors& tensors) {
  Tensors renamed;
  for (const auto& [name, tensor] : tensors) renamed[prefix + name] = tensor;
  return renamed;
}

Tensors joined(Tensors a, const Tensors& b) {
  a.insert(b.begin(), b.end());
  return a;
}

Tensors without(Tensors tensors, const std::string& name) {
  REQUIRE(tensors.erase(name) == 1);
  return tensors;
}

Tensors with(Tensors tensors, const std::string& name, const Tensor& tensor) {
  tensors[name] = tensor;
  return tensors;
}

Tensor holding(const Shape& shape, float value) {
  Tensor x = zeros(shape);
  x.data<float>()[x.numel() / 2] = value;
  return x;
}

/// What is said of a file of these tensors.
std::string refusal(const Tensors& tensors) {
  const File file(tensors);
  try {
    file.open();
  } catch (const Error& error) {
    const std::string said = error.what();
    CHECK(said.find(file.path) != std::string::npos);
    CHECK(said.find('\n') == std::string::npos);
    return said;
  }
  return "nothing was wrong";
}

bool says(const std::string& text, const std::string& part) {
  CAPTURE(text);
  CHECK(text.find(part) != std::string::npos);
  return true;
}

}  // namespace

TEST_CASE("each kind of file is known by its tensors, behind any wrapper") {
  Tensors encoder;
  for (const auto& [name, tensor] : tensors_of(tiny_ecamp())) {
    if (name.rfind("bert", 0) != 0) encoder[name] = tensor;  // as the file of a masked autoencoder
  }
  const std::pair<Tensors, EcampKind> files[] = {{encoder, EcampKind::encoder},
                                                 {tensors_of(tiny_ecamp()), EcampKind::pretraining},
                                                 {tensors_of(tiny_classifier()), EcampKind::classification},
                                                 {tensors_of(tiny_segmenter()), EcampKind::segmentation},
                                                 {tensors_of(tiny_disc_and_cup()), EcampKind::segmentation},
                                                 {tensors_of(tiny_detector()), EcampKind::detection}};
  for (const auto& [tensors, kind] : files) {
    for (const char* wrapper : {"", "module.", "model.", "model.module."}) {
      CAPTURE(std::string(name_of(kind)) + " behind '" + wrapper + "'");
      CHECK(recognise_ecamp_file(File(behind(wrapper, tensors)).path) == kind);
    }
  }
}

TEST_CASE("a checkpoint of training, {model, optimizer, epoch, scaler, args}, is opened by its model") {
  namespace p = sat::test::pickle;
  std::vector<std::pair<std::string, std::string>> tensors;
  std::map<std::string, std::string> storages;
  for (const auto& [name, tensor] : tensors_of(tiny_classifier())) {
    p::Place place;
    place.key = std::to_string(storages.size());
    place.numel = tensor.numel();
    place.sizes = tensor.shape.sizes();
    place.strides.assign(place.sizes.size(), 1);
    for (size_t axis = place.sizes.size(); axis-- > 1;)
      place.strides[axis - 1] = place.strides[axis] * place.sizes[axis];
    storages[place.key] = std::string(reinterpret_cast<const char*>(tensor.data<float>()), size_t(tensor.bytes()));
    tensors.emplace_back(name, p::tensor(place));
  }
  const std::string whole = p::whole(p::dict({{"model", p::dict(tensors)},
                                              {"optimizer", p::dict({{"state", p::dict({})}})},
                                              {"epoch", p::integer(115)},
                                              {"scaler", p::dict({{"scale", p::real(65536)}})},
                                              {"args", p::dict({{"lr", p::real(1.5e-4)}})}}));
  const TempDir folder;
  write_bytes(folder / "checkpoint.pth", torch_zip(whole, storages));
  const auto model = opened(folder / "checkpoint.pth");
  CHECK(model->kind() == EcampKind::classification);
  CHECK(same_bits(model->classify(images(1)), File(tensors_of(tiny_classifier())).open()->classify(images(1))));
}

TEST_CASE("a model gives what its network gives, says what it is, and holds at most what was planned") {
  const File classifier(tensors_of(tiny_classifier()), {{"generated", "yes"}});
  const File segmenter(tensors_of(tiny_disc_and_cup())), detector(tensors_of(tiny_detector()));
  const auto a = classifier.open(), b = segmenter.open(), c = detector.open();
  CHECK(a->remark() == "untrained weights");
  CHECK(b->remark() == "");
  CHECK(a->classes() == 5);
  CHECK(c->classes() == 2);
  CHECK(b->masks() == std::vector<std::string>{"disc", "cup"});
  CHECK(a->input_size() == 64);
  CHECK(a->identity().size() == 64);
  const EcampSegmenter network(Weights::from_tensors(tensors_of(tiny_disc_and_cup())), tiny_disc_and_cup());
  CHECK(same_bits(b->segment(images(2)), network(images(2))));
  CHECK(c->detect(images(1), 0, 1)[0].size() == 3 * (4 + 16 + 64));
  CHECK_THROWS_WITH_AS(a->segment(images(1)),
                       doctest::Contains("this is a classifier, a segmentation network is needed"), Error);

  Context context(a->context_options());
  UseContext use(context);
  for (const auto& model : {a, b, c}) {
    const int64_t planned = model->planned_bytes(2), weights = planned - [&] {
      Context dry(context.dry_run());
      UseContext there(dry);
      const Tensor x({2, 64, 64, 3});
      if (model == a) a->classify(x);
      if (model == b) b->segment(x);
      if (model == c) c->detect(x);
      return dry.memory()->peak_bytes();
    }();
    const Tensor x = images(2);
    context.memory()->reset_peak();
    if (model == a) a->classify(x);
    if (model == b) b->segment(x);
    if (model == c) c->detect(x);
    CHECK(context.memory()->peak_bytes() + weights == planned);
  }
}

TEST_CASE("a model that would pass the limit of memory is refused") {
  const File file(tensors_of(tiny_classifier()));
  LoadOptions options;
  options.model = file.path;
  options.max_ram = int64_t(1) << 20;
  CHECK_THROWS_AS(EcampModel::open(options), MemoryError);
  options.max_ram = (int64_t(96) << 20) + 1000;
  CHECK_THROWS_WITH_AS(EcampModel::open(options), doctest::Contains("loading this model needs"), MemoryError);
}

TEST_CASE("files that hold no classifier, segmenter or detector are refused for what they are") {
  Tensors encoder =
      without(without(without(tensors_of(tiny_classifier()), "head.weight"), "head.bias"), "fc_norm.bias");
  says(refusal(without(encoder, "fc_norm.weight")), "an encoder of ECAMP's, which tells no classes, masks or boxes");
  says(refusal(tensors_of(tiny_ecamp())), "a pre-training checkpoint of ECAMP's");
  says(refusal({{"liver", zeros({2, 2})}}), "no network of ECAMP's");
  says(refusal({}), "no network of ECAMP's");
  CHECK_THROWS_WITH_AS(opened(""), doctest::Contains("no model was named"), Error);
}

TEST_CASE("files of several tasks are refused, naming two") {
  const Tensors classifier = tensors_of(tiny_classifier()), segmenter = tensors_of(tiny_segmenter());
  says(refusal(joined(classifier, segmenter)), "more than one network: a classifier and a segmentation network");
  says(refusal(joined(segmenter, tensors_of(tiny_detector()))), "a segmentation network and a detector");
  says(refusal(joined(classifier, tensors_of(tiny_ecamp()))), "a pre-training checkpoint and a classifier");
}

TEST_CASE("networks with missing, foreign or mis-shaped tensors are refused, naming them") {
  const Tensors classifier = tensors_of(tiny_classifier()), segmenter = tensors_of(tiny_segmenter()),
                detector = tensors_of(tiny_detector());
  says(refusal(without(classifier, "head.weight")), "tensor 'head.weight' is missing");
  says(refusal(without(classifier, "fc_norm.bias")), "tensor 'fc_norm.bias' of shape [64] is missing");
  says(refusal(without(classifier, "blocks.1.attn.qkv.weight")), "'blocks.1.attn.qkv.weight' of shape [192, 64]");
  says(refusal(without(classifier, "cls_token")), "no vision transformer");
  says(refusal(with(classifier, "head.weight", zeros({5, 48}))), "has shape [5, 48], the model needs [5, 64]");
  says(refusal(with(classifier, "head.weight", zeros({5}))), "'head.weight' has shape [5], needs [classes, channels]");
  says(refusal(with(classifier, "pos_embed", zeros({1, 18, 64}))), "no square grid");
  says(refusal(with(classifier, "head_aux.weight", zeros({3}))),
       "1 tensors do not belong to a classifier: 'head_aux.weight'");
  says(refusal(with(classifier, "blocks.0.ls1.gamma", zeros({64}))), "a vision transformer that is not ECAMP's");
  says(refusal(with(classifier, "register_tokens", zeros({1, 4, 64}))), "a vision transformer that is not ECAMP's");
  says(refusal(without(segmenter, "decoder.decoder_3.0.weight")), "a decoder of 2 doublings for patches of 16 x 16");
  says(refusal(without(segmenter, "decoder.decoder_3.1.running_var")), "'decoder.decoder_3.1.running_var'");
  says(refusal(with(segmenter, "decoder.decoder_1.0.weight", zeros({12, 64}))), "needs four axes");
  says(refusal(with(segmenter, "decoder.final_out.weight", zeros({2, 6, 3, 3}))), "the model needs [1, 6, 3, 3]");
  says(refusal(without(tensors_of(tiny_disc_and_cup()), "decoder_cup.final_out.bias")), "'decoder_cup.final_out.bias'");
  says(refusal(without(detector, "embedding1_cbl.conv.weight")), "tensor 'embedding1_cbl.conv.weight' is missing");
  says(refusal(without(detector, "backbone.layers.traspose.bias")), "'backbone.layers.traspose.bias'");
  says(refusal(with(detector, "embedding0.conv_out.weight", zeros({20, 20, 1, 1}))), "gives 20 numbers a place");
  says(refusal(with(detector, "embedding2.conv_out.weight", zeros({18, 16, 1, 1}))), "the model needs [21, 16, 1, 1]");
  says(refusal(with(detector, "embedding0.0.conv.weight", zeros({12, 99, 1, 1}))), "the model needs [12, 32, 1, 1]");
}

TEST_CASE("values that are no weights are refused, naming their tensor") {
  const Tensors classifier = tensors_of(tiny_classifier()), segmenter = tensors_of(tiny_segmenter());
  says(refusal(with(classifier, "head.weight", holding({5, 64}, NAN))), "tensor 'head.weight' holds 1 of 320 values");
  says(refusal(with(classifier, "fc_norm.weight", holding({64}, INFINITY))), "tensor 'fc_norm.weight' holds 1 of 64");
  says(refusal(with(segmenter, "decoder.decoder_2.1.running_var", holding({10}, -1))),
       "the running variance of 'decoder.decoder_2.1' is -1 at channel 5");
}

TEST_CASE("pre-training checkpoints that are no whole network are refused, naming what is missing or foreign") {
  const Tensors whole = tensors_of(tiny_ecamp());
  const auto said = [](const Tensors& tensors) -> std::string {
    const File written(tensors);
    try {
      const EcampFile file = open_ecamp_file(written.path);
      const EcampPretraining network(file.weights, recognise_ecamp_config(file.weights));
      check_all_read(file.weights, file.kind);
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing was wrong";
  };
  const std::string bert = "bert_encoder.model.bert.", words = bert + "embeddings.word_embeddings.weight";
  CHECK(said(whole) == "nothing was wrong");
  says(said(without(whole, "mask_token")), "tensor 'mask_token' of shape [1, 1, 32] is missing");
  says(said(without(whole, "decoder_blocks.0.norm1.weight")), "an image decoder without blocks");
  says(said(without(whole, "decoder_embed.weight")), "tensor 'decoder_embed.weight' is missing");
  says(said(without(whole, bert + "encoder.layer.0.intermediate.dense.weight")), "a report encoder without layers");
  says(said(without(whole, bert + "context_fusion_layer.gap_mlp.bias")), "context_fusion_layer.gap_mlp.bias");
  says(said(without(whole, "bert_encoder.model.cls.predictions.bias")), "cls.predictions.bias' of shape [40]");
  says(said(with(whole, words, zeros({40, 48}))), "the report encoder has 48 channels, the image encoder 64");
  says(said(with(whole, words, zeros({40}))), "has shape [40], needs two axes");
  says(said(with(whole, "decoder_pos_embed", zeros({1, 16, 32}))), "the model needs [1, 17, 32]");
  says(said(with(whole, "super_res.conv3.weight", zeros({3, 3, 3, 3}))),
       "1 tensors do not belong to a pre-training checkpoint: 'super_res.conv3.weight'");
  says(said(with(whole, "mask_token", holding({1, 1, 32}, NAN))), "tensor 'mask_token' holds 1 of 32 values");
}
