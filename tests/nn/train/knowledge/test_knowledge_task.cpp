// Knowledge pre-training as a task: what each stage trains, that its steps depend on no threads and on no stop, and
// that what it leaves is read by the text path and by the next stage.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "sat/io/checkpoints/checkpoint.h"
#include "sat/io/datasets/label_folder.h"
#include "sat/nn/train/knowledge/knowledge_task.h"
#include "sat/nn/train/trainer.h"
#include "tests/support/datasets/phantom.h"
#include "tests/support/golden.h"
#include "tests/support/levels.h"
#include "tests/support/text_model.h"

using namespace sat;
using namespace sat::test;

namespace {

const WordPiece& vocabulary() {
  static const WordPiece words = published_vocabulary(TextKind::ours);
  return words;
}

TextBackboneConfig tiny_sizes() {
  TextBackboneConfig sizes = mpnet_base();
  sizes.hidden = 8;
  sizes.layers = 3;
  sizes.heads = 2;
  sizes.feedforward = 16;
  return sizes;
}

SatConfig tiny_encoder() {
  SatConfig config = atlas_encoder_config("UNET", {8, 8, 4});
  config.channels = {4, 6};
  config.encoder_blocks = {1, 1};
  config.decoder_blocks = {1};
  return config;
}

KnowledgePairs pairs() {
  KnowledgePairs pairs;
  ConceptFile file = read_supplement(golden_path("sat/pretrain-sampler/supplementary.json"));
  pairs.add(std::move(file.definitions), 1);
  pairs.add(std::move(file.relations), 1);
  return pairs;
}

KnowledgeTaskOptions tiny_options() {
  KnowledgeTaskOptions options;
  options.pairs = 6;
  options.open_bert_layer = 0;
  options.monitored_pairs = 20;
  options.seed = 4;
  options.workers = 1;
  return options;
}

KnowledgeTask first_stage() {
  return {random_knowledge_start(tiny_sizes(), {}, 1), vocabulary(), pairs(), {}, tiny_options()};
}

/// Two phantoms in a cache.
struct Scans {
  TempDir folder;
  std::vector<PreparedCase> cases;

  Scans() {
    for (const char* id : {"a", "b"}) write_phantom(folder.path(), id, phantom());
    write_text(folder / "labels.json", phantom_labels());
    cases = prepare_cases(cache(), read_label_folder(folder.path()).train, {});
  }
  CaseCache cache() const { return CaseCache(folder / "cache"); }
  AtlasSampler sampler() const {
    AtlasSamplerOptions options;
    options.crop = {8, 8, 4};
    options.others = 2;
    options.seed = 4;
    return {cache(), cases, options};
  }
  KnowledgeTask second_stage() const {
    return {random_knowledge_start(tiny_sizes(), tiny_encoder(), 1), vocabulary(), pairs(),
            KnowledgeTask::Atlas{tiny_encoder(), sampler()}, tiny_options()};
  }
};

TrainerOptions run_of(int64_t steps, double rate = 0.01) {
  TrainerOptions options;
  options.schedule = RateSchedule({{steps, 1, rate}});
  options.optimiser.weight_decay = 0;
  return options;
}

NamedTensors copies(const NamedTensors& tensors) {
  NamedTensors all;
  for (const auto& [name, tensor] : tensors) all[name] = tensor.clone();
  return all;
}

NamedTensors after(int64_t steps, int threads) {
  Context context(options_of(best_cpu_level(), threads));
  const UseContext use(context);
  KnowledgeTask task = first_stage();
  Trainer trainer(task, run_of(10));
  while (trainer.done() < steps) trainer.step();
  return copies(task.parameters());
}

std::vector<std::string> differing(const NamedTensors& a, const NamedTensors& b) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : a) {
    if (!same_bits(tensor, b.at(name))) names.push_back(name);
  }
  return names;
}

bool starts_with(const std::string& text, const std::string& start) { return text.rfind(start, 0) == 0; }

}  // namespace

