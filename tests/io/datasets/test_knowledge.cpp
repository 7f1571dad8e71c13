// Knowledge files: what is read of them and drawn from them is what the published reader has; files that are wrong are
// refused by name.
#include <doctest/doctest.h>

#include <fstream>

#include "sat/io/datasets/knowledge/knowledge_pairs.h"
#include "sat/io/datasets/knowledge/label_pool.h"
#include "tests/support/golden.h"
#include "tests/support/parity/knowledge/knowledge_parity.h"

using namespace sat;
using namespace sat::test;

namespace {

/// "" or the message of what `body` throws.
template <class Body>
std::string message_of(const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

struct Files {
  TempDir folder;
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(folder / name, std::ios::binary) << text;
    return folder / name;
  }
};

}  // namespace

TEST_CASE("pairs, scans and crops are those that the published sampler draws") {
  for (const ParityLine& line : compare_knowledge_sampler(golden_path("sat/pretrain-sampler"))) {
    CAPTURE(line.quantity);
    CHECK(line.passed());
  }
}

TEST_CASE("entries without a name or a text give no pair, and unknown keys mean nothing") {
  const Files files;
  const std::string graph = files.write("g.csv", "edge,more,target,source\npart of,1,Body,Arm\n,2,Body,Leg\nof,3,,X\n");
  const KnowledgeSource source = read_umls_graph(graph);
  CHECK(source.counted == 3);
  REQUIRE(source.items.size() == 1);
  CHECK(source.items[0].name == "arm");
  CHECK(source.items[0].text == "part of");
  CHECK(source.items[0].target == "body");

  const ConceptFile file = read_supplement(
      files.write("s.json", R"({"A": {"cleaned_definition": "", "synonyms": ["", "Ä"], "citations": [1]}, "B": {}})"));
  REQUIRE(file.definitions.items.size() == 1);
  CHECK(file.definitions.items[0].text == "Ä");
  CHECK(file.relations.items.empty());
}

TEST_CASE("malformed knowledge is refused with the file's and the entry's name") {
  const Files files;
  const auto supplement = [&](const std::string& text) {
    const std::string path = files.write("s.json", text);
    return message_of([&] { read_supplement(path); });
  };
  CHECK(has(supplement(R"({"a": {"relations": [["next to"]]}})"), "s.json: 'a': a relation has 1 parts"));
  CHECK(has(supplement(R"({"a": {"relations": [["next to", 3]]}})"), "s.json: 'a'"));
  CHECK(has(supplement(R"({"a": {"cleaned_definition": ["list"]}})"), "s.json: 'a'"));
  CHECK(has(supplement(R"({"a": 3})"), "s.json: 'a'"));
  CHECK(has(supplement(R"({"a": {}, "a": {}})"), "described twice"));
  CHECK(has(supplement(R"(["a"])"), "expected an object"));
  CHECK(has(supplement("{\"a\": {\"cleaned_definition\": \"\xff\"}}"), "s.json"));
  CHECK(supplement(R"({"a": {"cleaned_definition": "x"}})") == "");

  const std::string web = files.write("w.json", R"({"a": {"cleaned_definition": "no list"}})");
  CHECK(has(message_of([&] { read_web_knowledge(web); }), "w.json: 'a'"));
  const std::string table = files.write("d.csv", "cui,name\nC1,liver\n");
  CHECK(has(message_of([&] { read_umls_definitions(table); }), "d.csv"));
  const std::string ragged = files.write("r.csv", "cui,name,def\nC1,liver\n");
  CHECK(has(message_of([&] { read_umls_definitions(ragged); }), "r.csv"));
  KnowledgeLimits limits;
  limits.bytes = 10;
  CHECK(has(message_of([&] { read_umls_definitions(table, limits); }), "d.csv"));
  CHECK(has(message_of([&] { read_supplement(web, limits); }), "w.json"));
}

TEST_CASE("sources without a share are never drawn, and nothing to draw is refused") {
  KnowledgePairs pairs;
  const auto draw = [&](double u) { return pairs.draw([u] { return u; }); };
  CHECK(has(message_of([&] { draw(0); }), "none has a share"));
  pairs.add({"empty", {}, 0}, 1);
  pairs.add({"small", {{"a", "b", ""}}, 1}, 0.5);  // 0.5 rounds to 0
  CHECK(has(message_of([&] { draw(0); }), "none has a share"));
  pairs.add({"large", {{"c", "d", "e"}}, 1}, 1.5);
  pairs.add({"last", {}, 0}, 1);
  CHECK(draw(0).label == "e");
  CHECK(draw(0).text == "c d");
  CHECK(draw(0.9999).label == "c");
  CHECK(draw(0.9999).text == "d e");
  CHECK(pairs.share(2) == 1);
  CHECK(pairs.items() == 1);
  CHECK(has(message_of([&] { pairs.add({"rows without names", {}, 5}, 1); }), "none of 5 entries"));
  CHECK(has(message_of([&] { pairs.add({"x", {}, 5}, -1); }), "ratio"));
}

TEST_CASE("a pool draws labels by the root of how often they are there, and never an absent one") {
  std::vector<AnnotatedScan> scans(16, AnnotatedScan{"A", {"liver", "liver"}});
  scans.push_back({"B", {"spleen"}});
  scans.push_back({"B", {}});
  const LabelPool pool(scans);
  CHECK(pool.labels().at("liver").repeats == 4);
  CHECK(pool.labels().at("spleen").repeats == 1);
  int64_t livers = 0;
  for (int64_t i = 0; i < 100; ++i) {
    const LabelPool::Choice choice = pool.draw([i] { return (double(i) + 0.5) / 100; });
    livers += choice.label == "liver" ? 1 : 0;
    CHECK((choice.label == "spleen") == (choice.scan == 16));
  }
  CHECK(livers == 80);
  CHECK_THROWS_AS(LabelPool({AnnotatedScan{"A", {}}}), Error);
}

TEST_CASE("words that the published reader cannot look up are read as everywhere else") {
  CHECK(pretraining_modality("MR") == Modality::mri);
  CHECK(pretraining_modality("T1w") == Modality::mri);
  CHECK(pretraining_modality("CTA") == Modality::ct);
  CHECK(pretraining_modality("microscopy") == Modality::microscopy);
  CHECK_THROWS_AS(pretraining_modality("xray"), Error);
}
