// Private. What is known of medical concepts, as the files of knowledge pre-training say it (spec m.1): definitions,
// other names, and relations. Reads texts alone; which of them a training step sees is knowledge_pairs.h's business.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sat {

/// One statement of a source. Names and targets are lower-cased as Python does it, texts are as written.
struct KnowledgeItem {
  std::string name;    // "pancreas"
  std::string text;    // a definition or another name of it; of a relation, what joins the two: "next to"
  std::string target;  // of a relation: "duodenum"; else empty
  bool is_relation() const { return !target.empty(); }
};

/// Statements of one kind from one file, in its order.
struct KnowledgeSource {
  std::string name;                  // for logs and messages
  std::vector<KnowledgeItem> items;  // those that a name and a text were given for
  int64_t counted = 0;               // what its share is reckoned by: items, or of tables their distinct rows
};

struct KnowledgeLimits {
  int64_t bytes = int64_t(1) << 30;  // of a file
};

/// UMLS definitions: a table with the columns cui, name and def. Rows that repeat another are read once; those without
/// a name or a definition are counted, as the published reader does, and give no item.
KnowledgeSource read_umls_definitions(const std::string& path, const KnowledgeLimits& limits = {});
/// UMLS graph: a table with the columns source, target and edge. The same of repeated and unfinished rows.
KnowledgeSource read_umls_graph(const std::string& path, const KnowledgeLimits& limits = {});

/// What a file about concepts says of them.
struct ConceptFile {
  KnowledgeSource definitions;  // and other names, after all definitions
  KnowledgeSource relations;
};
/// Texts found in the web: {name: {"cleaned_definition": [text, ...], "relations": [[edge, target], ...]}}. Both may be
/// absent; other keys mean nothing here.
ConceptFile read_web_knowledge(const std::string& path, const KnowledgeLimits& limits = {});
/// The published supplement: {name: {"cleaned_definition": text, "synonyms": [name, ...], "relations": as above}}.
ConceptFile read_supplement(const std::string& path, const KnowledgeLimits& limits = {});

}  // namespace sat