TEST_CASE("stage 1 trains the opened layers and the temperature alone, and lowers its loss") {
  KnowledgeTask task = first_stage();
  const NamedTensors before = copies(task.parameters());
  Trainer trainer(task, run_of(25));
  double first = 0, last = 0;
  while (trainer.done() < trainer.steps()) {
    const double loss = trainer.step().loss;
    (trainer.done() <= 5 ? first : last) += trainer.done() <= 5 || trainer.done() > 20 ? loss / 5 : 0;
  }
  CHECK(last < 0.9 * first);
  const std::vector<std::string> moved = differing(before, task.parameters());
  CHECK(moved.size() > 20);
  for (const std::string& name : moved) {
    CAPTURE(name);
    CHECK((name == "temperature" || starts_with(name, "text_tower.biolord.encoder.layer.1.") ||
           starts_with(name, "text_tower.biolord.encoder.layer.2.")));
  }
}

TEST_CASE("steps have the same bits for any threads, and after a stop") {
  const NamedTensors whole = after(4, 1);
  CHECK(differing(whole, after(4, 3)).empty());

  KnowledgeTask task = first_stage();
  Trainer stopped(task, run_of(10));
  stopped.step();
  stopped.step();
  const TrainingCheckpoint checkpoint = stopped.checkpoint(Json::object(), {});
  KnowledgeTask again = first_stage();
  Trainer resumed(again, run_of(10));
  resumed.resume(checkpoint, Json::object(), {}, "here");
  resumed.step();
  resumed.step();
  CHECK(differing(whole, again.parameters()).empty());
}

TEST_CASE("stage 2 takes a step on scans, then one on texts, each of what it depends on") {
  const Scans scans;
  KnowledgeTask task = scans.second_stage();
  REQUIRE(task.updates() == 2);
  BatchReport of_scans, of_texts;
  const NamedTensors first = task.gradients({1, 0, 0}, of_scans), second = task.gradients({1, 1, 0}, of_texts);
  CHECK(first.count("atlas_tower.encoder.stages.1.0.convs.0.conv.weight") == 1);
  CHECK(first.count("atlas_tower.projection_layer.2.weight") == 1);
  CHECK(first.count("modality_embed.weight") == 1);
  CHECK(second.count("projection_layer.0.weight") == 1);
  CHECK(second.count("modality_embed.weight") == 0);
  for (const auto& [name, gradient] : second) CHECK_FALSE(starts_with(name, "atlas_tower."));
  for (const NamedTensors* gradients : {&first, &second}) {
    CHECK(gradients->count("temperature") == 1);
    CHECK(gradients->count("text_tower.biolord.encoder.layer.2.output.dense.weight") == 1);
    CHECK(gradients->count("text_tower.biolord.encoder.layer.0.output.dense.weight") == 0);
  }
  CHECK(of_scans.details["batch"].string() == "scans");
  CHECK(of_scans.details["cases"].size() == 2);
  CHECK(of_texts.loss ==
        doctest::Approx(of_texts.details["raw"].number() + of_texts.details["projected"].number()).epsilon(1e-6));
}

TEST_CASE("the temperature stays between 0 and ln 100") {
  KnowledgeTask task = first_stage();
  Tensor t = task.parameters().at("temperature");
  for (const auto& [set, want] : {std::pair(9.0F, float(std::log(100.0))), {-1.0F, 0.0F}, {2.0F, 2.0F}}) {
    t.data<float>()[0] = set;
    task.after_update();
    CHECK(t.data<float>()[0] == want);
  }
}

TEST_CASE("a crop has a voxel of the structure that it was cut around, and is a function of seed and place") {
  const Scans scans;
  const AtlasSampler sampler = scans.sampler();
  for (int64_t step = 0; step < 5; ++step) {
    const TrainingSample sample = sampler.sample(step, 1);
    for (size_t n = 0; n < sample.structures.size(); ++n) {
      bool any = false;
      for (int64_t v = 0; v < sample.masks.numel(); ++v) any |= (sample.masks.data<uint8_t>()[v] >> n & 1) != 0;
      CHECK(any);
    }
    CHECK(same_bits(sample.image, sampler.sample(step, 1).image));
    CHECK(sample.structures == sampler.sample(step, 1).structures);
  }
}

TEST_CASE("validation is a function of what was trained on and of the values") {
  KnowledgeTask task = first_stage();
  BatchReport report;
  task.gradients({3, 0, 0}, report);
  const ValidationReport one = task.validate(task.parameters()), other = task.validate(task.parameters());
  CHECK(one.score == other.score);
  CHECK(one.details["retrieval"]["pairs"].integer() == 18);  // three steps of six
  CHECK(one.details["retrieval"]["r10"][0].number() >= one.details["retrieval"]["r1"][0].number());
}

