// Tables and JSON of the knowledge files, to statements.
#include "sat/io/datasets/knowledge/knowledge_files.h"

#include <array>
#include <set>
#include <string_view>
#include <utility>

#include "sat/io/files/file.h"
#include "sat/io/tables/csv.h"
#include "sat/io/words/json.h"
#include "sat/io/words/text.h"
#include "sat/io/words/unicode.h"

namespace sat {

namespace {

constexpr int64_t kTableColumns = 64;

/// Three columns of a table's distinct rows, in the order of the file.
class DistinctRows {
 public:
  using Row = std::array<std::string_view, 3>;

  DistinctRows(const std::string& path, const std::array<const char*, 3>& columns, const KnowledgeLimits& limits)
      : table_(read_csv(path, {limits.bytes, kTableColumns})) {
    std::array<int64_t, 3> at{};
    for (size_t c = 0; c < 3; ++c) at[c] = table_.column(columns[c]);
    std::set<Row> known;
    for (int64_t row = 0; row < table_.rows(); ++row) {
      const Row fields{table_.field(row, at[0]), table_.field(row, at[1]), table_.field(row, at[2])};
      if (known.insert(fields).second) rows_.push_back(fields);
    }
  }

  const std::vector<Row>& rows() const { return rows_; }

 private:
  CsvTable table_;  // holds the bytes
  std::vector<Row> rows_;
};

/// Adds an item where nothing of it is missing.
void add_item(KnowledgeSource& source, std::string_view name, std::string_view text) {
  if (name.empty() || text.empty()) return;
  source.items.push_back({python_lower(name), std::string(text), ""});
}
void add_relation(KnowledgeSource& source, std::string_view name, std::string_view edge, std::string_view target) {
  if (name.empty() || edge.empty() || target.empty()) return;
  source.items.push_back({python_lower(name), std::string(edge), python_lower(target)});
}

void add_relations(KnowledgeSource& source, const std::string& name, const Json& about) {
  const Json* relations = about.find("relations");
  if (!relations) return;
  for (const Json& relation : relations->items()) {
    SAT_CHECK(relation.size() == 2, "a relation has ", relation.size(),
              " parts, needs two: what joins, and the target");
    add_relation(source, name, relation[0].string(), relation[1].string());
  }
}

/// Reads an object of concepts; `visit` takes the texts about one.
template <class Visit>
ConceptFile read_concepts(const std::string& path, const KnowledgeLimits& limits, const Visit& visit) {
  ConceptFile file;
  file.definitions.name = path + " (definitions)";
  file.relations.name = path + " (relations)";
  std::set<std::string> names;
  const std::string text = read_file(path, limits.bytes);
  Json::each_member(text, path, [&](const std::string& name, const Json& about) {
    SAT_CHECK(names.insert(name).second, path, ": ", quoted(name), " is described twice");
    try {
      visit(file, name, about);
      add_relations(file.relations, name, about);
    } catch (const Error& error) {
      fail(path, ": ", quoted(name), ": ", error.what());
    }
  });
  return file;
}

}  // namespace

KnowledgeSource read_umls_definitions(const std::string& path, const KnowledgeLimits& limits) {
  const DistinctRows table(path, {"cui", "name", "def"}, limits);
  KnowledgeSource source{path, {}, int64_t(table.rows().size())};
  for (const auto& [concept_id, name, definition] : table.rows()) add_item(source, name, definition);
  return source;
}

KnowledgeSource read_umls_graph(const std::string& path, const KnowledgeLimits& limits) {
  const DistinctRows table(path, {"source", "target", "edge"}, limits);
  KnowledgeSource source{path, {}, int64_t(table.rows().size())};
  for (const auto& [name, target, edge] : table.rows()) add_relation(source, name, edge, target);
  return source;
}

ConceptFile read_web_knowledge(const std::string& path, const KnowledgeLimits& limits) {
  ConceptFile file = read_concepts(path, limits, [](ConceptFile& to, const std::string& name, const Json& about) {
    const Json* definitions = about.find("cleaned_definition");
    if (!definitions) return;
    for (const std::string& text : definitions->strings()) add_item(to.definitions, name, text);
  });
  file.definitions.counted = int64_t(file.definitions.items.size());
  file.relations.counted = int64_t(file.relations.items.size());
  return file;
}

ConceptFile read_supplement(const std::string& path, const KnowledgeLimits& limits) {
  KnowledgeSource synonyms;
  ConceptFile file = read_concepts(path, limits, [&](ConceptFile& to, const std::string& name, const Json& about) {
    if (const Json* definition = about.find("cleaned_definition")) add_item(to.definitions, name, definition->string());
    if (const Json* others = about.find("synonyms")) {
      for (const std::string& other : others->strings()) add_item(synonyms, name, other);
    }
  });
  std::vector<KnowledgeItem>& all = file.definitions.items;
  all.insert(all.end(), std::make_move_iterator(synonyms.items.begin()), std::make_move_iterator(synonyms.items.end()));
  file.definitions.counted = int64_t(all.size());
  file.relations.counted = int64_t(file.relations.items.size());
  return file;
}

}  // namespace sat
