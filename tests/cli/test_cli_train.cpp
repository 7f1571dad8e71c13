// sat train from outside: a toy network fits two cases, a run that is killed again and again ends in the bits of one
// that never was, signals leave a checkpoint, and what is wrong with a config is said by key.
#include <doctest/doctest.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>

#include "sat/io/checkpoints/safetensors.h"
#include "sat/io/files/hash.h"
#include "sat/io/words/json.h"
#include "sat/nn/text/embedding_bank.h"
#include "tests/support/datasets/phantom.h"
#include "tests/support/program.h"
#include "tests/support/tiny_model.h"

using namespace sat;
using namespace sat::test;

namespace {

namespace fs = std::filesystem;

/// Two cases of spheres, a tiny network's description, and a bank of their names.
struct Toy {
  TempDir folder;
  std::string config = folder / "config.json", run = folder / "run";

  explicit Toy(const std::string& more = "", int steps = 12, int write_every = 2, int validate_every = 5) {
    // A crop is a whole case: a norm over a window cannot tell what fills it from what is not there.
    Phantom one;
    one.geometry.size = {24, 20, 8};
    one.geometry.voxel_to_world_mm.m[2][2] = 3;
    one.spheres = {{{8, 7, 10}, 6, 300, 1}, {{17, 14, 15}, 4, 600, 2}};
    Phantom other = one;
    other.spheres[0].centre_mm = {15, 12, 11};
    other.spheres[1].centre_mm = {6, 5, 12};
    write_phantom(folder.path(), "a", one);
    write_phantom(folder.path(), "b", other);
    write_text(folder / "labels.json", phantom_labels());
    SatConfig network = tiny_config();
    network.channels = {16, 16, 24};
    network.mask_hidden = 24;
    network.mid_mask_hidden = {24};
    network.modalities["*"].window = {24, 20, 8};
    write_text(folder / "network.json", to_json(network).dump());
    EmbeddingBank bank;
    bank.phrases = {"ball", "small ball", "both"};
    bank.embeddings = field("bank", {3, 12}, 1);
    bank.modality_embed = field("modality", {4, 12}, 0.1);
    bank.text_identity = std::string(64, 'a');
    write_bank(folder / "bank.safetensors", bank);
    const bool own_model = contains(more, "\"model\"");
    write(std::string("{") + (own_model ? "" : R"("model": {"config": "network.json"}, )") +
          R"("text": {"bank": "bank.safetensors"},
      "data": {"train": "labels.json", "validation": "labels.json", "workers": 1}, "crop": [24, 20, 8],
      "augmentation": false, "dropout": 0, "steps": )" +
          std::to_string(steps) + R"(, "warm_up": 1, "rate": 0.01, "validation": {"every": )" +
          std::to_string(validate_every) + R"(}, "checkpoints": {"every": )" + std::to_string(write_every) +
          R"(, "keep_every": 0})" + more + "}");
  }
  void write(const std::string& text) const { write_text(config, text); }
  Words train(const std::string& output, const Words& more = {}) const {
    Words words{"train", config, "-o", output, "--threads", "1", "--quiet"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
};

std::string hash(const std::string& run, const char* name) { return sha256_of_file(run + "/" + name); }

/// What is said of a config.
std::string refusal(const std::string& config) {
  const Toy toy;
  toy.write(config);
  const Ran ran = sat_run(toy.train(toy.run));
  CHECK(ran.status == 1);
  return ran.err.substr(ran.err.find(": ") == std::string::npos ? 0 : ran.err.find("config.json: ") + 13);
}

}  // namespace

TEST_CASE("a toy network fits two cases, and sat segment takes what it learnt") {
  const Toy toy(R"(, "seed": 3)", 150, 150, 50);
  const Ran ran = sat_run(toy.train(toy.run));
  CAPTURE(ran.err);
  REQUIRE(ran.status == 0);
  const std::string log = read_text(toy.run + "/log.jsonl");
  const size_t last = log.rfind('\n', log.size() - 2) + 1;
  const Json validation = Json::parse(log.substr(last), "log")["validation"];
  CHECK(validation["score"].number() > 0.95);
  CHECK(validation["dice"].size() == 3);
  CHECK(names_in(toy.run) == Words{".sat-lock", "bank.safetensors", "best.safetensors", "cache", "config.json",
                                   "curves.png", "last.safetensors", "log.jsonl", "model.safetensors"});
  const Ran segmented = sat_run({"segment", toy.folder / "a_ct.nii.gz", "--model", toy.run + "/model.safetensors",
                                 "--bank", toy.run + "/bank.safetensors", "--modality", "ct", "--prompts", "ball", "-o",
                                 toy.folder / "masks", "--threads", "1", "--device", "cpu", "--no-preview", "--quiet"});
  CAPTURE(segmented.err);
  CHECK(segmented.status == 0);
}

TEST_CASE("a run that is killed twenty times and resumed ends in the bits of one that was not") {
  const Toy toy(R"(, "seed": 5, "average": 0.9, "accumulation": 2, "clip": 1, "batch": 1)", 80, 3, 20);
  REQUIRE(sat_run(toy.train(toy.run)).status == 0);
  const std::string killed = toy.folder / "killed", log = killed + "/log.jsonl";
  const auto lines = [&] {
    const std::string text = fs::exists(log) ? read_text(log) : "";
    return std::count(text.begin(), text.end(), '\n');
  };
  int kills = 0;
  for (int round = 0; round < 20; ++round) {
    const auto before = lines();
    const pid_t child = start(toy.train(killed, {"--resume"}), toy.folder / "stdout", toy.folder / "stderr");
    // A run goes on after its last checkpoint, so that lines are written anew; then a moment that differs each time.
    while (lines() < before + 2 && ::waitpid(child, nullptr, WNOHANG) == 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::this_thread::sleep_for(std::chrono::microseconds(700 * round));
    ::kill(child, SIGKILL);
    kills += wait_for(child) != 0;
  }
  CHECK(kills == 20);
  const Ran last = sat_run(toy.train(killed, {"--resume"}));
  CAPTURE(last.err);
  REQUIRE(last.status == 0);
  for (const char* name : {"last.safetensors", "best.safetensors", "model.safetensors", "bank.safetensors"}) {
    CAPTURE(std::string(name));
    CHECK(hash(killed, name) == hash(toy.run, name));
  }
}

TEST_CASE("threads do not matter, and steps can be done in several calls") {
  const Toy toy;
  REQUIRE(sat_run(toy.train(toy.run)).status == 0);
  const std::string parts = toy.folder / "parts";
  Words words = toy.train(parts, {"--max-steps", "7"});
  words[5] = "3";
  REQUIRE(sat_run(words).status == 0);
  REQUIRE(sat_run(toy.train(parts, {"--resume"})).status == 0);
  CHECK(hash(parts, "last.safetensors") == hash(toy.run, "last.safetensors"));
}

TEST_CASE("a signal ends a run with a checkpoint of its last whole step") {
  const Toy toy("", 100000);
  const pid_t child = start(toy.train(toy.run), toy.folder / "stdout", toy.folder / "stderr");
  while (!fs::exists(toy.run + "/last.safetensors")) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  ::kill(child, SIGTERM);
  CHECK(wait_for(child) == 143);
  CHECK(read_text(toy.folder / "stderr") == "sat: interrupted\n");
  CHECK(fs::exists(toy.run + "/last.safetensors"));
  CHECK(fs::exists(toy.run + "/curves.png"));
}

TEST_CASE("a disk that is full ends a run with the file's name, and the checkpoint before stays whole") {
  const Toy toy(R"(, "seed": 5)", 4);
  REQUIRE(sat_run(toy.train(toy.run, {"--max-steps", "2"})).status == 0);
  const std::string before = hash(toy.run, "last.safetensors");
  const Ran ran = sat_run(toy.train(toy.run, {"--resume"}), [] {
    const rlimit most{200000, 200000};
    ::setrlimit(RLIMIT_FSIZE, &most);
  });
  CAPTURE(ran.err);
  CHECK(ran.status == 1);
  CHECK(contains(ran.err, ".safetensors: the file would be larger than the system allows"));
  CHECK(hash(toy.run, "last.safetensors") == before);
}

TEST_CASE("a folder that holds a run, or cannot be written, is refused") {
  const Toy toy("", 2);
  REQUIRE(sat_run(toy.train(toy.run)).status == 0);
  CHECK(contains(sat_run(toy.train(toy.run)).err, "holds another run (last.safetensors); --resume goes on with it"));
  CHECK(contains(sat_run(toy.train(toy.config)).err, "config.json"));
}

TEST_CASE("what is frozen keeps its bits, and a run starts from a model's file") {
  const Toy first("", 3);
  REQUIRE(sat_run(first.train(first.run)).status == 0);
  const std::string init = first.run + "/model.safetensors";
  const Toy toy(R"(, "model": {"init": ")" + init + R"(", "train": ["backbone.*"], "freeze": ["backbone.encoder.*"]},
    "deep_supervision": false)",
                3);
  const Ran ran = sat_run(toy.train(toy.run));
  CAPTURE(ran.err);
  REQUIRE(ran.status == 0);
  const Checkpoint before = read_safetensors(init), after = read_safetensors(toy.run + "/model.safetensors");
  for (const Weights::Entry& entry : after.weights.entries()) {
    CAPTURE(entry.name);
    const Tensor now = entry.load(), then = before.weights.get(entry.name, entry.shape);
    const bool same = std::memcmp(now.raw(), then.raw(), size_t(now.bytes())) == 0;
    const bool learnt = entry.name.rfind("backbone.decoder.", 0) == 0;
    // A bias that its norm takes off again stays 0, and so does what decays from 0.
    if (!learnt || now.shape.rank() > 1) CHECK(same != learnt);
  }
}

TEST_CASE("a run is not resumed with another config") {
  const Toy toy("", 2), other(R"(, "clip": 3)", 2);
  REQUIRE(sat_run(toy.train(toy.run)).status == 0);
  Words words = other.train(toy.run, {"--resume"});
  CHECK(contains(sat_run(words).err,
                 "last.safetensors: a checkpoint of another config, which cannot be gone on with: clip is 0 there"));
}

TEST_CASE("what is wrong with a config is said by key, with the nearest one") {
  const std::string good = R"("model": {"config": "network.json"}, "text": {"bank": "bank.safetensors"},
    "data": {"train": "labels.json"}, "crop": [16, 16, 8])";
  CHECK(refusal("{" + good + R"(, "acumulation": 2})") ==
        "\"acumulation\" is no key of a training's config; did you mean \"accumulation\"?\n");
  CHECK(refusal("{" + good + R"(, "batch": 0})") == "\"batch\" is 0; it is a whole number from 1 to 4096\n");
  CHECK(refusal("{" + good + R"(, "optimiser": {"betas": [0.9]}})") ==
        "\"optimiser.betas\" is [0.9]; it is two numbers from 0 to 1\n");
  CHECK(refusal("{" + good + R"(, "precision": "fsat"})") ==
        "\"precision\" is 'fsat'; it is \"exact\" or \"fast\": did you mean \"fast\"?\n");
  CHECK(contains(refusal("{" + good + R"(, "model2": {}})"), "\"model2\" is no key of a training's config"));
  CHECK(contains(refusal(R"({"model": {"config": "gone.json"}})"), "gone.json', which is not there\n"));
  CHECK(refusal(R"({"model": {"architecture": "UNETT"}})") ==
        "\"model.architecture\" is 'UNETT'; it is \"UNET\", \"UNET-L\", \"UNET-H\", \"UMamba\" or \"SwinUNETR\": did "
        "you mean \"UNET\"?\n");
  CHECK(refusal("{" + good + R"(, "stages": [{"steps": 5, "warm_up": 5, "rate": 1}]})") ==
        "\"stages[0].warm_up\" is 5; it is shorter than the 5 steps\n");
  CHECK(contains(refusal("[1]"), "a config is a JSON object, this is [1]"));
}

TEST_CASE("--explain says what learns, the data, memory and time, and writes nothing") {
  const Toy toy(R"(, "groups": [{"names": "backbone.encoder.*", "rate": 0.1}])");
  const Ran ran = sat_run({"train", toy.config, "--explain", "--threads", "1"});
  CAPTURE(ran.err);
  CHECK(ran.status == 0);
  for (const char* part : {"network       tiny, random weights", "backbone.encoder: ", "2 cases to learn from",
                           "balls: 2 cases, 3 structures, 100 % of the samples", "12 steps, 1 of them warm-up",
                           "MiB parameters and moments", "a step"}) {
    CAPTURE(std::string(part));
    CHECK(contains(ran.out, part));
  }
  CHECK_FALSE(fs::exists(toy.run));
}

TEST_CASE("a run that would not fit the memory is refused before it begins") {
  const Toy toy;
  const Ran ran = sat_run(toy.train(toy.run, {"--max-ram", "97M"}));
  CHECK(ran.status == 1);
  CHECK(contains(ran.err, "this training needs "));
  CHECK_FALSE(fs::exists(toy.run + "/log.jsonl"));
}