TEST_CASE("a text that is too long is a window of it, or its beginning") {
  const KnowledgeStart start = random_knowledge_start(tiny_sizes(), {}, 1);
  KnowledgeStart shorter = start;
  shorter.text.max_tokens = 6;
  NamedTensors values;
  for (const Weights::Entry& entry : start.weights.entries()) values[entry.name] = entry.load();
  const TextEncoder encoder = text_encoder_of(shorter, values, vocabulary());
  const std::string text = "one two three four five six seven eight";
  const std::vector<int64_t> all = encoder.ids(text);
  REQUIRE(all.size() == 10);
  const auto cut = [&](std::vector<double> units) {
    size_t next = 0;
    const std::vector<int64_t> ids = cut_at_random(encoder, text, [&] { return units.at(next++); }).ids;
    CHECK(next == units.size());
    return ids;
  };
  CHECK(cut({0.5}) == std::vector<int64_t>{all[0], all[1], all[2], all[3], all[4], all[9]});
  CHECK(cut({0.4, 0}) == std::vector<int64_t>{all[0], all[1], all[2], all[3], all[4], all[9]});
  CHECK(cut({0.4, 0.999}) == std::vector<int64_t>(all.end() - 6, all.end()));
  CHECK(cut({0.4, 0.5}) == std::vector<int64_t>{all[2], all[3], all[4], all[5], all[6], all[9]});
  CHECK(cut_at_random(encoder, "one", [] { return 1 / 0.0; }).ids.size() == 3);
}

TEST_CASE("what was trained is a text encoder's file, and what the next stage starts from") {
  const Scans scans;
  KnowledgeTask task = scans.second_stage();
  Trainer trainer(task, run_of(2));
  trainer.step();
  const TempDir folder;
  const KnowledgeStart start = random_knowledge_start(tiny_sizes(), tiny_encoder(), 1);
  write_trained_text(folder / "text.safetensors", start, task.parameters(), std::string(64, 'a'));
  write_pretraining(folder / "all.safetensors", start, task.parameters());

  const TextFile file = open_text_file({folder / "text.safetensors"});
  CHECK_FALSE(file.pretraining);
  const TextEncoder encoder(file.weights, vocabulary(), file.config);
  CHECK(encoder.encode({"liver"}, "ct").shape == Shape({1, 8}));
  CHECK(
      same_bits(encoder.pooled({"liver"}), text_encoder_of(start, task.parameters(), vocabulary()).pooled({"liver"})));

  const KnowledgeStart next = open_knowledge_start({folder / "all.safetensors"}, {}, tiny_encoder(), 2);
  CHECK(next.drawn.empty());
  const KnowledgeTask going_on(next, vocabulary(), pairs(), KnowledgeTask::Atlas{tiny_encoder(), scans.sampler()},
                               tiny_options());
  CHECK(differing(task.parameters(), going_on.parameters()).empty());
  // Stage 1's encoder alone lacks what belongs to scans.
  const KnowledgeStart from_text = open_knowledge_start({folder / "text.safetensors"}, {}, tiny_encoder(), 2);
  CHECK(std::count(from_text.drawn.begin(), from_text.drawn.end(), "atlas_tower.projection_layer.0.weight") == 1);
  CHECK(std::count(from_text.drawn.begin(), from_text.drawn.end(), "projection_layer.0.weight") == 0);
}

TEST_CASE("stage 2 refuses an encoder that has no place for a projection") {
  const TempDir folder;
  TextBackboneConfig sizes = tiny_sizes();
  NamedTensors tensors;
  for (const auto& [name, shape] : backbone_shapes(sizes, false)) tensors[name] = generated_weight(name, shape);
  KnowledgeStart none;
  none.text = published_text_config(TextKind::basebert);
  write_pretraining(folder / "bert.safetensors", none, tensors);
  CHECK_THROWS_AS(open_knowledge_start({folder / "bert.safetensors"}, {}, tiny_encoder(), 1), Error);
  CHECK(open_knowledge_start({folder / "bert.safetensors"}, {}, {}, 1).drawn ==
        std::vector<std::string>{"temperature"});
}
